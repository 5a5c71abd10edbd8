"""The shapes of what goes on after its request was answered: operations on many tasks, and callbacks."""

from __future__ import annotations

from queueapp.api.schema.words import (
    STORABLE,
    Schema,
    anything,
    array_of,
    identifier,
    one_of,
    or_null,
    shape,
    task_name,
    text,
    text_to_keep,
    time,
    whole,
)
from queueapp.domain.names import ATTRIBUTE_NAME_LENGTH, ATTRIBUTE_VALUE_LENGTH, TASK_NAME
from queueapp.domain.states import CHANGEABLE, Action, DeliveryState, OperationState


def task_filter(action: Action) -> Schema:
    """Which tasks an action is for: what `GET /tasks` has as parameters, or every task, said outright."""
    states = CHANGEABLE[action]
    either = "|".join(states)
    members: Schema = {
        "state": {
            "description": "One, several with commas, or a list.",
            "oneOf": [
                {"type": "string", "pattern": f"^({either})(,({either}))*$"},
                array_of(one_of(states), minItems=1),
            ],
        },
        "name": {
            "description": "One, several with commas, or a list.",
            "oneOf": [
                {"type": "string", "pattern": f"^{TASK_NAME.pattern}(,{TASK_NAME.pattern})*$"},
                array_of(task_name(), minItems=1),
            ],
        },
        "worker": identifier("What it holds, and what has ended on it."),
        "created_after": time("This time is included."),
        "created_before": time("This time is not."),
        "tag": {**text("Those that have it."), "pattern": STORABLE},
    }
    narrowing: Schema = {
        "type": "object",
        "minProperties": 1,
        "properties": members,
        "patternProperties": {
            rf"^attr\.[^\u0000]{{1,{ATTRIBUTE_NAME_LENGTH}}}$": text_to_keep("", ATTRIBUTE_VALUE_LENGTH)
        },
        "additionalProperties": False,
    }
    all_of_them: Schema = {
        "type": "object",
        "required": ["all"],
        "properties": {"all": {"const": True}},
        "additionalProperties": False,
    }
    return {
        "description": "All members must match. Every task: `all` alone.",
        "oneOf": [narrowing, all_of_them],
    }


def operation() -> Schema:
    return shape(
        "An action on every task that a filter selects, carried out in the background.",
        id=identifier(),
        action=one_of(Action),
        state=one_of(OperationState),
        filter=anything("As it was asked for."),
        total=or_null(whole("How many tasks it is for; null until they are counted.", minimum=0)),
        done=whole("How many of them have been dealt with.", minimum=0),
        unchanged=whole("How many of these had become something else meanwhile.", minimum=0),
        asked_by=text(),
        created_at=time(),
        finished_at=or_null(time()),
    )


def callback() -> Schema:
    return shape(
        "A callback that is owed for an end of a task, or was.",
        id=identifier("The `webhook-id`."),
        url=or_null(text()),
        state=one_of(DeliveryState),
        attempts=whole(minimum=0),
        last_status=or_null(whole("The HTTP status of the last answer.")),
        last_error=or_null(text()),
        next_attempt_at=or_null(time()),
        created_at=time(),
        ended_at=or_null(time()),
    )
