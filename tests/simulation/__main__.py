"""`python -m tests.simulation NAME` prints what happens in that schedule, and what is wrong at its end.

The names are those of `schedules`; a test that fails says which.
"""

from __future__ import annotations

import os
import sys

import django


def main(name: str) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workqueue_project.settings")
    django.setup()
    # Models can be imported only now.
    from queueapp import auth
    from tests.simulation import schedules
    from tests.simulation.database import in_memory

    with in_memory() as database:
        token = auth.create_key("simulated", "worker")[1]
        outcome = schedules.run(name, database, token)
    print("\n".join([*outcome.trace, *outcome.wrongs]))
    return bool(outcome.wrongs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
