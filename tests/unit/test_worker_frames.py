"""The frames from workers to the server: the contract, section 4."""

from __future__ import annotations

import json

import pytest
from frames import one, unusable

from queueapp.protocol import (
    ERROR_TEXT_LENGTH,
    PROGRESS_MESSAGE_LENGTH,
    Ack,
    Capacity,
    Drain,
    Extend,
    Progress,
    Release,
    Result,
    serialise,
)
from queueapp.worker_frames import parse_frame


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

    @pytest.mark.parametrize("error", [{"errno": 28}, ["a"], 28, False, True])
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
        ],
    )
    def test_with_a_wrong_member_is_unusable(self, frame):
        unusable(frame, "invalid")

    def test_with_a_task_id_that_cannot_be_written_back_is_of_an_unknown_task(self):
        message = one(r'{"task_id":"\ud800\u0000","result":"done"}')
        assert isinstance(message, Result)
        assert serialise(Ack(message.task_id, None, "unknown"))


class TestAMemberThatIsNull:
    """Clients with typed messages write every member that they have."""

    WHOLE = (
        {"kind": "result", "task_id": "t", "result": "done", "data": [1], "attempt": 3},
        {"task_id": "t", "result": "error", "error": "x", "details": [1], "retry": True, "retry_after": 2},
        {"kind": "progress", "task_id": "t", "progress": 0.5, "message": "half"},
        {"kind": "extend", "task_id": "t", "seconds": 600},
        {"kind": "release", "task_id": "t"},
        {"kind": "drain"},
        {"kind": "capacity", "max_outstanding": 5},
    )
    ALL = sorted({member for whole in WHOLE for member in whole})

    @pytest.mark.parametrize("member", ALL)
    @pytest.mark.parametrize("whole", WHOLE)
    def test_is_as_if_left_out(self, whole, member):
        left_out = {key: value for key, value in whole.items() if key != member}
        with_null = {**left_out, member: None}
        assert one(with_null) == one(left_out)
        assert parse_frame(json.dumps([with_null, whole])) == [one(left_out), one(whole)]

    @pytest.mark.parametrize("escaped", ["", r"\u00e9"])
    def test_leaves_the_message_as_it_is_otherwise(self, escaped):
        text = f'{{"kind":"progress","task_id":"t{escaped}","progress":0.5,"message":null,"error":null}}'
        assert one(text) == Progress(json.loads(f'"t{escaped}"'), 0.5, "")

    def test_leaves_an_error_without_a_text(self):
        assert one('{"task_id":"t","result":"error","error": null }') == Result("t", done=False, error="")


class TestAResultThatCannotBeStored:
    @pytest.mark.parametrize("member", ["data", "error", "details"])
    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (r'"\u0000"', "it holds a NUL"),
            (r'{"a":["\ud800"]}', "lone surrogate;"),
            ('"\ud800"', "lone surrogate;"),
            ("NaN", "a number that is NaN"),
            ("[-Infinity]", "infinite"),
            ("1e999", "too large"),
            ("1" * 400 + ".0", "too large"),
            ("1" * 5000, "too large"),
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
