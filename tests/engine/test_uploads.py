"""A local file becomes what the API can read: one upload per content, and clear words where it cannot be."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import aiohttp
import anyio
import pytest
from PIL import Image

from batcher import errors
from batcher.api.client import Client, Endpoints
from batcher.api.pacing import Pacing
from batcher.engine import uploads as uploads_module
from batcher.engine.uploads import OpenUpload, Uploads, open_upload, read
from batcher.ledger.ledger import Ledger
from batcher.sandbox import Faults, faults
from batcher.storage.workers import Threads
from batcher.task import Task
from tests.support.bookkeeping import a_ledger, a_task
from tests.support.foreign import Foreign, answer, closed_port
from tests.support.pictures import noisy_picture
from tests.support.sandboxes import MakeSandbox

KEY = "SG_0123456789abcdef"
PNG = noisy_picture()
DIGEST = hashlib.sha256(PNG).hexdigest()


@asynccontextmanager
async def uploads_to(
    url: str, path: Path, now: Callable[[], float], mode: Literal["storage", "inline"] = "storage"
) -> AsyncIterator[tuple[Uploads, Ledger]]:
    pacing = Pacing(rpm=None, now=now)
    heard: Counter[str] = Counter()
    with a_ledger(path / "ledger.sqlite", now=now) as ledger:
        async with Client(
            Endpoints(url, url, url), KEY, pacing=pacing, now=now, called=lambda kind: heard.update([kind])
        ) as client:
            yield Uploads(client, ledger, pacing, Threads(), mode=mode), ledger


def of_file(path: Path, number: int = 0, content: bytes = PNG) -> Task:
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return a_task(number, params={"image": str(path), "prompt": "x"}, media={"image": digest})


async def test_a_content_is_uploaded_once_however_many_tasks_want_it_at_once(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    async with sandbox() as server, uploads_to(server.url, tmp_path, now) as (uploads, ledger):
        tasks = [of_file(tmp_path / f"{n}.png", n) for n in range(20)]
        other = of_file(tmp_path / "other.png", 99, noisy_picture(size=(9, 9)))
        bodies = await asyncio.gather(*(uploads.body(task) for task in [*tasks, other]))
        urls = {body["image"] for body in bodies}
        assert len(urls) == server.counts["upload"] == 2
        assert all(url.startswith(server.url) for url in urls)
        assert all(body["prompt"] == "x" for body in bodies)
        await ledger.committed()
        assert await uploads.body(tasks[0]) == bodies[0]
        assert server.counts["upload"] == 2
        assert tasks[0].params["image"] == str(tmp_path / "0.png"), "the plan is left as it was"


async def test_each_picture_of_a_list_is_uploaded_to_its_place(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    one = of_file(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(content := noisy_picture(size=(9, 9)))
    files = [str(tmp_path / "a.png"), "http://h/x.png", {"deep": str(tmp_path / "b.png")}]
    media = {"images.0": one.media["image"], "images.2.deep": hashlib.sha256(content).hexdigest()}
    task = a_task(1, params={"images": files, "n": [1, 2]}, media=media)
    async with sandbox() as server, uploads_to(server.url, tmp_path, now) as (uploads, _):
        body = await uploads.body(task)
        assert (body["images"][1], body["n"]) == ("http://h/x.png", [1, 2])
        assert body["images"][0].startswith(server.url)
        assert body["images"][2]["deep"].startswith(server.url)
        assert await uploads.body_as_sent(task, now()) == body
        assert task.params["images"] is files
        assert files[0] == str(tmp_path / "a.png")


async def test_another_run_does_not_upload_again(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    task = of_file(tmp_path / "a.png")
    async with sandbox() as server:
        for _ in range(2):
            async with uploads_to(server.url, tmp_path, now) as (uploads, _ledger):
                await uploads.body(task)
        assert server.counts["upload"] == 1


async def test_a_url_is_used_for_weeks(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    task = of_file(tmp_path / "a.png")
    async with sandbox() as server, uploads_to(server.url, tmp_path, now) as (uploads, _):
        for days in (0, 1, 6, 20):
            await anyio.sleep(days * 86_400)
            await uploads.body(task)
        assert server.counts["upload"] == 1


async def test_a_storage_that_is_full_is_about_the_account_and_stops_the_run(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    task = of_file(tmp_path / "a.png")
    async with (
        sandbox(faults=Faults([faults.StorageFull()])) as server,
        uploads_to(server.url, tmp_path, now) as (uploads, _),
    ):
        with pytest.raises(errors.StorageFull, match="Storage quota exceeded") as caught:
            await uploads.body(task)
        assert (caught.value.exit_code, "inline" in caught.value.remedy) == (5, True)


async def test_only_a_url_that_may_have_died_is_forgotten(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    task = of_file(tmp_path / "a.png")
    async with sandbox() as server, uploads_to(server.url, tmp_path, now) as (uploads, ledger):
        body = await uploads.body(task)
        assert not uploads.forget(task, now()), "it was uploaded a moment before"
        await anyio.sleep(1000)
        submitted_at = now()
        assert await uploads.body_as_sent(task, submitted_at) == body
        assert uploads.forget(task, submitted_at)
        assert ledger.uploaded(DIGEST) is None
        assert uploads.forget(task, submitted_at), "another task found it dead before"
        await anyio.sleep(1)
        await uploads.body(task)
        assert server.counts["upload"] == 2
        assert uploads.forget(task, submitted_at), "it was submitted with the old one"
        assert await uploads.body_as_sent(task, submitted_at) is None
        assert not uploads.forget(task, now())


async def test_who_waited_for_an_upload_that_failed_tries_in_turn(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    script = Faults([faults.Status(route="upload", code=502, calls=[1])])
    async with sandbox(faults=script) as server, uploads_to(server.url, tmp_path, now) as (uploads, _):
        task = of_file(tmp_path / "a.png")
        ends = await asyncio.gather(*(uploads.body(task) for _ in range(5)), return_exceptions=True)
        assert [type(end) for end in ends] == [errors.Gateway, dict, dict, dict, dict]
        assert server.counts["upload"] == 2


async def test_who_is_cancelled_while_uploading_keeps_nobody_waiting(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    script = Faults([faults.Hang(route="upload", calls=[1])])
    async with sandbox(faults=script) as server, uploads_to(server.url, tmp_path, now) as (uploads, _):
        task = of_file(tmp_path / "a.png")
        with anyio.move_on_after(20):
            await uploads.body(task)
        with anyio.fail_after(20):
            assert (await uploads.body(task))["image"].startswith("http")


async def test_inline_gives_the_bytes_themselves_and_makes_no_call(
    now: Callable[[], float], tmp_path: Path
) -> None:
    async with uploads_to(closed_port(), tmp_path, now, "inline") as (uploads, _):
        body = await uploads.body(of_file(tmp_path / "a.png"))
        assert body == {
            "image": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
            "prompt": "x",
        }


@pytest.mark.parametrize(
    ("name", "content", "digest", "kind", "text"),
    [
        ("a.png", b"not a picture", None, errors.NotAnImage, "not a picture"),
        ("a.png", b"", None, errors.NotAnImage, "empty"),
        ("a.png", b"<html>", None, errors.NotAnImage, "page"),
        ("a.png", PNG, "0" * 64, errors.SourceChanged, "changed since it was planned"),
        ("gone.png", None, DIGEST, errors.NotAnImage, "No such file"),
        ("/", None, DIGEST, errors.NotAnImage, "directory"),
    ],
)
async def test_a_file_that_cannot_be_sent_is_told_by_name_and_costs_no_call(
    now: Callable[[], float],
    tmp_path: Path,
    name: str,
    content: bytes | None,
    digest: str | None,
    kind: type[errors.TaskError],
    text: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    digest = digest or hashlib.sha256(content or b"").hexdigest()
    task = a_task(1, params={"image": str(path)}, media={"image": digest})
    for mode in ("storage", "inline"):
        async with (
            Foreign(answer("200 OK", b'{"file_urls":["http://x/"]}')) as server,
            uploads_to(server.url, tmp_path, now, mode) as (uploads, _),
        ):
            with pytest.raises(errors.FileError, match=text) as caught:
                await uploads.body(task)
            assert type(caught.value) is kind
            assert str(path) in caught.value.message
            assert server.requests == 0


def test_a_file_that_is_too_large_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads_module, "LARGEST_UPLOAD", len(PNG))
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    assert read(str(path), DIGEST).startswith(b"data:image/png;base64,")
    path.write_bytes(PNG + b"x")
    with pytest.raises(errors.UploadRejected, match="larger than"):
        read(str(path), hashlib.sha256(PNG + b"x").hexdigest())


def test_the_type_follows_the_bytes_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    data = noisy_picture("JPEG")
    path.write_bytes(data)
    assert read(str(path), hashlib.sha256(data).hexdigest()).startswith(b"data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Status(route="upload", code=400), errors.UploadRejected),
        (faults.Status(route="upload", code=413), errors.UploadRejected),
        (faults.Status(route="upload", code=401), errors.BadKey),
        (faults.Status(route="upload", code=403), errors.Forbidden),
        (faults.Status(route="upload", code=502), errors.Gateway),
        (faults.Status(route="upload", code=500), errors.ServerError),
        (faults.Throttle(route="upload"), errors.Throttled),
        (faults.Cut(route="upload"), errors.AnswerLost),
        (faults.HalfJson(route="upload"), errors.AnswerLost),
    ],
)
async def test_each_refusal_of_the_storage_has_its_meaning(
    sandbox: MakeSandbox,
    now: Callable[[], float],
    tmp_path: Path,
    fault: faults.Fault,
    kind: type[errors.TaskError],
) -> None:
    async with (
        sandbox(faults=Faults([fault])) as server,
        uploads_to(server.url, tmp_path, now) as (uploads, ledger),
    ):
        with pytest.raises(errors.TaskError) as caught:
            await uploads.body(of_file(tmp_path / "a.png"))
        assert type(caught.value) is kind
        assert ledger.uploaded(DIGEST) is None


async def test_a_storage_that_is_down_is_asked_by_one_probe_at_a_time_until_it_is_given_up(
    now: Callable[[], float], tmp_path: Path
) -> None:
    async with uploads_to(closed_port(), tmp_path, now) as (uploads, _):
        tasks = [of_file(tmp_path / f"{n}.png", n, noisy_picture(size=(9, 9 + n))) for n in range(6)]
        down: list[float] = []

        async def insist(task: Task) -> None:
            while not down:
                try:
                    await uploads.body(task)
                except errors.ApiDown:
                    down.append(now())
                    group.cancel_scope.cancel()
                except errors.Unreachable:
                    continue

        began = now()
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(insist, task)
        assert 600 <= down[0] - began < 700


async def test_a_storage_that_comes_back_has_cost_nobody_anything(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path
) -> None:
    script = Faults([faults.Down(route="upload", until=90)])
    async with sandbox(faults=script) as server, uploads_to(server.url, tmp_path, now) as (uploads, _):

        async def insist(task: Task) -> None:
            while True:
                try:
                    await uploads.body(task)
                except errors.AnswerLost:
                    continue
                return

        async with anyio.create_task_group() as group:
            for n in range(6):
                group.start_soon(insist, of_file(tmp_path / f"{n}.png", n, noisy_picture(size=(9, 9 + n))))
        assert not uploads.outage.down
        assert server.counts["upload"] < 25


async def test_a_large_file_goes_in_pieces(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads_module, "PIECE", 30)
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    found = open_upload(str(path), DIGEST)
    with found.file:
        streamed = found.streamed()
        pieces = [piece async for piece in streamed.pieces]
    assert max(map(len, pieces)) == 40
    assert b"".join(pieces) == read(str(path), DIGEST)
    assert sum(map(len, pieces)) == streamed.size
    async with sandbox() as server, uploads_to(server.url, tmp_path, now) as (uploads, _):
        url = (await uploads.body(of_file(path)))["image"]
        async with aiohttp.ClientSession() as http, http.get(url) as answered:
            assert await answered.read() == PNG


async def test_a_file_that_is_changed_while_it_is_sent_is_never_taken_for_the_one_that_was_planned(
    sandbox: MakeSandbox, now: Callable[[], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    noise = Image.effect_noise((1000, 1000), 100)
    noise.save(path)
    task = of_file(path, content=path.read_bytes())

    def changing(name: str, digest: str) -> OpenUpload:
        found = open_upload(name, digest)
        path.write_bytes(b"\0" * found.size)
        return found

    async with sandbox() as server, uploads_to(server.url, tmp_path, now) as (uploads, ledger):
        with monkeypatch.context() as patched:
            patched.setattr(uploads_module, "open_upload", changing)
            with pytest.raises(errors.ApiError):
                await uploads.body(task)
        assert ledger.uploaded(task.media["image"]) is None
        with pytest.raises(errors.SourceChanged, match="changed since it was planned"):
            await uploads.body(task)
