"""A verdict for each worker on a task, its group, and the one that missed it by least."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import reference
from fleets import fleets, profile_of, tasks
from hypothesis import given

from queueapp.domain.matching import Subscription
from queueapp.domain.verdicts import Standing, Verdict, Worker, groups_of, judge, nearest_miss, tiers_of

ATTRS = {"cloud": "aws", "account": "1"}


def worker(number: int, *filters: dict[str, list[str]], **fields: Any) -> Worker:
    values = {"label": f"w{number}", "is_draining": False, "outstanding": 0, "max_outstanding": 10, **fields}
    return Worker(UUID(int=number), offers=frozenset(Subscription.of("tag", each) for each in filters), **values)


def judged(*workers: Worker, attrs: dict[str, str] = ATTRS, **fields: Any) -> dict[str, Verdict]:
    return {verdict.worker.label: verdict for verdict in judge(workers, "tag", attrs, **fields)}


class TestAVerdict:
    @given(fleets(), tasks)
    def test_says_of_every_worker_whether_it_matches_and_how_specifically(self, fleet, task):
        workers = [
            Worker(
                UUID(int=n), w["id"], False, 0, 1, frozenset(s for s in profile_of(w) if s.name == task["name"])
            )
            for n, w in enumerate(fleet)
        ]
        verdicts = judge(workers, task["name"], task["attrs"])
        assert {v.worker.label: v.specificity for v in verdicts} == {
            w["id"]: reference.specificity_of(w, task) for w in fleet
        }
        ours = [{v.worker.label for v in tier} for tier in tiers_of(verdicts)]
        assert ours == [{w["id"] for w in level} for level in reference.levels_of(fleet, task)]

    def test_names_the_first_criterion_of_the_offer_that_comes_nearest(self):
        both = {"cloud": ["gcp"], "zone": ["a"]}
        (verdict,) = judged(worker(1, both, {"cloud": ["aws"], "account": ["2"]})).values()
        assert (verdict.standing, verdict.criterion) == (Standing.VALUE, "account")
        assert verdict.message == "account: task says 1, worker accepts 2"

    def test_names_everything_that_failed_of_it(self):
        (verdict,) = judged(worker(1, {"cloud": ["gcp"], "zone": ["a"]})).values()
        assert verdict.message == (
            "cloud: task says aws, worker accepts gcp; zone: task says nothing, worker accepts a"
        )

    def test_is_full_only_where_it_would_be_looked_at(self):
        held = {"outstanding": 10}
        verdicts = judged(worker(1, {"cloud": ["aws"]}, **held), worker(2, {}, **held))
        assert [v.standing for v in verdicts.values()] == [Standing.FULL, Standing.LESS_SPECIFIC]
        spilled = judged(worker(1, {"cloud": ["aws"]}, **held), worker(2, {}, **held), allowed=2)
        assert [v.standing for v in spilled.values()] == [Standing.FULL, Standing.FULL]

    def test_of_one_that_drains_says_so_only_if_nothing_else_is_amiss(self):
        verdicts = judged(worker(1, {}, is_draining=True), worker(2, {"cloud": ["gcp"]}, is_draining=True))
        assert [v.standing for v in verdicts.values()] == [Standing.DRAINING, Standing.VALUE]

    def test_is_there_in_the_order_of_nearness(self):
        verdicts = judge(
            [
                worker(1),
                worker(2, {"cloud": ["gcp"], "zone": ["a"]}),
                worker(3, {"cloud": ["gcp"]}),
                worker(4, {}, is_draining=True),
                worker(5, {}),
                worker(6, {"cloud": ["aws"]}, outstanding=10),
                worker(7, {"cloud": ["aws"]}),
            ],
            "tag",
            ATTRS,
            chosen=UUID(int=7),
        )
        assert [verdict.worker.label for verdict in verdicts] == ["w7", "w6", "w5", "w4", "w3", "w2", "w1"]


class TestWhyOneIsTaken:
    def why(self, *others: Worker, **fields: Any) -> str:
        return judged(worker(1, {}, outstanding=2), *others, chosen=UUID(int=1), **fields)["w1"].message

    def test_it_is_the_only_one_with_room(self):
        full = worker(2, {}, outstanding=10)
        assert self.why(full) == "would be taken: the only one of its specificity with room (2/10 outstanding)"

    def test_it_has_the_fewest_outstanding(self):
        assert "the fewest outstanding of 2 with room" in self.why(worker(2, {}, outstanding=3))

    def test_it_is_idle_longest_of_equals(self):
        assert "idle longest of those with the fewest outstanding" in self.why(worker(2, {}, outstanding=2))

    def test_the_others_have_lost_the_task(self):
        assert "that has not lost the task before" in self.why(worker(2, {}), avoid={UUID(int=2)})

    def test_others_are_given_out_before(self):
        assert "after what is ahead of the task" in self.why(worker(2, {}), is_behind=True)

    def test_it_has_spilled(self):
        full = worker(2, {"cloud": ["aws"]}, outstanding=10)
        assert self.why(full, allowed=2).endswith("with room (2/10 outstanding), less specific (0 of 1 criteria)")


class TestTheGroups:
    def test_count_all_by_what_is_said_of_them(self):
        workers = [
            *(worker(n) for n in range(7)),
            *(worker(n, {"cloud": ["gcp"]}) for n in range(7, 10)),
            worker(10, {}, is_draining=True),
            worker(11, {}, outstanding=10),
        ]
        groups = groups_of(judge(workers, "tag", ATTRS), "tag")
        assert [group.message for group in groups] == [
            "1 full",
            "1 draining",
            "3 fail cloud",
            "7 do not offer tag",
        ]

    def test_speak_of_one_in_the_singular(self):
        groups = groups_of(judge([worker(1), worker(2, {"cloud": ["gcp"]})], "tag", ATTRS), "tag")
        assert [group.message for group in groups] == ["1 fails cloud", "1 does not offer tag"]


class TestTheNearestMiss:
    def nearest(self, *workers: Worker) -> str | None:
        verdict = nearest_miss(judge(workers, "tag", ATTRS))
        return verdict.worker.label if verdict else None

    def test_fails_the_fewest_criteria(self):
        assert self.nearest(worker(1, {"cloud": ["gcp"], "zone": ["a"]}), worker(2, {"cloud": ["gcp"]})) == "w2"

    def test_asks_of_equals_for_most_that_the_task_meets(self):
        more = worker(2, {"cloud": ["gcp"], "account": ["1"]})
        assert self.nearest(worker(1, {"cloud": ["gcp"]}), more) == "w2"

    def test_is_one_that_drains_before_any_that_does_not_match(self):
        assert self.nearest(worker(1, {"cloud": ["gcp"]}), worker(2, {}, is_draining=True)) == "w2"

    def test_is_none_that_matches_nor_one_of_another_name(self):
        assert self.nearest(worker(1, {}), worker(2)) is None
