"""Errors of one cause have one fingerprint, whatever differs from task to task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.fingerprints import (
    FINGERPRINT_LENGTH,
    LINE_LENGTH,
    READ_CHARACTERS,
    error_group,
    fingerprint,
)

UUIDS = st.uuids().map(str)
NUMBERS = st.one_of(st.integers(0, 10**20).map(str), st.floats(0, 1e6).map(lambda value: f"{value:.3f}"))
HEXES = st.integers(2**32, 2**160).map("{:#x}".format)
QUOTED = st.one_of(
    *(
        st.text(st.characters(exclude_characters=f"{quote}\\", exclude_categories=["C", "Z"])).map(
            lambda text, quote=quote: f"{quote}{text}{quote}"
        )
        for quote in "'\"`"
    )
)
PATHS = st.lists(st.text("abcxyz019_-.", min_size=1), min_size=2, max_size=6).map(lambda p: "/" + "/".join(p))
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.tuples(st.ip_addresses(v=4), st.integers(1, 65535)).map("{0[0]}:{0[1]}".format),
)
TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z")
TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
FRAMES = (
    "connection refused by {} after the first try",
    "TimeoutError: no answer ({})",
    "worker17 cannot open {}: permission denied",
)


class TestWhatDiffersFromTaskToTask:
    @pytest.mark.parametrize("frame", FRAMES)
    @pytest.mark.parametrize(
        "things",
        [UUIDS, NUMBERS, HEXES, QUOTED, PATHS, ADDRESSES, TIMES],
        ids=["uuids", "numbers", "hex", "quoted", "paths", "addresses", "times"],
    )
    @given(data=st.data())
    def test_is_left_out(self, frame, things, data):
        one, other = data.draw(things), data.draw(things)
        assert fingerprint(frame.format(one)) == fingerprint(frame.format(other))

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            ("KeyError: 'account-17'", "KeyError: <text>"),
            ("can't read it, don't try 3 times", "can't read it, don't try <n> times"),
            ("pod web-7d9f8c6b5x2 is gone", "pod web-<id> is gone"),
            ("at 2024-01-02T03:04:05.123+01:00 it broke", "at <time> it broke"),
            ("at 2024-01-02 03:04:05 UTC it broke", "at <time> it broke"),
            ("Tue, 02 Jan 2024 03:04:05 GMT: expired", "<time>: expired"),
            ("Jan  2 03:04:05 host: out of memory", "<time> host: out of memory"),
            ("dial tcp [2001:db8::1]:443: refused", "dial tcp <address>: refused"),
            ("dial tcp 10.0.0.7:5432: refused", "dial tcp <address>: refused"),
            ("no such host db-3.internal", "no such host db-<n>.internal"),
            ("GET https://x.example/a/1?b=2 gave 503", "GET <url> gave <n>"),
            ("C:\\work\\7\\in.csv is missing", "<path> is missing"),
            ("commit 3f2a9bc0d1 not found at 0x7ffe12", "commit <hex> not found at <hex>"),
            ("took 1.5s of 1,000.25 s, 3e-5 off", "took <n>s of <n> s, <n> off"),
            ("mail to ada@example.com bounced", "mail to <address> bounced"),
            ("input/output error", "input/output error"),
            ("No result and no sign of progress for 300 s.", "No result and no sign of progress for <n> s."),
        ],
    )
    def test_is_known_by_its_form(self, error, expected):
        assert fingerprint(error) == expected

    def test_controls_and_turns_of_direction_are_no_part(self):
        assert fingerprint("\x1b[31mbroken\u202e\x00 now\x7f") == "[<n>mbroken now"


class TestTheLine:
    def test_is_the_first(self):
        assert fingerprint("\n  Error: no\n    at f (a.js:1:2)\n") == fingerprint("Error: no") == "Error: no"

    def test_of_a_traceback_is_the_one_that_names_the_exception(self):
        assert fingerprint(f"{TRACE}ValueError: bad 7\nand more") == "ValueError: bad <n>"

    def test_of_a_chain_of_tracebacks_is_that_of_the_last(self):
        chain = f"{TRACE}KeyError: 'a'\n\nDuring handling of the above exception, another:\n\n{TRACE}OSError: full"
        assert fingerprint(chain) == "OSError: full"

    def test_of_nothing_is_empty(self):
        assert fingerprint("") == fingerprint(" \n\t") == ""


class TestAnyText:
    @given(st.one_of(st.text(), st.text("0aA '\"`-:./\\[]@<>\n", max_size=60)))
    def test_has_a_fingerprint_of_bounded_length_without_a_digit(self, error):
        found = fingerprint(error)
        assert len(found) <= FINGERPRINT_LENGTH
        assert not any(character.isdigit() for character in found if character.isascii())

    @given(st.text(min_size=1))
    def test_is_read_to_a_bound(self, more):
        start = TRACE + "  x\n" * READ_CHARACTERS
        assert fingerprint(start + more) == fingerprint(start[:READ_CHARACTERS])

    def test_is_looked_at_to_a_bound_of_its_line(self):
        assert fingerprint('"' + "a" * LINE_LENGTH + '" is closed too late').startswith('"aaa')

    @pytest.mark.parametrize(
        "part", ["'", '"a', "1.", "a:", "/a", "0a", "a@", "Mon, 1 ", "(", "Jan 1 ", "a1", "\\"]
    )
    def test_of_a_mebibyte_costs_no_more_than_a_short_one(self, part):
        """An adversary's, on which an expression that tries every way would be at work for ever."""
        assert fingerprint(part * (2**20 // len(part))) == fingerprint(part * LINE_LENGTH)


class TestTheGroup:
    def test_is_of_one_task_name(self):
        assert error_group("tag", "broken 1") == error_group("tag", "broken 2")
        assert error_group("tag", "broken 1") != error_group("collect", "broken 1")

    def test_is_the_same_in_every_process_and_version(self):
        assert str(error_group("tag", "broken")) == "5eef3c2a-dddd-9580-bc7f-d8041608d5b0"

    def test_of_a_lone_surrogate_is_one_too(self):
        assert error_group("tag", "\ud800")
