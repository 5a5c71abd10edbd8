"""Whatever a worker may send, and what the protocol has beside its frames: the contract, section 4."""

from __future__ import annotations

import json
import time

import pytest
from frames import one, unusable
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.payloads import parse_json
from queueapp.protocol import (
    FATAL_CLOSE_CODES,
    Ack,
    Capacity,
    CloseCode,
    Drain,
    ErrorNotice,
    Extend,
    Progress,
    Release,
    Result,
    Unusable,
    serialise,
)
from queueapp.worker_frames import parse_auth, parse_frame

MESSAGE_TYPES = (Result, Progress, Extend, Release, Drain, Capacity, Unusable)


class TestABadFrame:
    @pytest.mark.parametrize(
        "text", ["", " ", "{", "hello", '{"task_id":"t","result":"done"', "[{}", "{}{}", "[1,]"]
    )
    def test_that_is_not_json_is_unusable(self, text):
        unusable(text, "not-json")

    @pytest.mark.parametrize(
        "text", ['{"task_id":"t","result":"done","data":"\x00"}', '{"a":"\t"}', '{"data":01}']
    )
    def test_that_is_nearly_json_is_unusable(self, text):
        unusable(text, "not-json")

    @pytest.mark.parametrize("value", [1, True, 0.5, [[]], ["text"]])
    def test_that_is_no_object_is_unusable(self, value):
        unusable(value, "not-an-object")

    @pytest.mark.parametrize("kind", ["task", "ack", "Progress", "\ud800", "x" * 500])
    def test_of_an_unknown_kind_is_unusable(self, kind):
        unusable({"kind": kind, "task_id": "t"}, "unknown-kind")

    @pytest.mark.parametrize("kind", ["\ud800", "\x00", "é"])
    def test_is_answered_by_a_frame_that_can_be_written(self, kind):
        message = one({"kind": kind})
        assert isinstance(message, Unusable)
        assert serialise(ErrorNotice(message.code, message.message))

    def test_of_a_mebibyte_that_is_one_string_without_an_end_is_refused_at_once(self):
        started = time.process_time()
        unusable('{"' + '\\"' * 500_000, "not-json")
        assert time.process_time() - started < 10  # it was hours while each quote was tried as a beginning


class TestAnArray:
    def test_has_a_message_for_each_element_in_their_order(self):
        frame = [{"task_id": "a", "result": "done"}, {"kind": "drain"}, {"kind": "release", "task_id": "b"}]
        assert parse_frame(json.dumps(frame)) == [Result("a", done=True), Drain(), Release("b")]

    def test_may_be_empty_and_stand_after_white_space(self):
        assert parse_frame(" \n[]") == []

    def test_is_not_spoilt_by_one_bad_element(self):
        first, bad, last = parse_frame('[{"kind":"drain"},{"kind":"nonsense"},{"kind":"release","task_id":"t"}]')
        assert (first, last) == (Drain(), Release("t"))
        assert isinstance(bad, Unusable)


class TestAnAuthMessage:
    def test_gives_its_token(self):
        assert parse_auth('{"kind":"auth","token":"wq_x"}') == "wq_x"

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"kind":"auth"}', '{"kind":"auth","token":5}', '{"token":"t"}', "[" * 100_000]
    )
    def test_is_nothing_else(self, text):
        assert parse_auth(text) is None


class TestCloseCodes:
    def test_are_those_of_the_contract(self):
        assert {int(code) for code in CloseCode} == {1000, 1001, 1009, 1012, 4400, 4401, 4403, 4408, 4409, 4429}

    def test_after_which_a_worker_must_not_reconnect(self):
        assert {int(code) for code in FATAL_CLOSE_CODES} == {4400, 4401, 4403, 4409}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters() | st.characters(categories=["Cs"]))
    | st.sampled_from(["t", "done", "error", 10**30, 1e300]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)
members = st.sampled_from(
    ["task_id", "result", "data", "error", "details", "attempt", "retry", "progress", "message", "seconds"]
)
KINDS = ["", "result", "progress", "extend", "release", "drain", "capacity", "auth", "nonsense"]
nearly_frames = st.builds(
    lambda kind, wild, usual: {**kind, **usual, **wild},
    st.sampled_from([{}] + [{"kind": kind} for kind in KINDS]),
    st.dictionaries(members | st.just("max_outstanding"), json_values, max_size=3),
    st.just({"task_id": "t", "result": "done"}) | st.just({"task_id": "t", "result": "error"}) | st.just({}),
)
anything = st.text(st.characters() | st.characters(categories=["Cs"])) | st.builds(
    json.dumps, json_values | nearly_frames | st.lists(nearly_frames, max_size=4), ensure_ascii=st.booleans()
)


class TestAnyFrame:
    @given(anything)
    def test_is_messages_that_can_be_stored_or_unusable(self, text):
        for message in parse_frame(text):
            assert isinstance(message, MESSAGE_TYPES)
            match message:
                case Result():
                    parse_json(message.payload)
                    assert "\x00" not in message.error
                    assert message.error.encode() or not message.error
                    assert message.attempt is None or abs(message.attempt) < 2**31
                    assert serialise(Ack(message.task_id, message.attempt, "stale"))
                case Progress():
                    assert 0 <= message.progress <= 1
                    assert message.message.encode() or not message.message
                case Unusable():
                    assert serialise(ErrorNotice(message.code, message.message))
                case _:
                    pass

    @given(anything)
    def test_is_an_auth_message_or_none(self, text):
        token = parse_auth(text)
        assert token is None or isinstance(token, str)

    @given(st.lists(nearly_frames, max_size=4))
    def test_in_an_array_means_what_it_means_alone(self, frames):
        texts = [json.dumps(frame) for frame in frames]
        assert parse_frame("[" + ",".join(texts) + "]") == [one(text) for text in texts]

    @given(json_values, st.booleans())
    def test_with_a_result_keeps_its_data_or_fails_its_task(self, data, ascii_only):
        text = json.dumps({"task_id": "t", "result": "done", "data": data}, ensure_ascii=ascii_only)
        message = one(text)
        assert isinstance(message, Result)
        if message.done:
            assert json.loads(message.payload) == data
        else:
            assert message.error.startswith("The result cannot be stored: ")
