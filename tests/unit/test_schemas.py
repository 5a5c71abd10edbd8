"""The published documents of the worker protocol: what they say is what the code says, and reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.protocols import Validator
from test_server_frames import task

from queueapp import schemas
from queueapp.domain.errors import RegistrationError
from queueapp.protocol import Ack, Cancel, DrainNotice, ErrorNotice, Unusable, Welcome, serialise, serialise_many
from queueapp.registration import parse_first_message
from queueapp.worker_frames import parse_auth, parse_frame

PUBLISHED = Path(__file__).resolve().parents[2] / "docs/protocol"


def published(name: str) -> Any:
    return json.loads((PUBLISHED / name).read_text())


def validator(document: Any) -> Validator:
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


FROM_SERVER = validator(published("server-to-worker.schema.json"))
FROM_WORKER = validator(published("worker-to-server.schema.json"))
REGISTRATION = validator(published("registration.schema.json"))


def test_what_is_published_is_what_would_be_made_now():
    assert {path.name: published(path.name) for path in PUBLISHED.iterdir()} == schemas.documents()


class TestWhatTheServerSays:
    MESSAGES = (
        task(),
        task(traceparent="00-ab"),
        Welcome("w", 100, 10.0, "workqueue"),
        Ack("t", 2, "accepted"),
        Ack("t", None, "unknown"),
        Cancel("t", 1, "timeout"),
        DrainNotice("why"),
        ErrorNotice("invalid", "text"),
    )

    @pytest.mark.parametrize("message", MESSAGES)
    def test_is_valid_alone_and_in_an_array(self, message):
        FROM_SERVER.validate(json.loads(serialise(message)))
        (frame,) = serialise_many([message, message], batch=True)
        FROM_SERVER.validate(json.loads(frame))

    @pytest.mark.parametrize("message", MESSAGES)
    def test_is_not_valid_without_one_of_its_members(self, message):
        whole = json.loads(serialise(message))
        for member in whole.keys() - {"traceparent"}:
            assert not FROM_SERVER.is_valid({k: v for k, v in whole.items() if k != member}), member

    def test_may_have_members_of_a_later_version(self):
        assert FROM_SERVER.is_valid({**json.loads(serialise(self.MESSAGES[3])), "from": "the future"})

    @pytest.mark.parametrize("frame", [{}, {"kind": "news"}, 1, [1], {"kind": "ack", "status": "maybe"}])
    def test_is_nothing_else(self, frame):
        assert not FROM_SERVER.is_valid(frame)


MEMBERS = {
    "kind": st.sampled_from(["progress", "extend", "release", "drain", "capacity", "result", "", None, "news"]),
    "task_id": st.sampled_from(["t", ""]),
    "result": st.sampled_from(["done", "error", "perhaps"]),
    "data": st.sampled_from([None, {"a": 1}]),
    "error": st.sampled_from(["text", None, {"errno": 1}]),
    "details": st.sampled_from([None, [1]]),
    "attempt": st.sampled_from([None, 1, 0, -1, 2**31]),
    "retry": st.sampled_from([None, True, False]),
    "progress": st.sampled_from([0, 0.5, 1, 1.5, -1]),
    "message": st.sampled_from(["text", None]),
    "seconds": st.sampled_from([0.5, 86_400, 86_401, 0, -1]),
    "max_outstanding": st.sampled_from([0, 7, 100_000, 100_001, -1]),
}

USED = {
    "result": {"kind", "task_id", "result", "data", "error", "details", "attempt", "retry"},
    "progress": {"kind", "task_id", "progress", "message"},
    "extend": {"kind", "task_id", "seconds"},
    "release": {"kind", "task_id"},
    "drain": {"kind"},
    "capacity": {"kind", "max_outstanding"},
}


class TestWhatAWorkerSays:
    @given(st.fixed_dictionaries({}, optional=MEMBERS))
    def test_is_valid_exactly_if_the_server_uses_it(self, message):
        """Of members that a message of its kind has; those of others are looked at all the same."""
        kind = message.get("kind") or "result"
        message = {key: value for key, value in message.items() if key in USED.get(kind, message)}
        used = not isinstance(parse_frame(json.dumps(message))[0], Unusable)
        assert FROM_WORKER.is_valid(message) is used

    def test_may_be_an_array(self):
        FROM_WORKER.validate([{"kind": "drain"}, {"task_id": "t", "result": "done"}])
        assert not FROM_WORKER.is_valid([{"kind": "drain"}, {"task_id": "t", "result": "perhaps"}])


SUBSCRIPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["tag", "img.resize", "", "a b", 1]),
        "filter": st.sampled_from(
            [
                None,
                {},
                {"cloud": "aws"},
                {"cloud": ["aws", "gcp"]},
                {"cloud": []},
                {"cloud": ""},
                {"": "x"},
                {"x": [""]},
                {"x": 1},
                [],
            ]
        ),
        "info": st.just({"rack": 7}),
    },
)


class TestARegistration:
    @given(st.lists(SUBSCRIPTIONS, max_size=3))
    def test_is_valid_exactly_if_the_server_takes_it(self, registration):
        try:
            parse_first_message(json.dumps(registration))
            taken = True
        except RegistrationError:
            taken = False
        assert REGISTRATION.is_valid(registration) is taken

    def test_credential_is_read_as_it_is_described(self):
        message = {"kind": "auth", "token": "wq_x"}
        validator(schemas.auth_schema()).validate(message)
        assert parse_auth(json.dumps(message)) == "wq_x"


class TestTheAsyncApiDocuments:
    @pytest.mark.parametrize("side", ["server", "worker"])
    def test_point_at_what_they_have(self, side):
        document = published(f"asyncapi-{side}.json")
        assert document["asyncapi"] == "3.0.0"
        pointers = list(references(document))
        assert pointers
        for pointer in pointers:
            part = document
            for name in pointer.removeprefix("#/").split("/"):
                part = part[name]

    def test_are_each_other_s_mirror(self):
        def said(side: str, action: str) -> set[str]:
            (operation,) = [
                each
                for each in published(f"asyncapi-{side}.json")["operations"].values()
                if each["action"] == action
            ]
            return {message["$ref"] for message in operation["messages"]}

        assert said("server", "send") == said("worker", "receive")
        assert said("worker", "send") == said("server", "receive")


def references(value: Any) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
