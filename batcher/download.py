"""A result's picture onto the disk: URL or spool -> .part -> verified, ready for its final name.

Law: what waits in a .part to be given its name is a whole, decoded picture, and on disk. The file
host never sees the key. Work on bytes is idempotent: doing it twice leaves one file.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiofiles
import aiohttp
import anyio
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from batcher import errors, pictures
from batcher.client import NEVER_SENT, exact, plain_session
from batcher.destination import Destination, at, disk, sync_folder
from batcher.pictures import Picture

CONNECT_SECONDS = 10.0
STALLED_SECONDS = 30.0
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALLED_SECONDS)
PATIENCE_SECONDS, SLOWEST = 600.0, 2048
"""A file takes no longer than that, and a second more for each so many bytes."""
LARGEST_FILE = 512 * 1024 * 1024
HELD = 8 * 1024 * 1024
"""Bytes of a file that are held in memory until all are there; a larger one is written as it comes."""
CHUNK = 1 << 20
TORN = ".new"
"""How bytes of an answer end while they are written into the spool; nothing reads them under that name."""

__all__ = ["Folder", "Landed", "fetch", "plain_session"]


@dataclass(frozen=True, slots=True)
class Landed:
    """A verified picture that waits in `part` for its name."""

    part: Path
    sha256: str
    size: int
    picture: Picture


async def fetch(
    session: aiohttp.ClientSession, url: str, part: Path, called: Callable[[str], None]
) -> Landed:
    """Downloads `url` to `part`, verified and on disk. No progress for 30 s is an end, and so is hardly any
    for minutes; what is no whole picture is thrown away.

    Raises DeadLink when the link is gone, BadDownload when what came is not a whole picture, AnswerLost or
    Refused when the line failed, DiskError when the disk refuses.
    """
    called("download")
    try:
        with _transport_errors():
            held = await _download(session, url, part)
        return await asyncio.to_thread(_land, held, part)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


async def adopt(spooled: Path) -> Landed:
    """Verifies bytes that came inside an answer and lie in the spool. Raises as `fetch`."""
    return await asyncio.to_thread(_adopt, spooled, lambda: open(spooled, "rb"))


async def found(where: Destination, name: str) -> Landed:
    """Verifies a picture that stands under its final name. Raises as `fetch`."""
    path = f"images/{name}"
    return await asyncio.to_thread(_adopt, Path(where.address(path)), lambda: where.opened(path))


async def _download(session: aiohttp.ClientSession, url: str, part: Path) -> bytes | None:
    with anyio.fail_after(STALLED_SECONDS + CONNECT_SECONDS):
        response = await session.get(exact(url), timeout=TIMEOUT)
    async with response:
        _check_answer(response)
        return await _receive(response, part)


@contextmanager
def _transport_errors() -> Iterator[None]:
    try:
        yield
    except NEVER_SENT as error:
        raise errors.Refused(f"cannot connect to the file host: {error}") from error
    except TimeoutError as error:
        raise errors.AnswerLost("the download made no progress") from error
    except aiohttp.ClientPayloadError as error:
        raise errors.BadDownload("the download was cut off before its end") from error
    except aiohttp.ClientError as error:
        raise errors.AnswerLost(f"the download failed: {error or type(error).__name__}") from error


def _check_answer(response: aiohttp.ClientResponse) -> None:
    if response.status in (401, 403, 404, 410):
        raise errors.DeadLink(f"the file host answers {response.status}")
    if response.status != 200:
        raise errors.AnswerLost(f"the file host answers {response.status}", status=response.status)
    _check_size(response.content_length or 0)


def _check_size(size: int) -> None:
    if size > LARGEST_FILE:
        raise errors.BadDownload(f"the file is larger than {LARGEST_FILE >> 20} MB")


async def _received(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What comes, as it comes. Raises BadDownload when it is too much, TimeoutError when it drips: a run
    always ends."""
    clock = asyncio.get_running_loop().time
    began, size = clock(), 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        _check_size(size)
        if clock() - began > PATIENCE_SECONDS + size / SLOWEST:
            raise TimeoutError
        yield chunk


async def _receive(response: aiohttp.ClientResponse, part: Path) -> bytes | None:
    """The bytes of a small file; of a large one nothing: it went to `part` as it came."""
    held = bytearray()
    chunks = _received(response)
    async for chunk in chunks:
        held += chunk
        if len(held) > HELD:
            await _stream(chunks, held, part)
            return None
    return bytes(held)


async def _stream(chunks: AsyncIterator[bytes], waiting: bytearray, part: Path) -> None:
    """What was held so far and the rest to `part`, in few large writes."""
    async with _written(part) as file:
        async for chunk in chunks:
            waiting += chunk
            if len(waiting) >= CHUNK:
                with disk(part):
                    await file.write(bytes(waiting))
                waiting.clear()
        with disk(part):
            await file.write(bytes(waiting))


@asynccontextmanager
async def _written(part: Path) -> AsyncIterator[AsyncBufferedIOBase]:
    """A file that is opened and closed whatever is cancelled meanwhile."""
    with anyio.CancelScope(shield=True), disk(part):
        file = await aiofiles.open(part, "wb")
    try:
        yield file
    finally:
        with anyio.CancelScope(shield=True), disk(part):
            await file.close()


def _land(held: bytes | None, part: Path) -> Landed:
    """Verified, and on disk in `part`; one trip to a thread does it all."""
    with disk(part):
        if held is None:
            with open(part, "r+b") as file:
                digest = pictures.digest(file)
                size = file.tell()
                file.seek(0)
                picture = pictures.verified(file)
                os.fsync(file.fileno())
            return Landed(part, digest, size, picture)
        picture = pictures.verified(io.BytesIO(held))
        with open(part, "wb", buffering=0) as file:
            file.write(held)
            os.fsync(file.fileno())
    return Landed(part, hashlib.sha256(held).hexdigest(), len(held), picture)


def _adopt(path: Path, opened: Callable[[], IO[bytes]]) -> Landed:
    with disk(path), opened() as file:
        digest = pictures.digest(file)
        size = file.tell()
        file.seek(0)
        return Landed(path, digest, size, pictures.verified(file))


class Folder:
    """The output folder: unfinished bytes beside the ledger. Final pictures go to `destination`, which is
    the folder itself unless another is given."""

    def __init__(self, path: Path, destination: Destination | None = None) -> None:
        self.path = path
        self.destination = destination or at(None, path)
        self.state = path / ".batcher"
        self.parts = self.state / "parts"
        self.spool = self.state / "spool"

    def prepare(self) -> None:
        """Makes the folders; what an earlier process left half-fetched, or half-written, is thrown away. Only
        whoever holds the job's lock may: nobody is at work here then. Raises DiskError."""
        with disk(self.path):
            for folder in (self.parts, self.spool):
                folder.mkdir(parents=True, exist_ok=True)
            for left in (*self.parts.iterdir(), *self.spool.glob(f"*{TORN}")):
                left.unlink()
        self.destination.prepare()

    def part(self, task: int, position: int) -> Path:
        """Where a file gathers until it is whole."""
        return self.parts / f"{task}-{position}.part"

    async def keep(self, data: bytes, name: str) -> str:
        """Bytes of an answer into the spool, on disk before this returns; their name there."""
        await asyncio.to_thread(self._keep, data, name)
        return name

    def _keep(self, data: bytes, name: str) -> None:
        target = self.spool / name
        unfinished = target.with_suffix(TORN)
        with disk(target):
            with open(unfinished, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, target)
            sync_folder(self.spool)
