"""Random fleets and tasks, as the reference reads them, and the same in the words of the domain."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from queueapp.domain.matching import Profile, Subscription

NAMES = st.sampled_from(["tag", "collect"])
CRITERIA = st.sampled_from(["cloud", "account", "region"])
VALUES = st.sampled_from(["aws", "gcp", "123"])

subscriptions = st.fixed_dictionaries(
    {
        "name": NAMES,
        "filter": st.dictionaries(CRITERIA, st.lists(VALUES, min_size=1, max_size=2, unique=True), max_size=3),
    }
)


@st.composite
def fleets(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Workers whose `idle_since` all differ, so that there is one right choice; all lie before 100."""
    count = draw(st.integers(0, 6))
    idle_since = draw(st.permutations(range(count)))
    return [
        {
            "id": f"worker{number}",
            "subscriptions": draw(st.lists(subscriptions, min_size=1, max_size=3)),
            "outstanding": draw(st.integers(0, 3)),
            "max_outstanding": draw(st.integers(0, 4)),
            "idle_since": idle_since[number],
        }
        for number in range(count)
    ]


tasks = st.fixed_dictionaries(
    {"name": NAMES, "attrs": st.dictionaries(CRITERIA, VALUES, max_size=3)},
    optional={
        "spill_after": st.none() | st.integers(0, 20),
        "avoid": st.sets(st.sampled_from([f"worker{number}" for number in range(6)]), max_size=3),
    },
).flatmap(lambda task: st.builds(lambda waited: {**task, "waited": waited}, st.integers(0, 60)))


def profile_of(worker: dict[str, Any]) -> Profile:
    return frozenset(Subscription.of(s["name"], s["filter"]) for s in worker["subscriptions"])
