"""`python -m tests.simulation SEED` prints what happens in that schedule, and what is wrong at its end."""

from __future__ import annotations

import os
import sys

import django


def main(seed: int) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workqueue_project.settings")
    django.setup()
    # Models can be imported only now.
    from queueapp import auth
    from tests.simulation.database import in_memory
    from tests.simulation.world import World

    with in_memory() as database:
        token = auth.create_key("simulated", "worker")[1]
        outcome = World(seed, database, token).run()
    print("\n".join([*outcome.trace, *outcome.wrongs]))
    return bool(outcome.wrongs)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
