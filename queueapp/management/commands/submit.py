"""`manage.py submit`: tasks from a file of JSON lines, straight into the database."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from queueapp import database, lifecycle
from queueapp.conf import config
from queueapp.domain.addresses import read_networks
from queueapp.domain.errors import InvalidJson, InvalidSubmission
from queueapp.domain.payloads import parse_json
from queueapp.domain.submission import Limits, Submission, parse_submission
from queueapp.models import Task

BATCH = 1000
ERRORS_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Submit the tasks in FILE, one JSON object a line, as the REST API takes them. Every line is checked "
        "first: with an error in any of them nothing is submitted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="JSON lines; - for standard input")
        parser.add_argument(
            "--wait",
            action="store_true",
            help="wait until the tasks have ended; print each as a JSON line with id, name, state, result, error",
        )

    def handle(self, *args: Any, file: str, wait: bool, **options: Any) -> None:
        submissions = self._read(file)
        with Progress(console=Console(stderr=True)) as progress:
            ids = self._submit(submissions, progress)
            if wait:
                self._print_ended(ids, progress)

    def _read(self, file: str) -> list[Submission]:
        if file == "-":
            return self._parse(sys.stdin)
        try:
            with Path(file).open(encoding="utf-8") as lines:
                return self._parse(lines)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"Cannot read {file}: {error}") from None

    def _parse(self, lines: TextIO) -> list[Submission]:
        now = database.now()
        networks = read_networks(config().callback_allowed_networks)
        limits = Limits(config().data_limit_bytes, config().attrs_limit, callback_networks=networks)
        submissions: list[Submission] = []
        errors: list[str] = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    submissions.append(parse_submission(parse_json(line), now, limits))
                except (InvalidJson, InvalidSubmission) as error:
                    errors.append(f"line {number}: {error}")
        if errors:
            shown = "\n".join(errors[:ERRORS_SHOWN])
            wrong = "1 line is wrong" if len(errors) == 1 else f"{len(errors)} lines are wrong"
            raise CommandError(f"Nothing was submitted; {wrong}:\n{shown}")
        return submissions

    def _submit(self, submissions: Sequence[Submission], progress: Progress) -> list[UUID]:
        bar = progress.add_task("submitted", total=len(submissions))
        ids: list[UUID] = []
        for start in range(0, len(submissions), BATCH):
            receipts = lifecycle.submit(submissions[start : start + BATCH], None, database.now())
            ids.extend(receipt.task_id for receipt in receipts)
            progress.advance(bar, len(receipts))
        return ids

    def _print_ended(self, ids: Sequence[UUID], progress: Progress) -> None:
        open_ids = set(ids)
        bar = progress.add_task("ended", total=len(open_ids))
        pause_seconds = 0.05
        while open_ids:
            ended = list(_ended(open_ids))
            for task in ended:
                self.stdout.write(_line(task))
                open_ids.discard(task.id)
            progress.advance(bar, len(ended))
            pause_seconds = 0.05 if ended else min(config().poll_interval_seconds, pause_seconds * 2)
            if open_ids:
                time.sleep(pause_seconds)


def _ended(ids: set[UUID]) -> Iterator[Task]:
    waiting = sorted(ids)
    for start in range(0, len(waiting), BATCH):
        yield from Task.objects.terminal().filter(pk__in=waiting[start : start + BATCH]).order_by("finished_at")


def _line(task: Task) -> str:
    result = json.loads(task.result) if task.result is not None else None
    document = {
        "id": str(task.id),
        "name": task.name,
        "state": task.state,
        "result": result,
        "error": task.error or None,
    }
    return json.dumps(document, ensure_ascii=False)
