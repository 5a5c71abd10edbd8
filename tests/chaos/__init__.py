"""Real processes under a seeded storm of faults, and an auditor who compares what everybody says afterwards."""
