"""Who is not heard of is overtaken: the coordinator's side, with workers whose every move is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from batcher import errors
from batcher.storage.download import OutputFolder
from batcher.storage.ray.cluster import GIVEN_OUT, LAST_PATIENCE, OVERTAKEN_AFTER, Cluster
from batcher.storage.ray.worker import WorkResult

SILENT = None


class RayError(Exception):
    """As Ray's own: the worker was lost."""


class RayTaskError(RayError):
    """As Ray's own: the work raised."""


class Workers:
    """Stands in for the module `ray`. The n-th work that is given out ends as the n-th of `story` says: after
    so many seconds, with an answer or an error; or never."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, *story: tuple[float, WorkResult | Exception] | None) -> None:
        self._story = list(story)
        self.given: list[tuple[float, tuple[Any, ...]]] = []
        self.cancelled: list[int] = []
        self.under_way = self.most = 0

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        assert options["num_cpus"] == 1
        return lambda work: SimpleNamespace(remote=self._give)

    def _give(self, *values: Any) -> Any:
        loop, future = asyncio.get_running_loop(), Future[WorkResult]()
        number = len(self.given)
        self.given.append((loop.time(), values))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        end = self._story[min(number, len(self._story) - 1)]
        if end is not SILENT:
            loop.call_later(end[0], self._end, future, end[1])
        return SimpleNamespace(number=number, future=lambda: future)

    def _end(self, future: Future[WorkResult], answer: WorkResult | Exception) -> None:
        self.under_way -= 1
        if future.cancelled():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def cancel(self, ref: Any, *, force: bool) -> None:
        assert force, "a frozen one hears nothing else"
        self.cancelled.append(ref.number)

    @property
    def pauses(self) -> list[float]:
        """Seconds between one giving out and the next."""
        times = [at for at, _ in self.given]
        return [round(later - earlier, 3) for earlier, later in pairwise(times)]


def work(value: int) -> int:
    return value * 2


async def test_a_silent_worker_is_overtaken_and_stopped() -> None:
    workers = Workers(SILENT, (1.0, WorkResult(6)))
    assert await Cluster(workers, 2).run(work, 3) == 6
    assert workers.pauses == [OVERTAKEN_AFTER]
    assert workers.cancelled == [0]
    assert [values for _, values in workers.given] == [(work, 3)] * 2


async def test_a_slow_one_is_not_given_up_for_being_overtaken() -> None:
    workers = Workers((400.0, WorkResult(6)), SILENT)
    assert await Cluster(workers, 1).run(work, 3) == 6
    assert workers.pauses == [15.0, 30.0, 60.0]
    assert len(workers.given) == GIVEN_OUT
    assert sorted(workers.cancelled) == [1, 2, 3]


async def test_work_that_takes_long_as_a_rule_is_overtaken_later() -> None:
    workers = Workers((14.0, WorkResult(1)), (14.0, WorkResult(1)), SILENT, (1.0, WorkResult(1)))
    cluster = Cluster(workers, 1)
    for _ in range(3):
        await cluster.run(work, 3)
    assert workers.pauses == [14.0, 14.0, 4 * 14.0]


async def test_what_is_lost_is_given_out_again_and_at_last_it_is_told() -> None:
    workers = Workers((1.0, RayError("a worker died")), (1.0, WorkResult(6)))
    assert await Cluster(workers, 1).run(work, 3) == 6
    workers = Workers((1.0, RayError("a worker died")))
    with pytest.raises(errors.WorkersLost, match="the workers were lost: RayError: a worker died"):
        await Cluster(workers, 1).run(work, 3)
    assert len(workers.given) == GIVEN_OUT


async def test_the_loss_of_the_last_one_leaves_time_to_the_others() -> None:
    lost = (1.0, RayError("a worker died"))
    workers = Workers((500.0, WorkResult(6)), lost, lost, lost)
    assert await Cluster(workers, 1).run(work, 3) == 6
    assert len(workers.given) == GIVEN_OUT


async def test_where_all_are_silent_it_ends_all_the_same() -> None:
    workers = Workers(SILENT)
    began = asyncio.get_running_loop().time()
    with pytest.raises(errors.WorkersLost, match="no worker was heard of"):
        await Cluster(workers, 1).run(work, 3)
    assert asyncio.get_running_loop().time() - began <= LAST_PATIENCE + 15 + 30 + 60 + 1
    assert sorted(workers.cancelled) == [0, 1, 2, 3]


async def test_what_the_work_itself_raises_is_raised_once() -> None:
    workers = Workers((1.0, WorkResult(error=errors.DeadLink("gone"))))
    with pytest.raises(errors.DeadLink, match="gone"):
        await Cluster(workers, 1).run(work, 3)
    workers = Workers((1.0, RayTaskError("a bug")))
    with pytest.raises(RayTaskError):
        await Cluster(workers, 1).run(work, 3)
    assert len(workers.given) == 1


async def test_a_file_that_only_the_coordinator_sees_is_read_by_it() -> None:
    workers = Workers((1.0, WorkResult(error=errors.NotAnImage("no such file"), absent=True)))
    assert await Cluster(workers, 1).run(work, 21) == 42


async def test_whoever_is_cancelled_stops_the_workers() -> None:
    workers = Workers(SILENT)
    cluster = Cluster(workers, 1)
    with anyio.move_on_after(20):
        await cluster.run(work, 3)
    assert sorted(workers.cancelled) == [0, 1]
    workers._story = [(1.0, WorkResult(8))]
    assert await cluster.run(work, 4) == 8, "its place is free again"


async def test_no_more_is_under_way_than_workers_take_and_what_is_due_first_goes_first() -> None:
    workers = Workers((1.0, WorkResult(0)))
    cluster = Cluster(workers, 2)
    async with anyio.create_task_group() as group:
        for due in (9, 8, 7, 6, 5, 4, 3):
            group.start_soon(lambda due=due: cluster.run(work, due, due=float(due)))
    assert workers.most == 2
    assert [values[1] for _, values in workers.given] == [9, 8, 3, 4, 5, 6, 7]


class Answering(Workers):
    """Workers who are waited for by whoever blocks: their first answer never comes in time."""

    def __init__(self) -> None:
        super().__init__(SILENT)
        self.waited: list[float] = []

    def _give(self, *values: Any) -> Any:
        self.given.append((0.0, values))
        return SimpleNamespace(number=len(self.given) - 1)

    def get(self, ref: Any, *, timeout: float) -> WorkResult:
        self.waited.append(timeout)
        if ref.number == 0:
            raise RayError("no answer in time")
        return WorkResult(work(*self.given[ref.number][1][1:]))


def test_work_that_may_take_long_is_waited_for_as_long_and_then_done_here() -> None:
    workers = Answering()
    found = Cluster(workers, 2).map(work, (1, 2, 3), longest=lambda item: 100.0 * item)
    assert list(found) == [2, 4, 6]
    assert workers.waited == [OVERTAKEN_AFTER + seconds for seconds in (100.0, 200.0, 300.0)]
    assert workers.cancelled == [0]


class SharedCluster(Cluster):
    """One whose workers see every folder."""

    def require_shared(self, folder: Path) -> None:
        assert folder.is_dir()


def test_a_worker_that_is_thawed_after_the_end_has_nowhere_to_write_to(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    folder.prepare()
    workers = Workers(SILENT)
    transfers = SharedCluster(workers, 1).transfers(folder, lambda kind: None)
    (run_folder,) = folder.parts.iterdir()
    frozen = run_folder / "1-0.frozen.part"
    frozen.write_bytes(b"half")
    transfers.close()
    assert not list(folder.parts.iterdir())
    with pytest.raises(FileNotFoundError):
        frozen.write_bytes(b"the rest")
