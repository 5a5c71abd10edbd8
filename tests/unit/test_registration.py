"""What a worker says of itself when it attaches: the contract, section 4, "Attach"."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.errors import RegistrationError
from queueapp.domain.matching import Subscription
from queueapp.domain.payloads import UNSTORABLE_NUMBER, UNSTORABLE_TEXT
from queueapp.protocol import close_reason
from queueapp.registration import (
    MAX_SUBSCRIPTIONS,
    Options,
    Query,
    parse_first_message,
    parse_query,
    profile_of,
)


def query(text: str) -> Query:
    return parse_query(text.encode(), 100)


def subscriptions(text: str) -> list[Subscription]:
    return [offer.subscription for offer in query(text).offers]


def refused_query(text: str) -> str:
    with pytest.raises(RegistrationError) as caught:
        query(text)
    return caught.value.reason


def refused_message(value: object) -> str:
    with pytest.raises(RegistrationError) as caught:
        parse_first_message(value if isinstance(value, str) else json.dumps(value))
    return caught.value.reason


class TestTheQueryForm:
    def test_applies_the_filter_to_all_the_tasks_named(self):
        filter = {"cloud": ["aws", "gcp"], "account": ["123"]}
        assert subscriptions("task=tag,collect&cloud=aws,gcp&account=123") == [
            Subscription.of("tag", filter),
            Subscription.of("collect", filter),
        ]

    @pytest.mark.parametrize("text", ["task=tag&task=collect", "task=tag,collect", "task=tag%2Ccollect"])
    def test_takes_tasks_repeated_or_separated_by_plain_or_encoded_commas(self, text):
        assert subscriptions(text) == [Subscription.of("tag"), Subscription.of("collect")]

    @pytest.mark.parametrize(
        "text", ["cloud=aws,gcp", "cloud=aws&cloud=gcp", "cloud=aws%2Cgcp", "cloud=gcp,aws,aws"]
    )
    def test_adds_up_the_values_of_a_criterion(self, text):
        assert subscriptions(f"task=tag&{text}") == [Subscription.of("tag", {"cloud": ["aws", "gcp"]})]

    def test_decodes_plus_and_percent(self):
        offered = subscriptions("task=tag&na%C3%AFve+name=a+b%26c%3Dd%2B")
        assert offered == [Subscription.of("tag", {"naïve name": ["a b&c=d+"]})]

    def test_names_a_task_twice_to_no_effect(self):
        assert subscriptions("task=tag,tag&task=tag") == [Subscription.of("tag")]

    def test_without_task_leaves_the_registration_to_the_first_message(self):
        assert query("") == Query(Options(max_outstanding=100), ())
        assert query("_batch=1").offers == ()

    @pytest.mark.parametrize(
        "text",
        ["task=", "task=tag,", "task=,tag", "task", "task=tag&cloud=", "task=tag&cloud=aws,", "task=tag&=aws"],
    )
    def test_refuses_an_empty_name_or_value(self, text):
        assert refused_query(text)

    @pytest.mark.parametrize("text", ["task=a+b", "task=%C3%A9", "task=" + "x" * 201, "task=a%00", "task=a/b"])
    def test_refuses_what_is_no_task_name(self, text):
        assert "no task name" in refused_query(text)

    @pytest.mark.parametrize("text", ["cloud=%00", "%00=aws", "c" * 201 + "=aws", "cloud=" + "a" * 1001])
    def test_refuses_criteria_that_no_task_could_have(self, text):
        assert refused_query(f"task=tag&{text}").startswith("Filter ")

    @pytest.mark.parametrize("text", ["task=tag&cloud=%ff", "task=%ed%a0%80", "%fe=1&task=tag", "task=é"])
    def test_refuses_what_does_not_decode(self, text):
        assert "cannot be decoded" in refused_query(text)

    def test_refuses_criteria_without_a_task(self):
        assert "need a task" in refused_query("cloud=aws")

    def test_refuses_more_subscriptions_than_a_worker_may_have(self):
        names = [f"t{number}" for number in range(MAX_SUBSCRIPTIONS + 1)]
        assert len(subscriptions("task=" + ",".join(names[1:]))) == MAX_SUBSCRIPTIONS
        assert str(MAX_SUBSCRIPTIONS) in refused_query("task=" + ",".join(names))


class TestTheOptions:
    def test_have_defaults(self):
        assert query("task=tag").options == Options(max_outstanding=100, name="", batch=False, version="")

    def test_are_taken_from_the_query(self):
        options = query("_max_outstanding=7&_name=rack+4&_batch=1&_version=2.0&task=tag").options
        assert options == Options(max_outstanding=7, name="rack 4", batch=True, version="2.0")

    @pytest.mark.parametrize("text", ["_x=1", "_=1", "_Name=a", "__batch=1"])
    def test_that_are_unknown_are_refused_by_their_name(self, text):
        assert refused_query(f"task=tag&{text}").startswith(f"Unknown option {text.split('=')[0]}:")

    @pytest.mark.parametrize("value", ["0", "-1", "", "many", "1.5", "100001", "9" * 5000, "%D9%A1", "+5"])
    def test_max_outstanding_is_a_whole_number_from_1(self, value):
        assert "_max_outstanding" in refused_query(f"task=tag&_max_outstanding={value}")

    @pytest.mark.parametrize("value", ["2", "", "true", "01"])
    def test_batch_is_0_or_1(self, value):
        assert "_batch" in refused_query(f"task=tag&_batch={value}")

    @pytest.mark.parametrize("option", ["_name", "_version"])
    @pytest.mark.parametrize("value", ["x" * 201, "%00"])
    def test_labels_are_short_and_can_be_stored(self, option, value):
        assert option in refused_query(f"task=tag&{option}={value}")

    def test_are_given_once(self):
        assert "twice" in refused_query("task=tag&_name=a&_name=b")


class TestTheFirstMessage:
    def test_has_a_filter_for_each_subscription(self):
        offers = parse_first_message('[{"name":"tag","filter":{"cloud":["aws","gcp"]}},{"name":"collect"}]')
        assert [offer.subscription for offer in offers] == [
            Subscription.of("tag", {"cloud": ["aws", "gcp"]}),
            Subscription.of("collect"),
        ]

    def test_means_what_the_query_means(self):
        text = '[{"name":"tag","filter":{"cloud":["gcp","aws"],"account":"123"}}]'
        asked = query("task=tag&cloud=aws,gcp&account=123").offers
        assert profile_of(parse_first_message(text)) == profile_of(asked)

    def test_takes_one_string_for_a_list_of_one(self):
        (offer,) = parse_first_message('[{"name":"tag","filter":{"cloud":"aws,gcp"}}]')
        assert offer.subscription == Subscription.of("tag", {"cloud": ["aws,gcp"]})

    def test_keeps_further_members_for_operators(self):
        (offer,) = parse_first_message('[{"name":"tag","info":{"a":[1]},"description":"d","filter":null}]')
        assert json.loads(offer.extra) == {"info": {"a": [1]}, "description": "d"}
        assert offer.subscription == Subscription.of("tag")

    @pytest.mark.parametrize("value", [{}, {"name": "tag"}, [], "tag", 1, None, ""])
    def test_is_an_array_of_at_least_one_object(self, value):
        assert "array" in refused_message(json.dumps(value))

    @pytest.mark.parametrize("item", [1, "tag", [], {}, {"name": None}, {"name": 1}, {"name": ["tag"]}])
    def test_names_each_subscription(self, item):
        assert refused_message([item]) == "Each subscription is an object with a name."

    @pytest.mark.parametrize("name", ["", "a b", "é", "x" * 201])
    def test_refuses_what_is_no_task_name(self, name):
        assert "no task name" in refused_message([{"name": name}])

    @pytest.mark.parametrize("filter", [[], ["cloud"], "cloud=aws", "", 0, False, 5])
    def test_refuses_a_filter_that_is_no_object(self, filter):
        assert "must be an object" in refused_message([{"name": "tag", "filter": filter}])

    @pytest.mark.parametrize("values", [None, 1, {}, [1], [["aws"]], ["aws", None]])
    def test_refuses_values_that_are_not_strings(self, values):
        assert "string" in refused_message([{"name": "tag", "filter": {"cloud": values}}])

    @pytest.mark.parametrize("values", [[], "", [""], ["aws", ""]])
    def test_refuses_an_empty_value_or_list_of_values(self, values):
        assert "empty value" in refused_message([{"name": "tag", "filter": {"cloud": values}}])

    def test_refuses_an_empty_criterion(self):
        assert refused_message([{"name": "tag", "filter": {"": "aws"}}])

    @pytest.mark.parametrize("text", ["", "{", "NaN", '[{"name":"tag","x":1e999}]', "[" * 100_000, '"\ud800"'])
    def test_refuses_what_is_not_json(self, text):
        assert refused_message(text).startswith("The registration cannot be used: ")

    @pytest.mark.parametrize("member", [r'"\u0000"', r'{"\ud800":1}', "1" * 400 + ".0", "1" * 5000])
    def test_refuses_further_members_that_cannot_be_stored(self, member):
        assert refused_message(f'[{{"name":"tag","info":{member}}}]').startswith(
            "The registration cannot be used: "
        )

    @pytest.mark.parametrize(("member", "fault"), [(r'"\u0000"', UNSTORABLE_TEXT), ("1e999", UNSTORABLE_NUMBER)])
    def test_says_what_cannot_be_stored_in_a_sentence_for_which_a_close_frame_has_room(self, member, fault):
        sentence = f"The registration cannot be used: {fault}."
        assert refused_message(f'[{{"name":"tag","info":{member}}}]') == sentence
        assert close_reason(sentence) == sentence

    def test_has_at_most_so_many_subscriptions(self):
        items = [{"name": f"t{number}"} for number in range(MAX_SUBSCRIPTIONS + 1)]
        assert len(parse_first_message(json.dumps(items[1:]))) == MAX_SUBSCRIPTIONS
        assert str(MAX_SUBSCRIPTIONS) in refused_message(items)


QUERY_KEYS = st.sampled_from(["task", "cloud", "_name", "_batch", "_max_outstanding", "_version", "_x", ""])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["tag", "aws"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "filter", "cloud", "info"]) | st.text(max_size=3), children, max_size=4
        )
    ),
    max_leaves=12,
)


class TestAnything:
    @given(
        st.binary()
        | st.text().map(str.encode)
        | st.lists(st.tuples(QUERY_KEYS, st.text(max_size=10))).map(urlencode).map(str.encode)
        | st.lists(st.tuples(QUERY_KEYS, st.binary(max_size=6)))
        .map(lambda pairs: "&".join(f"{key}={quote(value)}" for key, value in pairs))
        .map(str.encode)
    )
    def test_in_a_query_is_understood_or_refused(self, raw):
        try:
            parsed = parse_query(raw, 100)
        except RegistrationError:
            return
        for offer in parsed.offers:
            for criterion, values in offer.subscription.criteria:
                assert criterion
                assert values
                assert all(values)

    @given(st.text(st.characters() | st.characters(categories=["Cs"])) | json_values.map(json.dumps))
    def test_in_a_first_message_is_understood_or_refused(self, text):
        try:
            offers = parse_first_message(text)
        except RegistrationError:
            return
        assert offers
        for offer in offers:
            assert isinstance(json.loads(offer.extra), dict)

    @given(
        st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["tag", "collect", "a b"])},
                optional={
                    "filter": st.dictionaries(
                        st.text(max_size=3), st.text(max_size=3) | st.lists(st.text(max_size=3))
                    ),
                    "info": json_values,
                },
            ),
            max_size=4,
        ).map(json.dumps)
    )
    def test_nearly_right_in_a_first_message_is_understood_or_refused(self, text):
        try:
            offers = parse_first_message(text)
        except RegistrationError:
            return
        assert [offer.subscription.name for offer in offers] == [item["name"] for item in json.loads(text)]
