"""Bytes onto the disk: a final name is only ever given to a whole picture, and never taken from another."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from batcher import errors
from batcher.sandbox import Faults, Sandbox, faults
from batcher.storage import download as download_module
from batcher.storage.download import OutputFolder, fetch, plain_session, verify_spooled
from tests.support.foreign import Foreign, answer, closed_port, raw
from tests.support.pictures import noisy_picture
from tests.support.sandboxes import MakeSandbox

KEY = "SG_0123456789abcdef"
PNG = noisy_picture()
DIGEST = hashlib.sha256(PNG).hexdigest()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with plain_session() as session:
        yield session


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    made = OutputFolder(tmp_path / "out")
    made.prepare()
    return made


@pytest.fixture
def part(folder: OutputFolder) -> Path:
    return folder.part(1, 0)


async def a_result(server: Sandbox) -> str:
    """The URL of a picture that the sandbox made."""
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as http:
        body = {"image": "https://segmind.com/image5.png", "prompt": "x"}
        async with http.post(f"{server.url}/v2/sd1.5-outpaint", json=body) as submitted:
            record = await submitted.json()
        await anyio.sleep(60)
        async with http.get(record["response_url"]) as told:
            return str((await told.json())["output"])


def left(folder: OutputFolder) -> list[str]:
    """Every file of the output folder, by its path in it."""
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())


# --- fetching


async def test_a_picture_lands_with_its_digest_and_waits_for_its_name(
    sandbox: MakeSandbox, session: aiohttp.ClientSession, folder: OutputFolder, part: Path
) -> None:
    heard: Counter[str] = Counter()
    async with sandbox() as server:
        landed = await fetch(session, await a_result(server), part, lambda kind: heard.update([kind]))
        assert not server.keys_seen_at_files
    content = part.read_bytes()
    assert (landed.sha256, landed.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert landed.picture.suffix == ".png"
    assert heard == {"download": 1}
    assert left(folder) == [".batcher/parts/1-0.part"]


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (faults.Truncated(), errors.Undecodable, "not a picture"),
        (faults.Short(), errors.BadDownload, "cut off"),
        (faults.Empty(), errors.BadDownload, "empty"),
        (faults.NotAnImage(), errors.BadDownload, "page"),
        (faults.Html(route="download"), errors.BadDownload, "page"),
        (faults.SlowBody(delay=31 * 20), errors.AnswerLost, "no progress"),
        (faults.Hang(route="download"), errors.AnswerLost, "no progress"),
        (faults.Cut(route="download"), errors.AnswerLost, "failed"),
        (faults.Status(route="download", code=401), errors.DeadLink, "401"),
        (faults.Status(route="download", code=403), errors.DeadLink, "403"),
        (faults.Status(route="download", code=404), errors.DeadLink, "404"),
        (faults.Status(route="download", code=410), errors.DeadLink, "410"),
        (faults.Status(route="download", code=429), errors.AnswerLost, "429"),
        (faults.Status(route="download", code=500), errors.AnswerLost, "500"),
        (faults.Html(route="download", code=206), errors.AnswerLost, "206"),
        (faults.Html(route="download", code=204), errors.AnswerLost, "204"),
    ],
)
async def test_what_is_no_whole_picture_leaves_nothing_behind(
    sandbox: MakeSandbox,
    session: aiohttp.ClientSession,
    folder: OutputFolder,
    part: Path,
    fault: Any,
    kind: type[errors.TaskError],
    text: str,
) -> None:
    async with sandbox(faults=Faults([fault])) as server:
        url = await a_result(server)
        with pytest.raises(errors.TaskError, match=text) as caught:
            await fetch(session, url, part, lambda kind: None)
        assert type(caught.value) is kind
        assert caught.value.retryable
    assert left(folder) == []


async def test_a_slow_body_that_makes_progress_is_waited_for(
    sandbox: MakeSandbox, session: aiohttp.ClientSession, part: Path, now: Callable[[], float]
) -> None:
    async with sandbox(faults=Faults([faults.SlowBody(delay=25 * 20)])) as server:
        url = await a_result(server)
        began = now()
        await fetch(session, url, part, lambda kind: None)
        assert now() - began > 400


async def test_redirects_are_followed_without_the_key_and_not_for_ever(
    sandbox: MakeSandbox, session: aiohttp.ClientSession, part: Path
) -> None:
    async with sandbox() as other:
        url = await a_result(other)
        async with sandbox(faults=Faults([faults.Redirect(route="download", to=other.url)])) as server:
            await fetch(session, url.replace(other.url, server.url), part, lambda kind: None)
        assert not other.keys_seen_at_files
    async with Foreign(answer("302 Found", b"", "Location: /again")) as server:
        with pytest.raises(errors.AnswerLost):
            await fetch(session, server.url, part, lambda kind: None)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[bad", "data:image/png,x"]
)
async def test_a_redirect_to_what_is_no_web_address_leads_nowhere(
    session: aiohttp.ClientSession, folder: OutputFolder, part: Path, location: str
) -> None:
    async with Foreign(answer("302 Found", b"", f"Location: {location}")) as server:
        with pytest.raises((errors.DeadLink, errors.AnswerLost)):
            await fetch(session, server.url, part, lambda kind: None)
    assert left(folder) == []


@pytest.mark.parametrize(
    "url", ["", "http://[bad", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://127.0.0.1:99999/"]
)
async def test_a_url_that_is_none_is_a_dead_link(
    session: aiohttp.ClientSession, part: Path, url: str
) -> None:
    with pytest.raises(errors.DeadLink):
        await fetch(session, url, part, lambda kind: None)


async def test_a_host_that_is_not_there_is_refused(session: aiohttp.ClientSession, part: Path) -> None:
    with pytest.raises(errors.Unreachable, match="file host"):
        await fetch(session, closed_port(), part, lambda kind: None)


async def test_no_file_grows_beyond_the_limit_whatever_its_length_claims(
    session: aiohttp.ClientSession, folder: OutputFolder, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "LARGEST_FILE", 10_000)
    for script in (
        answer("200 OK", bytes(10_001)),
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(3 << 20)),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n"),
    ):
        async with Foreign(script) as server:
            with pytest.raises(errors.BadDownload, match="larger than"):
                await fetch(session, server.url, part, lambda kind: None)
    assert left(folder) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + PNG[:50],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + PNG,
        b"nonsense\r\n\r\n",
    ],
)
async def test_whatever_a_line_brings_it_is_an_error_of_ours(
    session: aiohttp.ClientSession, folder: OutputFolder, part: Path, data: bytes
) -> None:
    async with Foreign(raw(data)) as server:
        with pytest.raises((errors.AnswerLost, errors.BadDownload)):
            await fetch(session, server.url, part, lambda kind: None)
    assert left(folder) == []


async def test_a_cancelled_download_leaves_nothing(
    sandbox: MakeSandbox, session: aiohttp.ClientSession, folder: OutputFolder, part: Path
) -> None:
    async with sandbox(faults=Faults([faults.SlowBody(delay=100)])) as server:
        url = await a_result(server)
        with anyio.move_on_after(50) as scope:
            await fetch(session, url, part, lambda kind: None)
        assert scope.cancelled_caught
    assert left(folder) == []


# --- a final name


async def landed_in(folder: OutputFolder, data: bytes = PNG, task: int = 1) -> download_module.VerifiedFile:
    part = folder.part(task, 0)
    part.write_bytes(data)
    return await verify_spooled(part)


async def test_a_picture_gets_its_name_and_its_part_is_gone(folder: OutputFolder) -> None:
    await folder.destination.publish((await landed_in(folder)).part, "images/a.png")
    assert left(folder) == ["images/a.png"]
    assert ((folder.path / "images") / "a.png").read_bytes() == PNG
    assert folder.destination.contains("images/a.png", DIGEST)


@pytest.mark.parametrize("links", [True, False])
async def test_another_file_is_never_overwritten(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    other = (folder.path / "images") / "a.png"
    other.write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError):
        await folder.destination.publish((await landed_in(folder)).part, "images/a.png")
    assert other.read_bytes() == b"somebody else's"
    other.unlink()
    other.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        await folder.destination.publish((await landed_in(folder)).part, "images/a.png")
    assert other.is_symlink()
    other.unlink()
    await folder.destination.publish((await landed_in(folder)).part, "images/a.png")
    assert left(folder) == ["images/a.png"]


def no_links(*_args: Any) -> None:
    raise PermissionError(1, "Operation not permitted")


async def test_of_two_that_settle_at_once_one_has_the_name(folder: OutputFolder) -> None:
    both = [await landed_in(folder, noisy_picture(size=(10, 10 + n)), n) for n in (1, 2)]
    ends = await asyncio.gather(
        *(folder.destination.publish(landed.part, "images/a.png") for landed in both), return_exceptions=True
    )
    assert sorted(map(type, ends), key=str) == sorted([type(None), FileExistsError], key=str)


def test_a_file_is_adopted_only_by_its_content(folder: OutputFolder) -> None:
    ((folder.path / "images") / "a.png").write_bytes(PNG)
    assert folder.destination.contains("images/a.png", DIGEST)
    assert not folder.destination.contains("images/a.png", "0" * 64)
    assert not folder.destination.contains("images/b.png", DIGEST)
    ((folder.path / "images") / "c.png").mkdir()
    assert not folder.destination.contains("images/c.png", DIGEST)
    ((folder.path / "images") / "d.png").symlink_to("nowhere")
    assert not folder.destination.contains("images/d.png", DIGEST)


async def test_a_process_that_left_parts_behind_is_cleaned_up_after_and_its_spool_is_kept(
    folder: OutputFolder,
) -> None:
    folder.part(1, 0).write_bytes(b"half")
    workers = folder.parts / "ray-1"
    workers.mkdir()
    (workers / "2-0.1.part").write_bytes(b"half")
    await folder.keep(PNG, "1-0.bytes")
    (folder.spool / "2-0.new").write_bytes(b"half")
    ((folder.path / "images") / "a.png").write_bytes(PNG)
    OutputFolder(folder.path).prepare()
    assert left(folder) == [".batcher/spool/1-0.bytes", "images/a.png"]
    assert not workers.exists()


async def test_bytes_of_an_answer_are_kept_whole_and_may_be_kept_again(folder: OutputFolder) -> None:
    await folder.keep(b"first", "1-0.bytes")
    assert (folder.spool / "1-0.bytes").read_bytes() == b"first"
    await folder.keep(PNG, "1-0.bytes")
    landed = await verify_spooled(folder.spool / "1-0.bytes")
    assert (landed.sha256, landed.size) == (DIGEST, len(PNG))
    await folder.destination.publish(landed.part, "images/a.png")
    assert left(folder) == ["images/a.png"]


async def test_bytes_that_are_no_picture_are_not_adopted(folder: OutputFolder) -> None:
    await folder.keep(b"<html>", "1-0.bytes")
    with pytest.raises(errors.BadDownload, match="page"):
        await verify_spooled(folder.spool / "1-0.bytes")


# --- a disk that refuses


@pytest.mark.parametrize("name", ["images", ".batcher", ".batcher/parts", ".batcher/spool"])
def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("in the way")
    with pytest.raises(errors.DiskError, match=name):
        OutputFolder(tmp_path).prepare()


def test_an_output_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(errors.DiskError, match="out"):
        OutputFolder(tmp_path / "out").prepare()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
async def test_a_full_disk_is_no_fault_of_the_download(
    sandbox: MakeSandbox, session: aiohttp.ClientSession, folder: OutputFolder, part: Path
) -> None:
    part.symlink_to("/dev/full")
    async with sandbox() as server:
        url = await a_result(server)
        with pytest.raises(errors.DiskError, match="No space left"):
            await fetch(session, url, part, lambda kind: None)
    assert left(folder) == []
    (folder.spool / "1-0.new").symlink_to("/dev/full")
    with pytest.raises(errors.DiskError, match="No space left"):
        await folder.keep(PNG, "1-0.bytes")
    assert not (folder.spool / "1-0.bytes").exists()


async def test_a_folder_that_vanished_is_the_disks_fault(
    sandbox: MakeSandbox, session: aiohttp.ClientSession, folder: OutputFolder
) -> None:
    landed = await landed_in(folder)
    (folder.path / "images").rmdir()
    (folder.path / "images").write_text("in the way")
    with pytest.raises(errors.DiskError):
        await folder.destination.publish(landed.part, "images/a.png")
    async with sandbox() as server:
        url = await a_result(server)
        with pytest.raises(errors.DiskError):
            await fetch(session, url, (folder.path / "images") / "x.part", lambda kind: None)


@contextmanager
def quota(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes: the write that reaches it takes a part, and says so
    by its count alone, as the last one on a disk that fills up. For as short as can be: what the tests print
    may go to a file, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("held", [download_module.HELD, 10], ids=["at once", "as it comes"])
async def test_a_disk_that_takes_a_part_of_a_picture_has_none_of_it(
    session: aiohttp.ClientSession,
    folder: OutputFolder,
    part: Path,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
) -> None:
    monkeypatch.setattr(download_module, "HELD", held)
    picture = noisy_picture(size=(300, 200))
    assert len(picture) > 2_048
    async with Foreign(answer("200 OK", picture)) as server:
        with quota(2_048), pytest.raises(errors.DiskError, match="File too large"):
            await fetch(session, server.url, part, lambda kind: None)
    assert left(folder) == []


@pytest.mark.process
def test_a_quota_that_is_reached_in_mid_file_is_the_disks_fault(tmp_path: Path) -> None:
    """RLIMIT_FSIZE is a disk that is full for this process alone."""
    program = """
        import asyncio, signal, sys
        from pathlib import Path
        from batcher import errors
        from batcher.storage.download import OutputFolder

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        folder = OutputFolder(Path(sys.argv[1]))
        folder.prepare()
        try:
            asyncio.run(folder.keep(bytes(1 << 20), "1-0.bytes"))
        except errors.DiskError as error:
            print(error)
        assert not (folder.spool / "1-0.bytes").exists()
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536)),
    )
    assert "File too large" in ran.stdout


