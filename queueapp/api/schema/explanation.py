"""The shape of an explanation: why a task is where it is, worker by worker."""

from __future__ import annotations

from queueapp.api.schema.words import (
    Schema,
    array_of,
    boolean,
    identifier,
    one_of,
    or_null,
    ref,
    shape,
    strings,
    task_name,
    text,
    time,
    whole,
)
from queueapp.domain.reasons import Cause
from queueapp.domain.states import SessionState, TaskState
from queueapp.domain.verdicts import Standing


def explanation() -> Schema:
    reason = shape(
        "What the task waits for, or why it waits no more.",
        reason=one_of(Cause),
        message=text(),
        since=or_null(time()),
        until=or_null(time("When it is over by itself.")),
    )
    ahead = shape(
        "Tasks that come before it for the same workers.",
        count=whole(minimum=0),
        or_more=boolean("There may be more, which were not counted."),
    )
    suggestion = shape(
        "What looks misspelt.", of=text("What kind of word it is."), given=text(), meant=text(), message=text()
    )
    group = shape(
        "Workers with the same verdict.",
        verdict=one_of(Standing),
        criterion=or_null(text()),
        workers=whole(minimum=1),
        message=text(),
    )
    return shape(
        "Why a task is where it is, as the dispatcher decides it.",
        task=or_null(identifier("Null for one that does not exist.")),
        state=or_null(one_of(TaskState)),
        name=task_name(),
        attrs=strings(),
        summary=text("One sentence for people."),
        reason=one_of(Cause, "The first of `reasons`."),
        since=or_null(time()),
        reasons=array_of(reason, "All that hold, the first to be dealt with first."),
        chosen=_or_nobody("Whom the next pass gives it to."),
        ahead={"anyOf": [ahead, {"type": "null"}]},
        nearest_miss=_or_nobody("Who would match with the fewest changes."),
        suggestions=array_of(suggestion),
        groups=array_of(group, "All online workers, counted."),
        workers=array_of(ref("Verdict"), "The nearest first, at most a thousand."),
        workers_total=whole(minimum=0),
    )


def verdict() -> Schema:
    return shape(
        "A worker as this task sees it.",
        id=identifier(),
        name=text(),
        state=one_of(SessionState),
        matched=boolean(),
        verdict=one_of(Standing),
        message=text(),
        criterion=or_null(text("Of the filter, that failed.")),
        specificity=or_null(whole("Criteria of the subscription that matches.", minimum=0)),
        outstanding=whole(minimum=0),
        max_outstanding=whole(minimum=1),
    )


def _or_nobody(description: str) -> Schema:
    return {"description": description, "anyOf": [ref("Verdict"), {"type": "null"}]}
