"""The shapes of what `/tasks/{id}/explain` and `/route` take and answer."""

from __future__ import annotations

from queueapp.api.schema.words import (
    Schema,
    array_of,
    boolean,
    closed,
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


def explanation_components(attributes: Schema) -> dict[str, Schema]:
    """`attributes`: those that a task may have."""
    return {
        "Routable": closed("A task that might be.", ["name"], {"name": task_name(), "attrs": attributes}),
        "Explanation": _explanation(),
        "WorkerVerdict": _verdict(),
    }


def _explanation() -> Schema:
    count = whole(minimum=0)
    verdict_or_null = {"oneOf": [ref("WorkerVerdict"), {"type": "null"}]}
    reason = shape(
        "",
        reason=one_of(Cause),
        message=text('A clause that goes on after "It".'),
        since=or_null(time()),
        until=or_null(time()),
    )
    suggestion = shape(
        "What looks misspelt.", of=text("What was given."), given=text(), meant=text(), message=text()
    )
    group = shape(
        "Workers of one verdict and, where a criterion failed, of the same one.",
        verdict=one_of(Standing),
        criterion=or_null(text()),
        workers=count,
        message=text(),
    )
    ahead = shape("", count=count, or_more=boolean("There may be more than were counted."))
    return shape(
        "Why a task is where it is. Of workers it tells what `/workers` tells the same key.",
        task=or_null(identifier("Null: it does not exist.")),
        state=or_null(one_of(TaskState)),
        name=task_name(),
        attrs=strings(),
        summary=text("All of it in words."),
        reason=one_of(Cause, "The first of the reasons."),
        since=or_null(time("Since when the task is where it is.")),
        reasons=array_of(reason, "The first is what holds it back first.", minItems=1),
        chosen=verdict_or_null,
        ahead={"oneOf": [ahead, {"type": "null"}], "description": "Ready tasks that come before it."},
        nearest_miss=verdict_or_null,
        suggestions=array_of(suggestion),
        groups=array_of(group, "All attached workers, counted."),
        workers=array_of(ref("WorkerVerdict"), "The nearest."),
        workers_total=count,
    )


def _verdict() -> Schema:
    return shape(
        "How an attached worker stands to the task.",
        id=identifier(),
        name=text(),
        state=one_of([SessionState.ONLINE, SessionState.DRAINING]),
        matched=boolean(),
        verdict=one_of(Standing),
        message=text(),
        criterion=or_null(text("That failed.")),
        specificity=or_null(whole("Of the best matching subscription.", minimum=0)),
        outstanding=whole(minimum=0),
        max_outstanding=whole(minimum=1),
    )