async def test_a_line_that_fails_while_a_large_file_is_written_is_not_the_disks_fault(
    session: aiohttp.ClientSession, folder: OutputFolder, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "HELD", 10)
    async with Foreign(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + PNG[:50])) as server:
        with pytest.raises(errors.BadDownload, match="cut off"):
            await fetch(session, server.url, part, lambda kind: None)
    assert left(folder) == []


# --- links, and lines that drip


async def test_a_signed_link_is_asked_for_to_the_byte(session: aiohttp.ClientSession, part: Path) -> None:
    path = "/a%2Fb.png?Credential=AK%2F1%2Fus&Signature=a%2Bb+c/d%3D%3D&e=%7E~%41&k=a;b"
    async with Foreign(answer("200 OK", PNG)) as server:
        await fetch(session, server.url + path, part, lambda kind: None)
        assert server.heads[0].startswith(f"GET {path} HTTP/1.1")
    async with Foreign(answer("200 OK", PNG)) as other:
        async with Foreign(answer("302 Found", b"", f"Location: {other.url}{path}")) as server:
            await fetch(session, server.url, part, lambda kind: None)
        assert other.heads[0].startswith(f"GET {path} HTTP/1.1")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b""])
async def test_a_line_that_drips_for_ever_is_left(
    session: aiohttp.ClientSession, part: Path, now: Callable[[], float], head: bytes
) -> None:
    async def script(_reader: Any, writer: Any, _number: int) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x" if head else b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(1)

    async with Foreign(script) as server:
        began = now()
        with pytest.raises(errors.AnswerLost, match="no progress"):
            await fetch(session, server.url, part, lambda kind: None)
        assert now() - began < 700
