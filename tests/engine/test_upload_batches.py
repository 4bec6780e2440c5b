"""Small files that wait travel together, each gets its own URL, and one bad file fails no other."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence

import aiohttp
import anyio
import pytest

from batcher import errors
from batcher.api.client import StreamedBody
from batcher.engine.upload_batches import AT_ONCE, MOST_BYTES, MOST_FILES, SMALL, UploadBatches
from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.pictures import noisy_picture
from tests.support.sandboxes import MakeSandbox


async def nothing() -> AsyncIterator[bytes]:
    yield b""


class Storage:
    """Answers each call after a second; refuses calls with a bad file, and answers `short` of URLs."""

    def __init__(self, *, bad: str = "", short: int = 0, down: bool = False) -> None:
        self.calls: list[list[str]] = []
        self._bad = bad
        self._short = short
        self._down = down

    async def __call__(self, paths: Sequence[str], data_urls: Sequence[StreamedBody]) -> list[str]:
        self.calls.append([*paths])
        await anyio.sleep(1)
        if self._down:
            raise errors.AnswerLost("cut")
        if self._bad in paths:
            raise errors.UploadRejected("no picture")
        urls = [f"https://files/{path}" for path in paths]
        return urls[: len(urls) - self._short] if len(urls) > 1 else urls


async def sent(storage: Storage, files: int, size: int = 1000) -> dict[str, str | errors.BatcherError]:
    batches = UploadBatches(storage)
    got: dict[str, str | errors.BatcherError] = {}

    async def one(path: str) -> None:
        try:
            got[path] = await batches.send(path, size, lambda: StreamedBody(0, nothing()))
        except errors.BatcherError as error:
            got[path] = error

    async with anyio.create_task_group() as tasks:
        for number in range(files):
            tasks.start_soon(one, f"{number}.png")
    assert len(got) == files
    return got


async def test_what_waits_goes_together_and_each_file_has_its_own_url() -> None:
    storage = Storage()
    got = await sent(storage, 100)
    assert got == {path: f"https://files/{path}" for path in got}
    assert len(storage.calls) < 100 / 4
    assert max(map(len, storage.calls)) <= MOST_FILES
    assert [len(call) for call in storage.calls[:AT_ONCE]] == [1] * AT_ONCE


async def test_a_call_is_bounded_by_bytes_too_and_large_files_go_alone() -> None:
    storage = Storage()
    await sent(storage, 40, size=SMALL)
    assert max(map(len, storage.calls)) == MOST_BYTES // SMALL
    storage = Storage()
    await sent(storage, 20, size=SMALL + 1)
    assert [len(call) for call in storage.calls] == [1] * 20


async def test_one_bad_file_fails_no_other() -> None:
    got = await sent(Storage(bad="30.png"), 60)
    assert isinstance(got.pop("30.png"), errors.UploadRejected)
    assert got == {path: f"https://files/{path}" for path in got}


async def test_an_answer_with_another_number_of_urls_is_believed_innothing() -> None:
    storage = Storage(short=1)
    got = await sent(storage, 60)
    assert got == {path: f"https://files/{path}" for path in got}
    assert sum(len(call) > 1 for call in storage.calls) <= AT_ONCE


async def test_a_storage_that_is_down_fails_each_of_a_call() -> None:
    got = await sent(Storage(down=True), 30)
    assert all(isinstance(error, errors.AnswerLost) for error in got.values())


@pytest.mark.parametrize("gone", [0, 5, 9, 12])
async def test_a_file_that_is_cancelled_keeps_no_other_waiting(gone: int) -> None:
    batches = UploadBatches(Storage())
    tasks = [
        asyncio.ensure_future(batches.send(f"{number}.png", 1, lambda: StreamedBody(0, nothing())))
        for number in range(20)
    ]
    await anyio.sleep(0.5)
    tasks[gone].cancel()
    answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert sum(isinstance(one, str) for one in answers) == 19


async def test_of_many_small_pictures_each_task_has_its_own(harness: Harness, sandbox: MakeSandbox) -> None:
    photos = harness.folder / "photos"
    photos.mkdir()
    for number in range(40):
        (photos / f"p{number}.png").write_bytes(noisy_picture(size=(37 + number, 23)))
    async with sandbox(service=5, faults=Faults([faults.Slow(route="upload")])) as server:
        manifest = harness.manifest(
            inputs=[{"images": str(photos)}],
            model="sd1.5-img2img",
            params={"image": "{{ image }}", "prompt": "{{ stem }}"},
            output={"name": "{{ stem }}"},
        )
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 40)
        assert report.calls["upload"] < 40
        async with aiohttp.ClientSession() as session:
            for job in server.jobs.values():
                async with session.get(job.body["image"]) as response:
                    stored = hashlib.sha256(await response.read()).hexdigest()
                own = (photos / f"{job.body['prompt']}.png").read_bytes()
                assert stored == hashlib.sha256(own).hexdigest()
