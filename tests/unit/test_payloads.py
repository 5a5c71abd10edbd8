"""The one validator of JSON: what cannot be stored is refused with a reason, and nothing else ever happens."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from queueapp.domain.errors import InvalidJson
from queueapp.domain.payloads import (
    UNSTORABLE_NUMBER,
    UNSTORABLE_TEXT,
    canonical_text,
    check_json,
    json_text,
    parse_json,
)

SURROGATES = st.characters(categories=["Cs"])
ANY_TEXT = st.text(st.characters() | SURROGATES | st.just("\x00"))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)
storable_texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
storable_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | storable_texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(storable_texts, children, max_size=4),
    max_leaves=20,
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def nested_objects(depth: int) -> str:
    return '{"a":' * depth + "null" + "}" * depth


def refused(text: str | bytes) -> str:
    with pytest.raises(InvalidJson) as caught:
        parse_json(text)
    return caught.value.reason


class TestWhatIsNoJson:
    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
    def test_constants_that_only_python_reads_are_refused_by_their_name(self, constant):
        assert refused(f'{{"a": [{constant}]}}') == f"{constant} is not JSON; send null, or text"

    @pytest.mark.parametrize(
        "text", ["1e999", "-1E999", "[1e309]", '{"a":9e+400}', "1" * 400 + ".0", "-" + "9" * 310 + ".5"]
    )
    def test_numbers_so_large_that_they_become_infinite_are_refused(self, text):
        assert refused(text) == UNSTORABLE_NUMBER

    @pytest.mark.parametrize("text", ["1" * 5000, "[-" + "1" * 4301 + "]"])
    def test_integers_of_more_digits_than_can_be_read_are_refused(self, text):
        assert refused(text) == UNSTORABLE_NUMBER

    @pytest.mark.parametrize(
        "text", ["", " ", "{", "[1,]", "{'a': 1}", '"a', "01", "nul", '"\t"', "1 2", "\ufeff1"]
    )
    def test_broken_texts_are_refused_with_the_place(self, text):
        assert "not JSON" in refused(text)

    def test_bytes_that_are_not_utf8_are_refused_with_the_place(self):
        assert refused(b'"\xff"') == "not UTF-8 at byte 1"


class TestWhatNoDatabaseKeeps:
    @pytest.mark.parametrize(
        "text",
        [
            r'"\u0000"',
            r'"a\u0000b"',
            r'{"\u0000": 1}',
            r'[[{"a": "\u0000"}]]',
            r'"\ud800"',
            r'"\udfff"',
            r'{"\udc00": 1}',
            r'"\ud800\u0041"',
            '"\ud800"',
            '{"\udfff": 1}',
        ],
    )
    def test_nul_and_lone_surrogates_are_refused_wherever_they_stand(self, text):
        assert refused(text) == UNSTORABLE_TEXT

    def test_a_pair_of_surrogates_is_one_character(self):
        assert parse_json(r'"\ud83d\ude00"') == "\U0001f600"

    def test_an_escaped_backslash_before_u0000_is_text_like_any_other(self):
        assert parse_json(r'"\\u0000"') == r"\u0000"


class TestDepth:
    @pytest.mark.parametrize("nest", [nested, nested_objects])
    def test_of_64_is_taken(self, nest):
        assert json.dumps(parse_json(nest(64)), separators=(",", ":")) == nest(64)

    @pytest.mark.parametrize("depth", [65, 500, 3000, 100_000])
    @pytest.mark.parametrize("nest", [nested, nested_objects])
    def test_of_more_is_refused(self, nest, depth):
        assert refused(nest(depth)) == "nested deeper than 64 levels"

    def test_is_not_width(self):
        wide = [[{}] * 50] * 50
        assert parse_json(json.dumps(wide)) == wide

    def test_of_a_parsed_value_is_checked_without_recursion(self):
        value: list = []
        for _ in range(100_000):
            value = [value]
        with pytest.raises(InvalidJson):
            check_json(value)
        while value:  # freed level by level: the interpreter would recurse
            value = value.pop()


class TestAnyText:
    @given(ANY_TEXT | st.binary())
    def test_is_a_value_or_invalid(self, text):
        try:
            value = parse_json(text)
        except InvalidJson:
            return
        check_json(value)

    @given(json_values, st.booleans())
    def test_that_is_json_is_taken_if_and_only_if_its_value_can_be_stored(self, value, ascii_only):
        text = json.dumps(value, ensure_ascii=ascii_only)
        try:
            check_json(value)
        except InvalidJson:
            with pytest.raises(InvalidJson):
                parse_json(text)
        else:
            assert parse_json(text) == value

    @given(storable_values)
    def test_that_is_stored_reads_as_what_was_sent(self, value):
        assert parse_json(json_text(value)) == value
        assert parse_json(json_text(value).encode()) == value


class TestTheStoredText:
    def test_is_compact_and_keeps_characters_as_they_are(self):
        assert json_text({"a": ["é", 1.5]}) == '{"a":["é",1.5]}'

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, pytest.param(10**5000, id="long")])
    def test_is_refused_to_numbers_that_are_not_json(self, value):
        with pytest.raises(InvalidJson) as caught:
            json_text([value])
        assert caught.value.reason == UNSTORABLE_NUMBER

    @given(st.dictionaries(storable_texts, storable_texts, max_size=6), st.randoms(use_true_random=False))
    @example({"b": "1", "a": "2"}, None)
    def test_is_the_same_canonically_for_equal_values(self, value, random):
        items = list(value.items())
        if random is None:
            items.reverse()
        else:
            random.shuffle(items)
        assert canonical_text(dict(items)) == canonical_text(value)
