"""What a schedule consists of, drawn from its seed: who takes part, what is to be done, what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

KINDS = (
    "kill servers",
    "stop servers",
    "freeze servers",
    "kill workers",
    "drain workers",
    "freeze workers",
    "cut connections",
    "fail the database",
    "take the database away",
    "lose bells",
    "take the bells away",
    "cancel tasks",
    "drain sessions",
    "disconnect sessions",
    "pause queues",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """`tasks` are the submissions, each with the time at which it is made. A schedule has only some of the kinds
    of faults: all at once would hide what one alone does. `rests`: it is watched for a while after all is done."""

    servers: int
    workers: int
    tasks: tuple[tuple[float, dict[str, Any]], ...]
    kinds: frozenset[str]
    faults_seconds: float
    bells_stay_away: bool
    rests: bool


LONG = {"name": "long", "data": {"seconds": 1e6}, "timeout": 2000, "max_attempts": 20}
"""Held for as long as anybody looks: nothing but its worker's end gives it to another."""
MOST_LONG_TASKS = 3


def draw(random: Random) -> Plan:
    faults_seconds = random.choice((0.3, 0.6, 1.2))
    number = random.choice((0, 1, 2, 3, 4, 6))
    documents = [_task(random) for _ in range(random.choice((1, 2, 2, 3, 4, 6)))]
    documents += [dict(LONG) for _ in range(random.choice((0, 0, 1, MOST_LONG_TASKS)))]
    return Plan(
        servers=random.choice((1, 2, 2, 2, 2, 3)),
        workers=random.choice((2, 2, 2, 3, 4)),
        tasks=tuple((random.random() * faults_seconds * random.random(), each) for each in documents),
        kinds=frozenset(random.sample(KINDS, number)),
        faults_seconds=faults_seconds,
        bells_stay_away=random.random() < 0.2,
        rests=random.random() < 0.25,
    )


def _task(random: Random) -> dict[str, Any]:
    data: dict[str, Any] = {"seconds": random.choice((0.0, 0.01, 0.2, 0.5))}
    task: dict[str, Any] = {"name": random.choice(("tag", "tag", "scan")), "data": data}
    if random.random() < 0.7:
        task["attrs"] = {"cloud": random.choice(("aws", "gcp"))}
    match random.random():
        case chance if chance < 0.1:
            task["timeout"], data["stuck"] = 1.0, 1
        case chance if chance < 0.2:
            task["retry_on"] = ["lost", "timeout", "error"]
            task["backoff"] = {"initial": 0.1, "factor": 2, "max": 0.5}
            data["breaks"] = random.choice((1, 9))
        case chance if chance < 0.3:
            task["delay"] = random.random()
        case chance if chance < 0.4:
            data["reports"] = True
    if random.random() < 0.2:
        task["spill_after"] = 0.5
    task["priority"] = random.choice((0, 0, 5))
    return task
