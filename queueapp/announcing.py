"""What the workers of a process are told of a pass, once it is committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from queueapp.conf import config
from queueapp.dispatch import Assignment
from queueapp.domain.ids import id_text
from queueapp.lifecycle import Report, Verdict
from queueapp.link import Link
from queueapp.passes import Outbox
from queueapp.protocol import Ack, ServerMessage

SERVER = "workqueue"

Links = Mapping[UUID, Link]
"""Of the workers here, by their sessions."""


def announce(outbox: Outbox, links: Links) -> set[UUID]:
    """First the welcome. Then each worker's acknowledgements and its tasks, together: with arrays they are one
    frame. Returns the tasks whose workers are not here."""
    for attachment in outbox.attached:
        if link := links.get(attachment.session_id):
            link.welcome(config().ping_interval_seconds, SERVER)
    acks = _let_go(outbox.verdicts, links)
    assignments: dict[UUID, list[Assignment]] = {}
    for assignment in outbox.assignments:
        assignments.setdefault(assignment.task.session_id, []).append(assignment)
    elsewhere: set[UUID] = set()
    for session_id in acks | assignments:
        theirs = assignments.get(session_id, ())
        if link := links.get(session_id):
            link.hand_over(theirs, acks.get(session_id, ()))
        else:
            elsewhere.update(assignment.task.task_id for assignment in theirs)
    return elsewhere


def _let_go(verdicts: Iterable[tuple[Report, Verdict]], links: Links) -> dict[UUID, list[ServerMessage]]:
    """Of the attempts that have ended. What their workers are told, by session."""
    acks: dict[UUID, list[ServerMessage]] = {}
    for report, verdict in verdicts:
        if link := links.get(report.session_id):
            attempt = link.held.get(report.task_id) if report.attempt is None else report.attempt
            link.let_go(report.task_id, report.attempt)
            if link.v1:
                acks.setdefault(report.session_id, []).append(Ack(id_text(report.task_id), attempt, verdict))
    return acks
