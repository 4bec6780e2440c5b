"""The coordinator's side: work is given to the cluster, no more at a time than it takes.

Rule: whoever is not heard of for long is overtaken: the same work is given out again, and the first answer
counts. What is lost with a worker is given out again by Ray itself, and by us when Ray gives up.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar, cast
from uuid import uuid4

import anyio

from batcher import errors
from batcher.storage.destination import Destination, disk
from batcher.storage.download import OutputFolder, VerifiedFile
from batcher.storage.ray import worker
from batcher.storage.ray.worker import WorkResult
from batcher.storage.workers import PrioritySemaphore, no_time

Item = TypeVar("Item")
Result = TypeVar("Result")

OVERTAKEN_AFTER = 15.0
OVERTAKEN_TIMES = 4.0
"""Seconds without an answer after which work is given out again, or so many times what the longest took; then
twice as many, for it may just be long."""
GIVEN_OUT = 4
"""Times, at most."""
LAST_PATIENCE = 3600.0
"""Seconds after which nobody waits for any of them."""
LOST_PAUSE = 1.0
"""Seconds before work that was lost is given out again: what lost it may last."""
CLOSED_AGAIN = 100
"""Times, at most, that the folder of a run's downloads is removed."""
LOST_AGAIN = 3
"""Times that Ray itself gives out what was lost with its worker."""


