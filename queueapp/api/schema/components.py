"""The shapes of all that goes in and out, as JSON Schemas under `#/components/schemas`.

What comes in is closed and has its limits: a value that fits is taken, one that does not is refused. What goes out
is open, so that a client which checks it outlives a new member; tests close it and hold real answers against it.
"""

from __future__ import annotations

from queueapp.api.schema.explanations import explanation_components
from queueapp.api.schema.requests import request_components
from queueapp.api.schema.words import (
    STORABLE,
    Schema,
    anything,
    array_of,
    boolean,
    closed,
    identifier,
    number,
    one_of,
    or_null,
    page_of,
    ref,
    shape,
    strings,
    task_name,
    text,
    text_to_keep,
    time,
    whole,
)
from queueapp.conf import config
from queueapp.domain.names import ATTRIBUTE_NAME_LENGTH, ATTRIBUTE_VALUE_LENGTH
from queueapp.domain.states import RETRYABLE_OUTCOMES, Outcome, SessionState, TaskState
from queueapp.domain.submission import (
    KEY_LENGTH,
    MAX_ATTEMPTS,
    MAX_BACKOFF_FACTOR,
    MAX_CONCURRENCY,
    MAX_SECONDS,
    PRIORITIES,
    TAG_COUNT,
    TAG_LENGTH,
)
from queueapp.domain.webhooks import URL_LENGTH

NOTE_LENGTH = 1000
LISTED = ("Task", "Attempt", "Worker", "Queue", "Operation", "Callback")


def components() -> dict[str, Schema]:
    """All of them, with the limits that are in force."""
    return {
        "Submission": _submission(),
        "Submissions": _submissions(),
        "Note": _note(),
        "Task": _task(),
        "Receipts": _receipts(),
        "Attempt": _attempt(),
        "Worker": _worker(),
        "Queue": _queue(),
        "QueueChanges": _queue_changes(),
        "Outstanding": _outstanding(),
        "Health": shape("That it answers.", status=text()),
        "Problem": _problem(),
        **request_components(),
        **explanation_components(_attributes()),
        **{f"{each}Page": page_of(each) for each in LISTED},
    }


# ---- what comes in


def _submission() -> Schema:
    seconds = {"minimum": 0, "maximum": MAX_SECONDS}
    above_0 = {"exclusiveMinimum": 0, "maximum": MAX_SECONDS}
    members = {
        "name": task_name("The queue that it goes to."),
        "attrs": _attributes(),
        "data": anything(f"Any JSON, at most {config().data_limit_bytes} bytes of it."),
        "priority": whole("Higher goes first; 0.", minimum=PRIORITIES[0], maximum=PRIORITIES[-1]),
        "timeout": or_null(
            number("Seconds without a result or a sign of progress; the queue's, or 300.", **above_0)
        ),
        "max_attempts": or_null(whole("The queue's, or 4.", minimum=1, maximum=MAX_ATTEMPTS)),
        "retry_on": array_of(
            one_of(RETRYABLE_OUTCOMES), 'After which outcomes to try again; `["lost", "timeout"]`.'
        ),
        "backoff": closed(
            "Seconds before another attempt after an error: `initial * factor ** n`, at most `max`, jittered.",
            (),
            {
                "initial": number("1", **seconds),
                "factor": number("2", minimum=1, maximum=MAX_BACKOFF_FACTOR),
                "max": number("600", **seconds),
            },
        ),
        "delay": or_null(number("Seconds until it may be assigned. Or `available_at`, not both.", **seconds)),
        "available_at": or_null(
            time("Within ten years. One in the past: at once, before what became available later.")
        ),
        "expires_in": or_null(
            number(
                "Seconds after which a task that still waits is `expired`. Or `expires_at`, not both.", **seconds
            )
        ),
        "expires_at": or_null(time("Within ten years.")),
        "spill_after": or_null(
            number("Seconds of waiting after which a less specific worker may take it; null: never.", **seconds)
        ),
        "unique_key": or_null(text_to_keep("One live task of a name has it.", KEY_LENGTH, shortest=1)),
        "concurrency_key": or_null(
            text_to_keep("Of those that share it `concurrency_per_key` run at a time.", KEY_LENGTH, shortest=1)
        ),
        "tags": array_of(
            text_to_keep("", TAG_LENGTH, shortest=1), "For whoever looks for it.", maxItems=TAG_COUNT
        ),
        "callback_url": or_null(
            {
                "type": "string",
                "format": "uri",
                "maxLength": URL_LENGTH,
                "description": "Where its end is told: http or https, on the public internet or as allowed.",
            }
        ),
    }
    return {
        **closed("A task to be.", ["name"], members),
        "not": {"anyOf": [_both("delay", "available_at"), _both("expires_in", "expires_at")]},
    }


def _both(duration: str, at: str) -> Schema:
    return {
        "required": [duration, at],
        "properties": {duration: {"type": "number"}, at: {"type": "string"}},
    }


def _submissions() -> Schema:
    many = array_of(ref("Submission"), "All of them or none.", minItems=1, maxItems=config().bulk_limit)
    return {"oneOf": [ref("Submission"), many]}


def _note() -> Schema:
    return closed("Why, for others to read.", (), {"note": text_to_keep("", NOTE_LENGTH)})


