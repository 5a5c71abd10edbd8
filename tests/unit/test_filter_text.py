"""The filter bar's language, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.filter_text import MOST_WORDS, Document, parse, with_member, without_member, write
from queueapp.domain.names import is_storable
from queueapp.domain.states import TaskState

TASK_ID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"


class TestAText:
    @pytest.mark.parametrize(
        ("text", "document"),
        [
            ("", {}),
            ("state:failed", {"state": "failed"}),
            ("state:failed,expired", {"state": ["failed", "expired"]}),
            ("name:tag attr.cloud:aws", {"name": "tag", "attr.cloud": "aws"}),
            ("attr.cloud:aws,gcp", {"attr.cloud": ["aws", "gcp"]}),
            ('attr.cloud:"aws,gcp"', {"attr.cloud": "aws,gcp"}),
            ('attr."a b:c":x', {"attr.a b:c": "x"}),
            ("error:~timeout", {"error": "~timeout"}),
            ('error:~"connection lost, again"', {"error": "~connection lost, again"}),
            ("error:~a,b", {"error": "~a,b"}),
            ("worker:w7 age:>1h", {"worker": "w7", "age": ">1h"}),
            ("data.node.id:x", {"data.node.id": "x"}),
            ("tag:x,'y z'", {"tag": ["x", "y z"]}),
            (
                "created:>2026-01-31T12:00:00Z created_before:2026-02-01",
                {"created": ">2026-01-31T12:00:00Z", "created_before": "2026-02-01"},
            ),
            ("attr.url:http://x/?a=b", {"attr.url": "http://x/?a=b"}),
            ("attr.note:don't", {"attr.note": "don't"}),
            ('attr.note:""', {"attr.note": ""}),
            (r'attr.note:"say \"so\" \\ a\b"', {"attr.note": r'say "so" \ a\b'}),
        ],
        ids=str,
    )
    def test_is_read(self, text: str, document: dict[str, Any]) -> None:
        reading = parse(text)
        assert reading.document == document
        assert reading.problems == ()

    @pytest.mark.parametrize(
        ("text", "document"),
        [
            ("cloud=aws account=1", {"attr.cloud": "aws", "attr.account": "1"}),
            ('owner="ada b"', {"attr.owner": "ada b"}),
            ("url=http://x", {"attr.url": "http://x"}),
            ("attr.cloud=aws", {"attr.cloud": "aws"}),
            (TASK_ID, {"id": TASK_ID}),
            (TASK_ID.replace("-", ""), {"id": TASK_ID}),
            ("coll", {"name": "coll*"}),
            ("coll*", {"name": "coll*"}),
            ("tag", {"name": "tag*"}),
            ("image:scale_up.v-2", {"name": "image:scale_up.v-2*"}),
            ("stage:build", {"name": "stage:build*"}),
        ],
        ids=str,
    )
    def test_may_have_bare_words_as_the_search_box_had(self, text: str, document: dict[str, Any]) -> None:
        assert parse(text).document == document


class TestAWordThatCannotBeUsed:
    @pytest.mark.parametrize(
        ("word", "said", "meant"),
        [
            ("stat:failed", "There is no filter “stat”. Filters are state, name, attr.…,", "state:failed"),
            ("eror:~x", "no filter “eror”", "error:~x"),
            ("state:faild", "“state” must be of pending, assigned,", "state:failed"),
            ("state:failed,nonsense", "“state” must be of", None),
            ("-state:failed", "Nothing can be excluded", "state:pending,assigned,succeeded,cancelled,expired"),
            ("-name:tag", "Nothing can be excluded", None),
            ("state:", "“state” needs a value", None),
            ("attr:cloud", "“attr” needs a name with a point before it", None),
            ("attr.:x", "an attribute name must not be empty", None),
            ("age:1h", "“age” must be > or < and a duration", None),
            ("age:>99999999d", "longer ago than a hundred years", None),
            ("created:yesterday", "“created” must be a day", None),
            ("created:2026-02-31", "“created” must be a day", None),
            ("created:>0001-01-01T00:00:00+10:00", "“created” must be a day", None),
            ("data.:x", "must be data. and up to 10 names", None),
            ('data.a"b:x', "cannot be asked for", None),
            ("error:~", "needs a text behind the ~", None),
            ("id:7", "must be a task's id", None),
            ("name:tag,a/b", "must be a task name", None),
            ("attr.a:b\x00", "NUL", None),
            ("=x", "an attribute name must not be empty", None),
            ('"', "This is no filter", None),
            ("🦆", "This is no filter", None),
            ("🦆:x", "There is no filter “🦆”", None),
            ("tags:build", "A task name is asked for by name:tags:build*", "tag:build"),
            ("stat:faild", "There is no filter “stat”", "state:failed"),
        ],
    )
    def test_is_told_with_what_is_known_and_meant(self, word: str, said: str, meant: str | None) -> None:
        reading = parse(f"name:tag {word}" if not word.startswith("name") else word)
        (problem,) = reading.problems
        assert said in problem.message
        assert problem.meant == meant
        assert problem.word

    def test_is_one_that_is_there_already(self) -> None:
        reading = parse("name:a state:failed name:b")
        assert reading.document == {"name": "a", "state": "failed"}
        assert "name:a,b" in reading.problems[0].message

    def test_is_every_one_of_too_many(self) -> None:
        assert not parse("a=b " * MOST_WORDS + "c=d").document
        assert not parse("x" * 60_000).document


VALUES = st.text(max_size=20).filter(is_storable)
ONE_OR_MORE = VALUES | st.lists(VALUES, min_size=2, max_size=3)
NAMES = st.from_regex(r"\A[A-Za-z0-9_.:-]{1,20}\*?\Z")
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([str(state) for state in TaskState]),
        "name": NAMES | st.lists(NAMES, min_size=2, max_size=3),
        "tag": ONE_OR_MORE,
        "worker": ONE_OR_MORE,
        "error": VALUES.filter(lambda text: text != "~"),
        "created": st.sampled_from(
            ["2026-01-31", ">2026-01-31T12:00+01:00", "2026-01-31..2026-02-01T00:00:00.5Z"]
        ),
        "age": st.from_regex(r"\A[<>][0-9]{1,3}[smhd]\Z"),
    },
)


class TestADocument:
    @given(
        DOCUMENTS, st.dictionaries(VALUES.filter(bool).map(lambda name: f"attr.{name}"), ONE_OR_MORE, max_size=3)
    )
    def test_is_what_its_text_reads_as(self, document: Document, attributes: Document) -> None:
        document = {**document, **attributes}
        reading = parse(write(document))
        assert reading.problems == ()
        assert reading.document == document

    def test_that_means_every_task_is_an_empty_text(self) -> None:
        assert write({"all": True}) == ""

    def test_is_written_as_somebody_would_type_it(self) -> None:
        text = 'state:failed error:~"connection lost" created:>2026-01-31T12:00:00Z attr.url:http://x'
        assert write(parse(text).document) == text

    def test_gets_a_member_and_loses_it(self) -> None:
        document = with_member({"state": "failed", "name": "a"}, "name", "b")
        assert document == {"state": "failed", "name": "b"}
        assert without_member(document, "state") == {"name": "b"}


@given(st.text(max_size=60))
def test_any_text_is_read_or_its_words_are_told_of(text: str) -> None:
    reading = parse(text)
    again = parse(write(reading.document))
    assert again.document == reading.document
    assert again.problems == ()
