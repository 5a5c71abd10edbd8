"""The wire as documents: JSON Schemas of what each side says, and AsyncAPI descriptions of both ends.

Made from the types and limits of `protocol` and `registration`, so that what is published is what is read. The
schemas say what a frame must be to be used as it is meant; a server is milder (it reads `"attempt": "1"`, say),
and a reader of either side must pass over members that it does not know.
"""

from __future__ import annotations

from typing import Any

import msgspec

from queueapp.domain.names import ATTRIBUTE_NAME_LENGTH, ATTRIBUTE_VALUE_LENGTH, TASK_NAME
from queueapp.protocol import (
    FATAL_CLOSE_CODES,
    MAX_ATTEMPT_NUMBER,
    MAX_EXTENSION_SECONDS,
    MAX_OUTSTANDING_LIMIT,
    SUBPROTOCOL,
    Ack,
    Cancel,
    CloseCode,
    DrainNotice,
    ErrorNotice,
    TaskFrame,
    Welcome,
)
from queueapp.registration import LABEL_LENGTH, MAX_SUBSCRIPTIONS, OPTIONS

Document = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = "1.0.0"

_TEXT = {"type": "string"}
_TASK_ID = {"type": "string", "minLength": 1}
_NAME = {"type": "string", "pattern": f"^{TASK_NAME.pattern}$"}
_ATTRIBUTES = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": ATTRIBUTE_NAME_LENGTH},
    "additionalProperties": {"type": "string", "maxLength": ATTRIBUTE_VALUE_LENGTH},
}
_FILTER_VALUE = {"type": "string", "minLength": 1, "maxLength": ATTRIBUTE_VALUE_LENGTH}
_ATTEMPT = {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_ATTEMPT_NUMBER}

_SERVER_MESSAGES = (TaskFrame, Welcome, Ack, Cancel, DrainNotice, ErrorNotice)

_PAYLOAD_SCHEMAS = {
    "attrs": _ATTRIBUTES,
    "task_name": _NAME,
    "deadline": {"type": "string", "format": "date-time"},
}
"""What the types leave open, for they pass JSON through."""


def server_message_schemas() -> dict[str, Document]:
    """By the message's kind."""
    return {_kind(each): _server_message(each) for each in _SERVER_MESSAGES}


def worker_message_schemas() -> dict[str, Document]:
    """By the message's kind; a result names none, and has two forms."""
    retrying = {"type": ["boolean", "null"]}
    message = {"type": ["string", "null"]}
    progress = {"type": "number", "minimum": 0, "maximum": 1}
    seconds = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_EXTENSION_SECONDS}
    capacity = {"type": "integer", "minimum": 0, "maximum": MAX_OUTSTANDING_LIMIT}
    return {
        "done": _result("done", {"data": {}}),
        "error": _result("error", {"error": {}, "details": {}, "retry": retrying}),
        "progress": _of_kind("progress", {"task_id": _TASK_ID, "progress": progress}, {"message": message}),
        "extend": _of_kind("extend", {"task_id": _TASK_ID, "seconds": seconds}),
        "release": _of_kind("release", {"task_id": _TASK_ID}),
        "drain": _of_kind("drain", {}),
        "capacity": _of_kind("capacity", {"max_outstanding": capacity}),
    }


def auth_schema() -> Document:
    return _of_kind("auth", {"token": _TEXT})


def registration_schema() -> Document:
    """The first message of a worker whose query names no task."""
    values = {"type": "array", "items": _FILTER_VALUE, "minItems": 1}
    filter = {
        "type": ["object", "null"],
        "propertyNames": {"minLength": 1, "maxLength": ATTRIBUTE_NAME_LENGTH},
        "additionalProperties": {"oneOf": [_FILTER_VALUE, values]},
    }
    subscription = {"type": "object", "properties": {"name": _NAME, "filter": filter}, "required": ["name"]}
    return {"type": "array", "items": subscription, "minItems": 1, "maxItems": MAX_SUBSCRIPTIONS}