def _queue_changes() -> Schema:
    limit = {"minimum": 1, "maximum": MAX_CONCURRENCY}
    members = {
        "timeout": or_null(number("Seconds.", exclusiveMinimum=0, maximum=MAX_SECONDS)),
        "max_attempts": or_null(whole(minimum=1, maximum=MAX_ATTEMPTS)),
        "spill_after": or_null(number("Seconds.", minimum=0, maximum=MAX_SECONDS)),
        "concurrency": or_null(whole("How many may be assigned at a time.", **limit)),
        "concurrency_per_key": or_null(whole("How many of a `concurrency_key`.", **limit)),
    }
    return closed("Null takes one away; what is left out stays as it is.", (), members)


def _attributes() -> Schema:
    return {
        "type": "object",
        "description": "What a worker's filter is held against.",
        "maxProperties": config().attrs_limit,
        "propertyNames": {"minLength": 1, "maxLength": ATTRIBUTE_NAME_LENGTH, "pattern": STORABLE},
        "additionalProperties": text_to_keep("", ATTRIBUTE_VALUE_LENGTH),
    }


# ---- what goes out


def _task() -> Schema:
    return shape(
        "A task. What there is none of is null.",
        id=identifier(),
        name=task_name(),
        attrs=strings(),
        data=anything("As it was submitted."),
        state=one_of(TaskState),
        reason=or_null(one_of(Outcome, "Of a failed task: the last attempt's outcome.")),
        result=anything("The worker's, of a task that succeeded."),
        error=or_null(text("The last attempt's.")),
        priority=whole(),
        attempt=whole("The number of the running or last attempt; 0: there was none.", minimum=0),
        max_attempts=whole(),
        worker=or_null(identifier("The session that holds it or, once it has ended, that held it last.")),
        progress=or_null(number("From 0 to 1, as its worker says.")),
        progress_message=or_null(text()),
        timeout=number("Seconds."),
        spill_after=or_null(number("Seconds.")),
        created_at=time(),
        available_at=time(),
        assigned_at=or_null(time()),
        deadline=or_null(time()),
        finished_at=or_null(time()),
        expires_at=or_null(time()),
        unique_key=or_null(text()),
        concurrency_key=or_null(text()),
        tags=array_of(text()),
        traceparent=or_null(text("W3C Trace Context, handed on to the worker.")),
        callback_url=or_null(text()),
    )


def _receipts() -> Schema:
    return shape(
        "What an array came to, in its order.",
        count=whole(),
        ids=array_of(identifier(), "Of a task with the unique key of a live one: the live one's."),
    )


def _attempt() -> Schema:
    return shape(
        "One assignment of a task to a worker.",
        number=whole("From 1.", minimum=1),
        worker=or_null(identifier()),
        outcome=or_null(one_of(Outcome, "Null while it runs.")),
        assigned_at=time(),
        ended_at=or_null(time()),
        error=or_null(text()),
    )


def _worker() -> Schema:
    subscription = shape(
        "A name and a filter. Operators also see what else the worker said of it.",
        name=task_name(),
        filter={"type": "object", "additionalProperties": array_of(text())},
    )
    subscription["additionalProperties"] = True
    return shape(
        "A worker's session: one connection.",
        id=identifier(),
        name=text("The label that the worker gave itself."),
        state=one_of(SessionState),
        subscriptions=array_of(subscription),
        outstanding=whole("How many tasks it holds.", minimum=0),
        max_outstanding=whole(minimum=1),
        connected_at=time(),
        gone_at=or_null(time()),
        node=text("The server process that has its connection: host and process id."),
        version=text(),
    )


def _queue() -> Schema:
    per_second = number("Tasks a second over the last minute.", minimum=0)
    count = whole(minimum=0)
    return shape(
        "The tasks of a name taken together: figures over all producers' tasks, and the defaults for new ones.",
        name=task_name(),
        paused=boolean("Nothing is assigned from it."),
        paused_by=or_null(text()),
        paused_at=or_null(time()),
        note=text("Of who paused it."),
        counts=shape("Tasks in each state.", **{str(state): count for state in TaskState}),
        oldest_pending_seconds=or_null(number("How long the oldest that is not delayed has waited.", minimum=0)),
        rates=shape("How much goes in and out.", submitted=per_second, finished=per_second),
        workers=whole("Online workers that offer the name.", minimum=0),
        timeout=or_null(number("Seconds; null: the general default.")),
        max_attempts=or_null(whole()),
        spill_after=or_null(number("Seconds.")),
        concurrency=or_null(whole("How many of them may be assigned at a time; null: no limit.")),
        concurrency_per_key=or_null(whole("And how many with the same `concurrency_key`; null: no limit.")),
    )


def _outstanding() -> Schema:
    task = shape("", task_id=identifier(), task_name=task_name(), data=anything(), attrs=strings())
    return shape(
        "A task that is assigned.",
        task=task,
        worker=identifier(),
        retry_counter=whole("Attempts before this one.", minimum=0),
        deadline=time(),
    )


def _problem() -> Schema:
    wrong = {
        **shape(
            "A field that is wrong.",
            pointer=text("A JSON pointer into the body; of a query or a header: `/` and its name."),
            message=text("What is wrong with it, and what would be right."),
        )
    }
    wrong["properties"] = {**wrong["properties"], "index": whole("The place in an array of tasks.", minimum=0)}
    problem = shape(
        "An error (RFC 9457).",
        type={"type": "string", "format": "uri-reference"},
        title=text(),
        status=whole(minimum=400, maximum=599),
        detail=text("What happened, and what to do."),
    )
    problem["properties"] = {**problem["properties"], "errors": array_of(wrong, minItems=1)}
    return problem
