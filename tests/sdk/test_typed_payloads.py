"""What a handler takes, by its annotations, and what its result may be."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pydantic
import pytest

from queueapp.sdk import Task, Worker
from queueapp.sdk.testing import perform, perform_async

if TYPE_CHECKING:
    from somewhere import Unknown


class Disk(msgspec.Struct):
    size: int
    labels: list[str] = []


@dataclasses.dataclass
class Volume:
    disk: Disk


@dataclasses.dataclass
class OnDisk:
    path: Path


class Named(TypedDict):
    name: str


class Model(pydantic.BaseModel):
    size: int
    at: datetime.date = datetime.date(2030, 1, 31)


def worker_of(function: Any) -> Worker:
    worker = Worker()
    worker.task("t")(function)
    return worker


class TestAPayload:
    def test_becomes_what_the_annotation_says(self) -> None:
        def grow(disk: Disk) -> int:
            return disk.size + 1

        assert perform(worker_of(grow), "t", {"size": 2}).data == 3

    async def test_does_so_for_coroutines_too(self) -> None:
        async def grow(volume: Volume) -> int:
            return volume.disk.size + 1

        assert (await perform_async(worker_of(grow), "t", {"disk": {"size": 2}})).data == 3

    def test_may_come_with_the_task_in_either_order(self) -> None:
        def one(named: Named, task: Task) -> list[str]:
            return [named["name"], task.name]

        def other(task: Task, named: Named) -> list[str]:
            return one(named, task)

        assert perform(worker_of(one), "t", {"name": "a"}).data == ["a", "t"]
        assert perform(worker_of(other), "t", {"name": "a"}).data == ["a", "t"]

    @pytest.mark.parametrize(
        ("data", "where"), [({"disk": {"size": "big"}}, "$.disk.size"), ({}, "`disk`"), ({"disk": 1}, "$.disk")]
    )
    def test_that_does_not_fit_fails_the_task_and_says_where(self, data: Any, where: str) -> None:
        def never(volume: Volume) -> None:
            raise AssertionError

        performed = perform(worker_of(never), "t", data)
        assert performed.error.startswith("The payload is no Volume: ")
        assert where in performed.error
        assert performed.retry is False

    def test_may_be_a_model_of_pydantic_also_inside_others(self) -> None:
        def one(model: Model) -> int:
            return model.size

        def many(models: list[Model]) -> list[int]:
            return [each.size for each in models]

        assert perform(worker_of(one), "t", {"size": 2}).data == 2
        assert perform(worker_of(many), "t", [{"size": 2}]).data == [2]
        wrong = perform(worker_of(many), "t", [{"size": 2}, {"size": "big"}])
        assert wrong.error.startswith("The payload is no list[")
        assert "size: Input should be a valid integer" in wrong.error
        assert wrong.error.endswith(" - at `$[1]`")


class TestAHandler:
    def test_without_annotations_takes_the_task(self) -> None:
        assert perform(worker_of(lambda task: task.data), "t", 5).data == 5

    def test_may_be_a_method_a_partial_or_an_object(self) -> None:
        class Grower:
            def grow(self, disk: Disk) -> int:
                return disk.size + 1

            def by(self, step: int, disk: Disk) -> int:
                return disk.size + step

            async def __call__(self, disk: Disk) -> int:
                return self.grow(disk)

        grower = Grower()
        for handler in (grower.grow, functools.partial(grower.by, 1), grower):
            assert perform(worker_of(handler), "t", {"size": 2}).data == 3

    def test_may_have_annotations_that_only_type_checkers_know(self) -> None:
        def one(task: Task, factor: Unknown = None) -> Unknown:
            return task.data

        assert perform(worker_of(one), "t", 5).data == 5

    def test_is_refused_whose_parameters_do_not_say_what_it_takes(self) -> None:
        def nothing() -> None: ...
        def two(disk: Disk, volume: Volume) -> None: ...
        def three(task: Task, disk: Disk, volume: Volume) -> None: ...
        def bare(payload, task: Task) -> None: ...  # type: ignore[no-untyped-def]
        def unknown(payload: Unknown) -> None: ...
        def impossible(payload: TestAHandler) -> None: ...
        def deep(payload: list[OnDisk | None]) -> None: ...

        for function in (nothing, two, three, bare, unknown, impossible, deep):
            with pytest.raises(ValueError, match=function.__name__):
                Worker().task("t")(function)


class TestAResult:
    @pytest.mark.parametrize(
        ("value", "data"),
        [
            (Volume(Disk(3)), {"disk": {"size": 3, "labels": []}}),
            ([Model(size=4)], [{"size": 4, "at": "2030-01-31"}]),
            ({"at": datetime.date(2030, 1, 31)}, {"at": "2030-01-31"}),
            (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        ],
    )
    def test_may_be_typed_objects(self, value: Any, data: Any) -> None:
        assert perform(worker_of(lambda task: value), "t").data == data

    def test_of_such_that_no_database_keeps_is_an_error(self) -> None:
        @dataclasses.dataclass
        class Measured:
            value: float

        assert "not JSON" in perform(worker_of(lambda task: Measured(float("nan"))), "t").error
