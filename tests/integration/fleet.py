"""A server process without its sockets: the real passes over the real rows, driven by hand."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Executor
from typing import Any
from uuid import UUID

from queueapp import database, doorbell, lifecycle, sessions
from queueapp.domain.states import Outcome
from queueapp.domain.submission import Limits, parse_submission
from queueapp.doorbell import Ring
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report, Verdict
from queueapp.models import Node, Task, new_id
from queueapp.passes import Outbox, Pass
from queueapp.registration import parse_query
from queueapp.sessions import Attachment, Closing


class Fleet:
    def __init__(self, beside: Executor | None = None) -> None:
        self.node_id = sessions.start_node(database.now())
        # A host of its own: the next process to start would take one of its own host and pid for dead.
        Node.objects.filter(pk=self.node_id).update(host=f"host-{self.node_id}")
        self.process = Pass(self.node_id, beside=beside)
        self._rung: list[Ring] = []
        self.unlisten = doorbell.listen(self._rung.append)

    def run(self, **inbox: Any) -> Outbox:
        return self.process.run(self.heard(**inbox))

    def heard(self, **inbox: Any) -> Inbox:
        """With what the doorbell has said."""
        news = doorbell.merged(self._rung)
        self._rung.clear()
        return Inbox(routes=list(news.routes), keys=news.keys, **inbox)

    def attach(self, *queries: str) -> list[UUID]:
        """A session for each query string; their ids."""
        attachments = []
        for query in queries:
            parsed = parse_query(query.encode(), 100)
            attachments.append(Attachment(new_id(), parsed.options, parsed.offers))
        self.run(attachments=attachments)
        return [attachment.session_id for attachment in attachments]

    def detach(self, session_id: UUID, outcome: Outcome = Outcome.LOST) -> Outbox:
        return self.run(closings=[Closing(session_id, outcome, 1006)])

    def finish(self, session_id: UUID, *task_ids: UUID, **report: Any) -> list[Verdict]:
        report.setdefault("done", True)
        outbox = self.run(reports=[Report(session_id, task_id, **report) for task_id in task_ids])
        return [verdict for _, verdict in outbox.verdicts]


def submit(count: int = 1, name: str = "t", **fields: Any) -> list[UUID]:
    """`count` tasks; an attribute `n` that is `...` differs from task to task."""
    now = database.now()
    documents = []
    for number in range(count):
        attrs = {k: str(number) if v is ... else v for k, v in fields.get("attrs", {}).items()}
        documents.append({"name": name, **fields, "attrs": attrs})
    parsed = [parse_submission(document, now, Limits()) for document in documents]
    return [receipt.task_id for receipt in lifecycle.submit(parsed, None, now)]


def holders() -> Counter[UUID]:
    """How many tasks each session holds, by the tasks' rows."""
    return Counter(Task.objects.assigned().values_list("worker_id", flat=True))


def holder_of(task_id: UUID) -> UUID | None:
    return Task.objects.get(pk=task_id).worker_id
