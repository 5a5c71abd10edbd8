"""The demonstration: a server and four workers from nothing, real tasks, and one worker killed half-way.

    python examples/demo.py

Ends by itself after some 15 seconds, with status 0 only if every task was done and every check holds.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, it sees only examples/
    from examples.fleet.story import main

    sys.exit(main())
