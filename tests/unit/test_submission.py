"""What a producer may submit: every field of the contract, section 5, good and bad."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.errors import InvalidJson, InvalidSubmission
from queueapp.domain.payloads import parse_json
from queueapp.domain.retries import Backoff
from queueapp.domain.submission import MAX_SECONDS, Limits, Submission, backoff_of, parse_submission

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
LIMITS = Limits()


def parsed(**members) -> Submission:
    return parse_submission({"name": "tag", **members}, NOW, LIMITS)


def refused(document, limits: Limits = LIMITS, index: int | None = None) -> dict[str, str]:
    """The message for each pointer."""
    with pytest.raises(InvalidSubmission) as caught:
        parse_submission(document, NOW, limits, index)
    assert all(error.index == index for error in caught.value.errors)
    return {error.pointer: error.message for error in caught.value.errors}


class TestTheDefaults:
    def test_of_all_but_the_name_are_left_to_the_queue(self):
        assert parsed() == Submission(name="tag", attrs={})

    def test_are_those_of_the_contract_for_the_backoff(self):
        assert backoff_of(None) == Backoff(initial=1, factor=2, max=600)
        assert backoff_of({"factor": 3}) == Backoff(initial=1, factor=3, max=600)


class TestGoodValues:
    @pytest.mark.parametrize("name", ["a", "A-z_0.9:", "x" * 200])
    def test_of_name(self, name):
        assert parsed(name=name).name == name

    @pytest.mark.parametrize(
        ("field", "value", "attribute", "stored"),
        [
            ("attrs", {"cloud": "aws", "é": ""}, "attrs", {"cloud": "aws", "é": ""}),
            ("attrs", {str(n): "" for n in range(32)}, "attrs", {str(n): "" for n in range(32)}),
            ("data", {"a": [1, None, "é"]}, "data", '{"a":[1,null,"é"]}'),
            ("data", None, "data", "null"),
            ("priority", -100, "priority", -100),
            ("priority", 100, "priority", 100),
            ("timeout", 0.5, "timeout_seconds", 0.5),
            ("timeout", None, "timeout_seconds", None),
            ("max_attempts", 1, "max_attempts", 1),
            ("max_attempts", None, "max_attempts", None),
            ("retry_on", [], "retry_on", []),
            ("retry_on", ["error", "lost", "timeout"], "retry_on", ["error", "lost", "timeout"]),
            ("backoff", {}, "backoff", {}),
            (
                "backoff",
                {"initial": 0, "factor": 1.5, "max": 60},
                "backoff",
                {"initial": 0, "factor": 1.5, "max": 60},
            ),
            ("delay", 90, "available_at", NOW + timedelta(seconds=90)),
            ("delay", 0, "available_at", NOW),
            ("available_at", "2030-01-31T13:00:00Z", "available_at", NOW + timedelta(hours=1)),
            ("available_at", "2030-01-31T13:00:00.5+01:00", "available_at", NOW + timedelta(seconds=0.5)),
            ("available_at", "1999-01-31T12:00:00Z", "available_at", datetime(1999, 1, 31, 12, tzinfo=UTC)),
            ("expires_in", 0.25, "expires_at", NOW + timedelta(seconds=0.25)),
            ("expires_at", "2030-02-01T00:00:00Z", "expires_at", datetime(2030, 2, 1, tzinfo=UTC)),
            ("spill_after", 0, "spill_after_seconds", 0.0),
            ("spill_after", 30, "spill_after_seconds", 30.0),
            ("spill_after", None, "spill_after_seconds", None),
            ("unique_key", "k" * 200, "unique_key", "k" * 200),
            ("unique_key", None, "unique_key", None),
            ("concurrency_key", "k" * 200, "concurrency_key", "k" * 200),
            ("concurrency_key", None, "concurrency_key", None),
            ("tags", [], "tags", []),
            ("tags", ["nightly", "é" * 100], "tags", ["nightly", "é" * 100]),
        ],
    )
    def test_of_a_field_are_kept(self, field, value, attribute, stored):
        assert getattr(parsed(**{field: value}), attribute) == stored


class TestBadValues:
    @pytest.mark.parametrize("name", ["", "a b", "é", "x" * 201, "a\n", "a/b", None, 1, ["a"], {}])
    def test_of_name(self, name):
        assert refused({"name": name}).keys() == {"/name"}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("attrs", None),
            ("attrs", []),
            ("attrs", "cloud=aws"),
            ("attrs", {"cloud": 1}),
            ("attrs", {"cloud": ["aws"]}),
            ("attrs", {"": "aws"}),
            ("attrs", {"c" * 201: "aws"}),
            ("attrs", {"cloud": "a" * 1001}),
            ("attrs", {"cloud": "\x00"}),
            ("attrs", {"\ud800": "aws"}),
            ("attrs", {str(number): "" for number in range(33)}),
            ("data", float("nan")),
            ("data", "\ud800"),
            ("priority", 101),
            ("priority", -101),
            ("priority", 1.5),
            ("priority", True),
            ("priority", "5"),
            ("priority", None),
            ("timeout", 0),
            ("timeout", -1),
            ("timeout", "300"),
            ("timeout", True),
            ("timeout", float("inf")),
            ("timeout", 10**400),
            ("timeout", MAX_SECONDS + 1),
            ("max_attempts", 0),
            ("max_attempts", 1001),
            ("max_attempts", 1.5),
            ("max_attempts", True),
            ("retry_on", "lost"),
            ("retry_on", None),
            ("retry_on", ["released"]),
            ("retry_on", ["done"]),
            ("retry_on", [["lost"]]),
            ("backoff", 5),
            ("backoff", None),
            ("backoff", {"initial": -1}),
            ("backoff", {"factor": 0.5}),
            ("backoff", {"max": "600"}),
            ("backoff", {"initial": None}),
            ("backoff", {"jitter": True}),
            ("delay", -1),
            ("delay", "1"),
            ("delay", MAX_SECONDS + 1),
            ("available_at", "2030-01-31T12:00:00"),
            ("available_at", "soon"),
            ("available_at", 1890000000),
            ("available_at", "9999-12-31T23:59:59Z"),
            ("available_at", "\ud800"),
            ("expires_in", -1),
            ("expires_in", [1]),
            ("expires_at", "2030-13-01T00:00:00Z"),
            ("expires_at", "0001-01-01T00:00:00+23:59"),
            ("spill_after", -1),
            ("spill_after", "30"),
            ("unique_key", ""),
            ("concurrency_key", ""),
            ("concurrency_key", "k" * 201),
            ("unique_key", "k" * 201),
            ("unique_key", 7),
            ("unique_key", "\x00"),
            ("tags", None),
            ("tags", "nightly"),
            ("tags", [1]),
            ("tags", [""]),
            ("tags", ["x" * 101]),
            ("tags", ["a"] * 33),
            ("tags", ["\udfff"]),
        ],
    )
    def test_of_a_field_are_refused_with_its_pointer(self, field, value):
        errors = refused({"name": "tag", field: value})
        assert errors.keys() == {f"/{field}"}
        assert all(errors.values())

    @pytest.mark.parametrize("document", [None, 1, "tag", ["tag"], [], True])
    def test_that_are_no_object_are_refused_as_a_whole(self, document):
        assert refused(document) == {"": "a task is a JSON object"}


class TestSizes:
    def test_data_is_measured_in_bytes_of_json(self):
        limits = Limits(data_bytes=6)
        assert parse_submission({"name": "t", "data": "éé"}, NOW, limits).data == '"éé"'
        assert refused({"name": "t", "data": "ééa"}, limits) == {
            "/data": "must be at most 6 bytes of JSON, and is 7"
        }

    def test_the_number_of_attributes_is_a_setting(self):
        errors = refused({"name": "t", "attrs": {"a": "1", "b": "2"}}, Limits(attrs=1))
        assert errors == {"/attrs": "must have at most 1 attributes"}


class TestTheErrors:
    def test_name_every_wrong_field_at_once(self):
        assert refused({"priority": 1000, "tags": 5, "colour": "red"}).keys() == {
            "/name",
            "/priority",
            "/tags",
            "/colour",
        }

    def test_carry_the_place_in_a_bulk_submission(self):
        refused({"name": ""}, index=7)
        refused("tag", index=9999)

    def test_say_which_fields_are_known_where_one_is_not(self):
        message = refused({"name": "tag", "prioritty": 1})["/prioritty"]
        assert message.startswith("unknown field")
        assert "priority" in message

    def test_escape_the_pointer_as_rfc_6901_says(self):
        assert refused({"name": "tag", "a/b~c": 1}).keys() == {"/a~1b~0c"}

    def test_can_be_written_as_utf8_whatever_the_field_is_called(self):
        for pointer, message in refused({"name": "tag", "\ud800": 1}).items():
            assert (pointer + message).encode()


class TestADurationAndATimeForTheSameThing:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"delay": 5}, {"available_at": "2030-02-01T00:00:00Z"}),
            ({"expires_in": 5}, {"expires_at": "2030-02-01T00:00:00Z"}),
        ],
    )
    def test_are_refused_in_either_order(self, first, second):
        assert refused({"name": "t", **first, **second}).keys() == {f"/{next(iter(second))}"}
        assert refused({"name": "t", **second, **first}).keys() == {f"/{next(iter(first))}"}

    @pytest.mark.parametrize(
        ("given", "empty", "attribute"),
        [("delay", "available_at", "available_at"), ("expires_in", "expires_at", "expires_at")],
    )
    def test_are_the_one_that_is_not_null_in_either_order(self, given, empty, attribute):
        expected = NOW + timedelta(seconds=5)
        assert getattr(parsed(**{given: 5, empty: None}), attribute) == expected
        assert getattr(parsed(**{empty: None, given: 5}), attribute) == expected


FIELDS = [
    "name",
    "attrs",
    "data",
    "priority",
    "timeout",
    "max_attempts",
    "retry_on",
    "backoff",
    "delay",
    "available_at",
    "expires_in",
    "expires_at",
    "spill_after",
    "unique_key",
    "tags",
    "callback_url",
    "traceparent",
]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters() | st.characters(categories=["Cs"]))
    | st.datetimes(timezones=st.timezones() | st.none()).map(datetime.isoformat)
    | st.sampled_from(["tag", "lost", "error", 1e300, 10**400, "0001-01-01T00:00:00+23:59", "initial"]),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["initial", "factor", "max"]), children, max_size=4
        )
    ),
    max_leaves=15,
)


class TestAnyDocument:
    @given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=10), json_values) | json_values)
    def test_is_a_submission_or_invalid(self, document):
        try:
            submission = parse_submission(document, NOW, LIMITS)
        except InvalidSubmission:
            return
        assert submission.name == document["name"]
        assert submission.data.encode()

    @given(st.text(max_size=50), st.integers(0, 5))
    def test_that_came_as_text_is_a_submission_or_invalid_too(self, text, depth):
        document = '{"name":"tag","data":' + "[" * depth + json.dumps(text) + "]" * depth + "}"
        try:
            submission = parse_submission(parse_json(document), NOW, LIMITS)
        except (InvalidJson, InvalidSubmission):
            assert "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text)
        else:
            assert parse_json(submission.data) == parse_json(document)["data"]
