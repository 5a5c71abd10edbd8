"""Bodies of submissions: whatever is taken the quick way means what the thorough way makes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp import intake
from queueapp.domain.errors import InvalidJson, InvalidSubmission, TooManySubmissions
from queueapp.domain.payloads import parse_json
from queueapp.domain.submission import Limits, Submission, parse_submission
from queueapp.intake import read_submission, read_submissions

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
LIMITS = Limits(data_bytes=200, attrs=3, bulk=5)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from(["\x00", "\ud800", "1e999", "x" * 300]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
attributes = st.dictionaries(st.sampled_from(["cloud", "zone", "", "x" * 201]), st.text(max_size=3), max_size=4)
documents = st.fixed_dictionaries(
    {"name": st.sampled_from(["tag", "a.b:c-d", "", "no spaces", "x" * 201]) | values},
    optional={
        "attrs": st.dictionaries(
            st.sampled_from(["cloud", "zone", "", "x" * 201]), st.text(max_size=3), max_size=4
        )
        | values,
        "data": values,
        "priority": st.integers(-101, 101) | values,
        "max_attempts": st.integers(0, 1001) | values,
        "timeout": st.floats(0, 10) | values,
        "unknown": values,
    },
)


def thoroughly(document: Any) -> Submission | str:
    """What the parser of single documents says, without the quick way."""
    try:
        return parse_submission(parse_json(json.dumps(document)), NOW, LIMITS)
    except (InvalidJson, InvalidSubmission) as error:
        return str(error)


def as_read(document: Any) -> Submission | str:
    try:
        return read_submission(json.dumps(document).encode(), NOW, LIMITS)
    except (InvalidJson, InvalidSubmission) as error:
        return str(error)


def meaning(submission: Submission | str) -> Any:
    """Data that was not taken apart keeps its white space."""
    if isinstance(submission, str):
        return submission
    return submission._replace(data=json.loads(submission.data))


@given(documents)
def test_one_means_the_same_either_way(document):
    assert meaning(as_read(document)) == meaning(thoroughly(document))


@given(st.lists(documents, min_size=1, max_size=3))
def test_an_array_means_what_its_elements_mean(many):
    alone = [thoroughly(document) for document in many]
    try:
        read: Any = read_submissions(json.dumps(many).encode(), NOW, LIMITS)
    except (InvalidJson, InvalidSubmission):
        assert any(isinstance(each, str) for each in alone)
    else:
        assert [meaning(each) for each in read] == [meaning(each) for each in alone]


def test_plain_tasks_are_read_without_the_thorough_parser(monkeypatch):
    monkeypatch.setattr(intake, "parse_submission", None)
    body = json.dumps([{"name": "tag", "attrs": {"cloud": "aws"}, "data": {"n": 1e5}, "priority": 7}] * 2).encode()
    assert [task.priority for task in read_submissions(body, NOW, LIMITS)] == [7, 7]


def test_an_error_names_the_place_in_the_array():
    body = json.dumps([{"name": "tag"}, {"name": "tag", "priority": 101}]).encode()
    with pytest.raises(InvalidSubmission) as caught:
        read_submissions(body, NOW, LIMITS)
    assert [(error.index, error.pointer) for error in caught.value.errors] == [(1, "/priority")]


@pytest.mark.parametrize("way", ["quick", "thorough"])
def test_more_than_the_limit_are_refused_before_they_are_looked_at(way):
    document = {"name": "tag"} if way == "quick" else {"name": "tag", "timeout": 1}
    with pytest.raises(TooManySubmissions):
        read_submissions(json.dumps([document] * 6).encode(), NOW, LIMITS)


def test_none_are_refused():
    with pytest.raises(InvalidSubmission):
        read_submissions(b"[]", NOW, LIMITS)


@pytest.mark.parametrize("number", ["1e999", "-1E+400", "1" * 250 + "e99", "[1e400]", '{"a": 1e400}', " 1e309"])
def test_a_number_that_is_infinite_is_refused(number):
    with pytest.raises(InvalidJson):
        read_submission(f'{{"name": "tag", "data": {number}}}'.encode(), NOW, LIMITS)


@pytest.mark.parametrize("escape", [r"\u0000", r"\ud800", r"\udfff\ud800"])
def test_what_no_database_keeps_is_refused_though_it_is_escaped(escape):
    for field in ("attrs", "data"):
        with pytest.raises(InvalidJson):
            read_submission(f'{{"name": "tag", "{field}": {{"a": "{escape}"}}}}'.encode(), NOW, LIMITS)