def query_schema() -> Document:
    """The parameters of the URL; every other that does not begin with `_` is a criterion of the filter."""
    label = {"type": "string", "maxLength": LABEL_LENGTH}
    number = {"type": "string", "pattern": "^[0-9]{1,9}$"}
    options = dict(zip(OPTIONS, (number, label, {"enum": ["0", "1"]}, label), strict=True))
    return {
        "type": "object",
        "properties": {"task": {**_TEXT, "minLength": 1}, **options},
        "patternProperties": {"^[^_]": {**_TEXT, "minLength": 1}},
        "additionalProperties": False,
    }


def documents() -> dict[str, Document]:
    """Every published document by its file's name."""
    server, worker = server_message_schemas(), worker_message_schemas()
    return {
        "server-to-worker.schema.json": _frames("What a server sends to a worker", server),
        "worker-to-server.schema.json": _frames("What a worker sends once it is registered", worker),
        "registration.schema.json": {
            "$schema": DIALECT,
            "title": "The first message of a worker that names no task in its query",
            **registration_schema(),
        },
        "asyncapi-server.json": _asyncapi("server"),
        "asyncapi-worker.json": _asyncapi("worker"),
    }


# ---- parts


def _kind(message: type[msgspec.Struct]) -> str:
    return str(message.__struct_config__.tag)


def _server_message(message: type[msgspec.Struct]) -> Document:
    (schema,), parts = msgspec.json.schema_components([message], ref_template="#/{name}")
    del schema
    (found,) = parts.values()
    for name in found["properties"].keys() & _PAYLOAD_SCHEMAS.keys():
        found["properties"][name] = _PAYLOAD_SCHEMAS[name]
    del found["title"]
    return found


def _of_kind(kind: str, required: Document, optional: Document | None = None) -> Document:
    return {
        "type": "object",
        "properties": {"kind": {"const": kind}, **required, **(optional or {})},
        "required": ["kind", *required],
    }


def _result(result: str, members: Document) -> Document:
    return {
        "type": "object",
        "properties": {
            "kind": {"enum": ["", "result", None]},
            "task_id": _TASK_ID,
            "result": {"const": result},
            "attempt": _ATTEMPT,
            **members,
        },
        "required": ["task_id", "result"],
    }


def _frames(title: str, messages: dict[str, Document]) -> Document:
    """A frame: one message, or an array of them."""
    return {
        "$schema": DIALECT,
        "title": title,
        "oneOf": [{"$ref": "#/$defs/message"}, {"type": "array", "items": {"$ref": "#/$defs/message"}}],
        "$defs": {"message": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in messages]}, **messages},
    }


def _asyncapi(side: str) -> Document:
    """One end's description, as AsyncAPI 3 asks for it: what it sends and what it receives."""
    first = {"auth": auth_schema(), "registration": registration_schema()}
    of_worker = {f"worker-{name}": schema for name, schema in {**first, **worker_message_schemas()}.items()}
    of_server = {f"server-{name}": schema for name, schema in server_message_schemas().items()}
    says, hears = (of_worker, of_server) if side == "worker" else (of_server, of_worker)
    all_messages = {**of_server, **of_worker}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Work queue: the {side}'s end of {SUBPROTOCOL}",
            "version": VERSION,
            "description": "How it is used, with its rules and stories: worker-protocol.md, beside this folder.",
        },
        "defaultContentType": "application/json",
        "servers": {"workqueue": {"host": "localhost:8000", "protocol": "ws", "pathname": "/"}},
        "channels": {
            "worker": {
                "address": "work/queue",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in all_messages},
                "bindings": {"ws": {"method": "GET", "query": query_schema(), "bindingVersion": "0.1.0"}},
                "description": _close_codes(),
            }
        },
        "operations": {
            "say": _operation("send", says),
            "hear": _operation("receive", hears),
        },
        "components": {
            "messages": {
                name: {"name": name, "payload": {"schemaFormat": "application/schema+json", "schema": schema}}
                for name, schema in all_messages.items()
            }
        },
    }


def _operation(action: str, messages: dict[str, Document]) -> Document:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/worker"},
        "messages": [{"$ref": f"#/channels/worker/messages/{name}"} for name in messages],
    }


def _close_codes() -> str:
    """One line: AsyncAPI has no place of its own for them."""
    named = ", ".join(f"{int(code)} {code.name.lower().replace('_', ' ')}" for code in CloseCode)
    fatal = ", ".join(str(int(code)) for code in sorted(FATAL_CLOSE_CODES))
    return f"Close codes: {named}. After {fatal} a worker must not come again."
