"""`make bench`: every figure beside the one it is compared with, both measured in this run.

Everything happens in temporary directories, on servers of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="workqueue-bench-") as directory:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="workqueue_project.settings",
            SECRET_KEY="for-benchmarks",
            WORKQUEUE_DATA_DIR=directory,
        )
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        from benchmarks import backlog, recovery

        backlog.report()
        recovery.report()


if __name__ == "__main__":
    main()