class Cluster:
    """The workers of a Ray cluster, as `storage.workers.Workers`; at most `size` are asked at a time."""

    remote = True

    def __init__(self, ray: Any, size: int) -> None:
        self._ray = ray
        self.size = size
        self._semaphore = PrioritySemaphore(size)
        self._longest = 0.0
        self._run_work = ray.remote(num_cpus=1, max_retries=LOST_AGAIN)(worker.run_work)
        self._fetch_and_keep = ray.remote(num_cpus=1, max_retries=LOST_AGAIN, num_returns=2)(
            worker.fetch_and_keep
        )

    def submit(self, work: Callable[..., object], *values: object) -> tuple[Any, ...]:
        """Gives out `work(*values)`; the reference to its answer."""
        return (self._run_work.remote(work, *values),)

    def submit_fetch(self, url: str) -> tuple[Any, ...]:
        """Has a picture fetched; the references to the answer, and to its bytes, which stay there."""
        return tuple(self._fetch_and_keep.remote(url))

    async def answer_of(self, give: Callable[[], tuple[Any, ...]], due: float) -> tuple[Any, ...]:
        """What `give` gives out, in its turn and as often as it must be: the answer, and the references that
        came with it. Raises WorkersLost when nobody answers."""
        async with self._semaphore.acquire(due):
            return await self._first(give)

    async def run(self, work: Callable[..., Result], *values: object, due: float = math.inf) -> Result:
        answer, *_ = await self.answer_of(lambda: self.submit(work, *values), due)
        if answer.absent:
            return await asyncio.to_thread(work, *values)
        return cast(Result, _result_of(answer))

    def map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        longest: Callable[[Item], float] = no_time,
    ) -> Generator[Result]:
        under_way: deque[tuple[Any, Item]] = deque()

        def next_one() -> Result:
            ref, item = under_way.popleft()
            try:
                answer = self._ray.get(ref, timeout=self._patience + longest(item))
            except self._ray.exceptions.RayError:
                self._cancel(ref)
                return work(item)  # nobody is heard of: it is done here
            return work(item) if answer.absent else cast(Result, _result_of(answer))

        try:
            for item in items:
                under_way.append((self._run_work.remote(work, item), item))
                if len(under_way) > self.size:
                    yield next_one()
            while under_way:
                yield next_one()
        finally:
            for ref, _ in under_way:
                self._cancel(ref)

    @property
    def _patience(self) -> float:
        return max(OVERTAKEN_AFTER, OVERTAKEN_TIMES * self._longest)

    async def _first(self, give: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        given: dict[asyncio.Future[WorkResult], tuple[float, tuple[Any, ...]]] = {}
        now = asyncio.get_running_loop().time
        lost = "no worker was heard of"
        try:
            for number in count(1):
                if number <= GIVEN_OUT:
                    refs = give()
                    given[asyncio.wrap_future(refs[0].future())] = now(), refs
                patience = LAST_PATIENCE if number >= GIVEN_OUT else self._patience * 2 ** (number - 1)
                ended, _ = await asyncio.wait(given, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for future in ended:
                    began, refs = given.pop(future)
                    error = future.exception()
                    if error is None:
                        self._longest = max(self._longest, now() - began)
                        return future.result(), *refs[1:]
                    if not self._is_loss(error):
                        raise error
                    lost = f"{type(error).__name__}: {error}"
                if number >= GIVEN_OUT and not (ended and given):
                    break
                if ended:
                    await anyio.sleep(LOST_PAUSE)
        finally:
            for future, (_, refs) in given.items():
                future.cancel()
                self._cancel(refs[0])
        raise errors.WorkersLost(f"the workers were lost: {lost}")

    def _is_loss(self, error: BaseException) -> bool:
        """Whether the worker was lost, and not the work wrong."""
        ray = self._ray.exceptions
        return isinstance(error, ray.RayError) and not isinstance(error, ray.RayTaskError)

    def _cancel(self, ref: Any) -> None:
        """Whoever works on it stops, also one that is frozen."""
        with suppress(Exception):
            self._ray.cancel(ref, force=True)

    def require_shared(self, folder: Path) -> None:
        """The workers see this folder, and not another of that name, when it returns. Raises UsageError."""
        with disk(folder), NamedTemporaryFile(dir=folder, prefix=".seen-", suffix=".new") as only_here:
            for sees in self.map(worker.sees, [only_here.name] * self.size):
                if not sees:
                    raise errors.UsageError(
                        f"the cluster's workers do not see {folder}; with --on ray the output is a folder "
                        "that all machines share, or one of an object store"
                    )

    def transfers(self, folder: OutputFolder, called: Callable[[str], None]) -> RayTransfers:
        """These workers bringing the pictures of one run; `called` counts each download.

        Raises UsageError when they do not see the output folder.
        """
        return RayTransfers(self, folder, called)


class RayTransfers:
    """Pictures come through the workers: into a folder of this run's in the shared output folder, from where
    the coordinator gives them their names; or into an object store, where the workers do."""

    remote = True

    def __init__(self, cluster: Cluster, folder: OutputFolder, called: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._folder = folder
        self._called = called
        self._bytes: dict[Path, Any] = {}
        self.size = cluster.size
        self.run = cluster.run
        self.map = cluster.map
        self.require_shared = cluster.require_shared
        self._parts = folder.parts / f"ray-{uuid4().hex}"
        if not folder.destination.remote:
            self.require_shared(folder.parts)
            with disk(self._parts):
                self._parts.mkdir()

    async def fetch(self, url: str, part: Path, due: float) -> VerifiedFile:
        answer, *refs = await self._cluster.answer_of(lambda: self._submit(url, part), due)
        file = cast(VerifiedFile, _result_of(answer))
        if refs:
            self._bytes[part] = refs[0]
            return VerifiedFile(part, file.sha256, file.size, file.picture)
        return file

    def _submit(self, url: str, part: Path) -> tuple[Any, ...]:
        self._called("download")
        if self._folder.destination.remote:
            return self._cluster.submit_fetch(url)
        return self._cluster.submit(worker.fetch_to_shared, url, str(self._parts), part.stem)

    async def publish(self, file: VerifiedFile, where: Destination, path: str) -> None:
        ref = self._bytes.get(file.part)
        if ref is None:
            await where.publish(file.part, path)
            return
        give = partial(self._cluster.submit, worker.publish, where.where, path, ref)
        answer, *_ = await self._cluster.answer_of(give, 0.0)  # it frees the workers' memory: first of all
        _result_of(answer)
        self.discard(file)

    def discard(self, file: VerifiedFile) -> None:
        if self._bytes.pop(file.part, None) is None:
            file.part.unlink(missing_ok=True)

    def close(self) -> None:
        """What overtaken workers left goes, with the folder itself: whoever is thawed after this has nowhere
        to write to."""
        for _ in range(CLOSED_AGAIN):  # one that is awake may write between the last look and the removal
            shutil.rmtree(self._parts, ignore_errors=True)
            if not self._parts.exists():
                return


def _result_of(answer: WorkResult) -> Any:
    if answer.error is not None:
        raise answer.error
    return answer.result
