"""The frames between server and workers, both ways: the contract, section 4."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.payloads import parse_json
from queueapp.protocol import (
    ERROR_TEXT_LENGTH,
    FATAL_CLOSE_CODES,
    PROGRESS_MESSAGE_LENGTH,
    Ack,
    Cancel,
    Capacity,
    CloseCode,
    Drain,
    DrainNotice,
    ErrorNotice,
    Extend,
    Progress,
    Release,
    Result,
    ServerMessage,
    TaskFrame,
    Unusable,
    Welcome,
    WorkerMessage,
    parse_auth,
    parse_frame,
    serialise,
    serialise_many,
)

MESSAGE_TYPES = (Result, Progress, Extend, Release, Drain, Capacity, Unusable)


def one(frame: object) -> WorkerMessage:
    """The only message of a frame, given as text or as the value that the text says."""
    (message,) = parse_frame(frame if isinstance(frame, str) else json.dumps(frame))
    return message


def unusable(frame: object, code: str) -> None:
    message = one(frame)
    assert isinstance(message, Unusable)
    assert message.code == code
    assert message.message


def task(**fields: object) -> TaskFrame:
    values = {
        "task_id": "0190",
        "task_name": "tag",
        "attrs": msgspec.Raw(b'{"cloud":"aws"}'),
        "data": msgspec.Raw(b"[1,2.50]"),
        "attempt": 1,
        "timeout": 300.0,
        "deadline": "2030-01-31T12:00:00Z",
        "priority": 0,
    }
    return TaskFrame(**{**values, **fields})


class TestATaskFrame:
    def test_has_the_members_of_the_contract(self):
        assert json.loads(serialise(task())) == {
            "kind": "task",
            "task_id": "0190",
            "task_name": "tag",
            "attrs": {"cloud": "aws"},
            "data": [1, 2.5],
            "attempt": 1,
            "timeout": 300.0,
            "deadline": "2030-01-31T12:00:00Z",
            "priority": 0,
        }

    def test_has_a_traceparent_only_when_the_producer_sent_one(self):
        assert "traceparent" not in json.loads(serialise(task()))
        assert json.loads(serialise(task(traceparent="00-ab")))["traceparent"] == "00-ab"

    def test_passes_the_payload_through_as_the_text_it_was(self):
        assert '"data":[1,2.50]' in serialise(task())


class TestTheOtherServerFrames:
    @pytest.mark.parametrize(
        ("message", "members"),
        [
            (
                Welcome("w", 100, 10.0, "1.0"),
                {"kind": "welcome", "worker_id": "w", "max_outstanding": 100, "heartbeat": 10.0, "server": "1.0"},
            ),
            (
                Ack("t", 2, "accepted"),
                {"kind": "ack", "task_id": "t", "attempt": 2, "status": "accepted"},
            ),
            (Ack("t", None, "unknown"), {"kind": "ack", "task_id": "t", "attempt": None, "status": "unknown"}),
            (
                Cancel("t", 1, "timeout"),
                {"kind": "cancel", "task_id": "t", "attempt": 1, "reason": "timeout"},
            ),
            (DrainNotice("restart"), {"kind": "drain", "reason": "restart"}),
            (ErrorNotice("invalid", "…"), {"kind": "error", "code": "invalid", "message": "…"}),
        ],
    )
    def test_have_the_members_of_the_contract(self, message, members):
        assert json.loads(serialise(message)) == members

    @pytest.mark.parametrize(
        "message",
        [
            task(),
            task(traceparent="00-ab"),
            Welcome("w", 100, 10.0, "1.0"),
            Ack("t", 2, "stale"),
            Ack("t", None, "unknown"),
            Cancel("t", 1, "cancelled"),
            DrainNotice("restart"),
            ErrorNotice("invalid", "é"),
        ],
    )
    def test_read_back_as_what_was_sent(self, message):
        assert msgspec.json.decode(serialise(message), type=ServerMessage) == message


class TestSeveralMessages:
    acks = [Ack("a", 1, "accepted"), Ack("b", 1, "stale")]

    def test_are_one_array_for_a_worker_that_takes_batches(self):
        (frame,) = serialise_many(self.acks, batch=True)
        assert [ack["task_id"] for ack in json.loads(frame)] == ["a", "b"]

    def test_are_a_frame_each_for_others(self):
        assert serialise_many(self.acks, batch=False) == [serialise(ack) for ack in self.acks]

    def test_are_no_frame_when_there_are_none(self):
        assert serialise_many([], batch=True) == []


class TestAResult:
    def test_done_carries_its_data_as_text(self):
        text = '{"task_id":"t","result":"done","data":{"b":[1, 2.50],"a":"é"}}'
        assert one(text) == Result("t", done=True, payload='{"b":[1, 2.50],"a":"é"}')

    def test_of_the_oldest_workers_needs_nothing_but_task_id_and_result(self):
        assert one('{"task_id":"t","result":"done"}') == Result("t", done=True, payload="null")
        assert one('{"task_id":"t","result":"error"}') == Result("t", done=False)

    def test_error_carries_text_details_and_the_workers_word_on_retrying(self):
        frame = {"task_id": "t", "result": "error", "error": "no disk", "details": {"errno": 28}, "retry": False}
        assert one(frame) == Result("t", False, payload='{"errno": 28}', error="no disk", retry=False)

    def test_may_name_its_attempt_and_its_kind(self):
        frame = {"kind": "result", "task_id": "t", "result": "done", "attempt": 3}
        assert one(frame) == Result("t", done=True, attempt=3)

    def test_may_have_members_that_nobody_knows(self):
        assert one({"task_id": "t", "result": "done", "colour": "red", "x": {}}) == Result("t", done=True)

    @pytest.mark.parametrize("error", [{"errno": 28}, ["a"], 28, None, True])
    def test_error_that_is_no_text_is_kept_as_its_json(self, error):
        message = one({"task_id": "t", "result": "error", "error": error})
        assert isinstance(message, Result)
        assert json.loads(message.error) == error

    def test_error_text_is_cut_to_what_is_kept(self):
        message = one({"task_id": "t", "result": "error", "error": "x" * (ERROR_TEXT_LENGTH + 1)})
        assert isinstance(message, Result)
        assert message.error == "x" * ERROR_TEXT_LENGTH

    def test_with_escapes_keeps_its_data(self):
        message = one(r'{"task_id":"t","result":"done","data":{"\u00e9":"\ud83d\ude00\n","n":1e3}}')
        assert isinstance(message, Result)
        assert json.loads(message.payload) == {"é": "\U0001f600\n", "n": 1000.0}

    @pytest.mark.parametrize(
        "frame",
        [
            {"result": "done"},
            {"task_id": "", "result": "done"},
            {"task_id": "t"},
            {"task_id": "t", "result": "finished"},
            {"task_id": "t", "result": None},
            {"task_id": 5, "result": "done"},
            {"task_id": "t", "result": "done", "attempt": "first"},
            {"task_id": "t", "result": "done", "attempt": True},
            {"task_id": "t", "result": "error", "retry": "perhaps"},
            {"task_id": "t", "result": "done", "attempt": 2**31},
            {"task_id": "t", "result": "done", "attempt": -(10**30)},
            {"kind": None, "task_id": "t", "result": "done"},
        ],
    )
    def test_with_a_wrong_member_is_unusable(self, frame):
        unusable(frame, "invalid")

    def test_with_a_task_id_that_cannot_be_written_back_is_of_an_unknown_task(self):
        message = one(r'{"task_id":"\ud800\u0000","result":"done"}')
        assert isinstance(message, Result)
        assert serialise(Ack(message.task_id, None, "unknown"))


class TestAResultThatCannotBeStored:
    @pytest.mark.parametrize("member", ["data", "error", "details"])
    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (r'"\u0000"', "NUL"),
            (r'{"a":["\ud800"]}', "lone surrogates"),
            ('"\ud800"', "lone surrogates"),
            ("NaN", "NaN"),
            ("[-Infinity]", "NaN and infinite"),
            ("1e999", "infinite"),
            ("1" * 400 + ".0", "infinite"),
            ("1" * 5000, "infinite"),
            ("[" * 64 + "[]" + "]" * 64, "deeper than 64"),
            ("[" * 900 + "]" * 900, "deeper than 64"),
            ("[" * 100_000 + "]" * 100_000, "deeper than 64"),
            ('{"a":' * 100_000 + "1" + "}" * 100_000, "deeper than 64"),
        ],
    )
    def test_fails_its_task_with_that_reason(self, member, payload, reason):
        message = one(f'{{"task_id":"t","result":"done","{member}":{payload}}}')
        assert isinstance(message, Result)
        assert (message.task_id, message.done, message.payload, message.retry) == ("t", False, "null", False)
        assert message.error.startswith("The result cannot be stored: ")
        assert reason in message.error

    def test_keeps_its_attempt(self):
        message = one('{"task_id":"t","result":"done","attempt":4,"data":NaN}')
        assert isinstance(message, Result)
        assert message.attempt == 4

    def test_finds_its_task_after_the_payload_too(self):
        deep = "[" * 100_000 + "]" * 100_000
        message = one(f'{{"data":{{"task_id":"inner","x":{deep}}},"result":"done","task_id":"outer"}}')
        assert isinstance(message, Result)
        assert (message.task_id, message.done) == ("outer", False)

    def test_is_unusable_where_it_names_no_task(self):
        unusable('{"result":"done","data":NaN}', "invalid")
        unusable("[" * 65 + "]" * 65, "not-an-object")

    def test_leaves_the_others_of_its_array_alone(self):
        bad, good = parse_frame('[{"task_id":"a","result":"done","data":NaN},{"task_id":"b","result":"done"}]')
        assert bad == Result("a", False, error=bad.error, retry=False)
        assert good == Result("b", done=True)

    def test_of_64_levels_is_stored(self):
        payload = "[" * 64 + "]" * 64
        assert one(f'{{"task_id":"t","result":"done","data":{payload}}}') == Result("t", True, payload)


class TestTheOtherWorkerFrames:
    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            ({"kind": "progress", "task_id": "t", "progress": 0.5, "message": "half"}, Progress("t", 0.5, "half")),
            ({"kind": "progress", "task_id": "t", "progress": 1}, Progress("t", 1.0, "")),
            ({"kind": "extend", "task_id": "t", "seconds": 600}, Extend("t", 600.0)),
            ({"kind": "release", "task_id": "t"}, Release("t")),
            ({"kind": "drain"}, Drain()),
            ({"kind": "capacity", "max_outstanding": 0}, Capacity(0)),
            ({"kind": "capacity", "max_outstanding": 100_000}, Capacity(100_000)),
        ],
    )
    def test_are_read(self, frame, message):
        assert one(frame) == message

    def test_progress_messages_are_cut_and_made_storable(self):
        text = json.dumps({"kind": "progress", "task_id": "t", "progress": 0, "message": "\x00\ud800" + "x" * 999})
        message = one(text)
        assert isinstance(message, Progress)
        assert message.message == "\ufffd?" + "x" * (PROGRESS_MESSAGE_LENGTH - 2)

    @pytest.mark.parametrize(
        "frame",
        [
            {"kind": "progress", "task_id": "t"},
            {"kind": "progress", "progress": 0.5},
            {"kind": "progress", "task_id": "t", "progress": 1.01},
            {"kind": "progress", "task_id": "t", "progress": -0.1},
            {"kind": "progress", "task_id": "t", "progress": float("nan")},
            {"kind": "progress", "task_id": "t", "progress": None},
            {"kind": "progress", "task_id": "t", "progress": 0.5, "message": 5},
            {"kind": "extend", "task_id": "t"},
            {"kind": "extend", "seconds": 5},
            {"kind": "extend", "task_id": "t", "seconds": 0},
            {"kind": "extend", "task_id": "t", "seconds": -1},
            {"kind": "extend", "task_id": "t", "seconds": 86_401},
            {"kind": "extend", "task_id": "t", "seconds": float("inf")},
            {"kind": "release"},
            {"kind": "capacity"},
            {"kind": "capacity", "max_outstanding": -1},
            {"kind": "capacity", "max_outstanding": 1.5},
            {"kind": "capacity", "max_outstanding": 100_001},
            {"kind": "capacity", "max_outstanding": 10**30},
            {"kind": "capacity", "max_outstanding": None},
        ],
    )
    def test_with_a_wrong_member_are_unusable(self, frame):
        unusable(frame, "invalid")


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
