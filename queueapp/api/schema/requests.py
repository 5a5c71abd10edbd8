"""The shapes of what producers ask for beside tasks: operations on many of them, callbacks."""

from __future__ import annotations

from collections.abc import Iterable

from queueapp.api.schema.words import (
    STORABLE,
    Schema,
    array_of,
    closed,
    error_group,
    identifier,
    one_of,
    or_null,
    shape,
    task_name,
    text,
    time,
    whole,
)
from queueapp.domain.filter_values import MOST_VALUES
from queueapp.domain.names import ATTRIBUTE_NAME_LENGTH, ATTRIBUTE_VALUE_LENGTH, TASK_NAME
from queueapp.domain.states import CHANGEABLE, Action, DeliveryState, OperationState


def request_components() -> dict[str, Schema]:
    return {
        "CancelFilter": _filter(CHANGEABLE[Action.CANCEL]),
        "RetryFilter": _filter(CHANGEABLE[Action.RETRY]),
        "Operation": _operation(),
        "Callback": _callback(),
    }


def _filter(states: Iterable[str]) -> Schema:
    """As `task_filters.selected` reads it."""
    storable = {"type": "string", "pattern": STORABLE}
    members = {
        "state": _one_or_several(one_of(states), "|".join(sorted(map(str, states)))),
        "name": _one_or_several(task_name(), TASK_NAME.pattern),
        "worker": identifier("What it holds, and what has ended on it."),
        "created_after": time("This time is included."),
        "created_before": time("This time is not."),
        "tag": storable,
        "error_group": error_group(),
    }
    some = {
        **closed("Those that every member matches.", (), members),
        "minProperties": 1,
        "patternProperties": {
            rf"^attr\.[^\u0000]{{1,{ATTRIBUTE_NAME_LENGTH}}}$": {**storable, "maxLength": ATTRIBUTE_VALUE_LENGTH}
        },
    }
    every = closed("Every task.", ["all"], {"all": {"const": True}})
    return {"anyOf": [some, every], "description": "Which tasks, as `GET /tasks` knows it by parameters."}


def _one_or_several(item: Schema, pattern: str) -> Schema:
    listed = {"type": "string", "pattern": f"^(?:{pattern})(?:,(?:{pattern})){{0,{MOST_VALUES - 1}}}$"}
    return {
        "anyOf": [listed, array_of(item, minItems=1, maxItems=MOST_VALUES)],
        "description": "Several as a list, or with commas.",
    }


def _operation() -> Schema:
    return shape(
        "One action on every task that a filter selects, done in the background.",
        id=identifier(),
        action=one_of(Action),
        state=one_of(OperationState),
        filter={"type": "object", "additionalProperties": True, "description": "As it was given."},
        total=or_null(whole("Null until they have been counted.", minimum=0)),
        done=whole("How many have been dealt with.", minimum=0),
        unchanged=whole("Of these in vain.", minimum=0),
        asked_by=text(),
        created_at=time(),
        finished_at=or_null(time()),
    )


def _callback() -> Schema:
    return shape(
        "What became of the message that tells of one end of a task.",
        id=identifier("The `webhook-id`."),
        url=or_null(text()),
        state=one_of(DeliveryState, "`failed`: it was given up."),
        attempts=whole(minimum=0),
        last_status=or_null(whole("The receiver's.")),
        last_error=or_null(text()),
        next_attempt_at=or_null(time()),
        created_at=time(),
        ended_at=or_null(time()),
    )
