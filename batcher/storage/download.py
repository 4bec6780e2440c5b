"""A result's picture onto the disk: URL or spool -> .part -> verified, ready for its final name.

Rule: what waits in a .part to be given its name is a whole, decoded picture, and on disk. The file
host never sees the key. Work on bytes is idempotent: doing it twice leaves one file.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiofiles
import aiohttp
import anyio
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from batcher import errors
from batcher.api.content_encoding import is_packed
from batcher.api.http import (
    NEVER_SENT,
    NO_ADDRESS,
    Garbled,
    TooLarge,
    exact,
    pieces_of,
    plain_session,
    proxy_of,
)
from batcher.api.time_limit import time_limit
from batcher.storage import pictures
from batcher.storage.destination import Destination, disk, open_destination, sync_folder
from batcher.storage.pictures import PictureInfo

FIRST_SECONDS, STALLED_SECONDS = 40.0, 30.0
PATIENCE_SECONDS, SLOWEST = 600.0, 2048
"""A file takes no longer than that, and a second more for each so many bytes."""
LARGEST_FILE = 512 * 1024 * 1024
HELD = 8 * 1024 * 1024
"""Bytes of a file that are held in memory until all are there; a larger one is written as it comes."""
CHUNK = 1 << 20
HEAD = 256
"""So many bytes tell a text from a picture's."""
TORN = ".new"
"""How bytes of an answer end while they are written into the spool; nothing reads them under that name."""

__all__ = ["OutputFolder", "VerifiedFile", "fetch", "plain_session"]


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A verified picture that waits in `part` for its name."""

    part: Path
    sha256: str
    size: int
    picture: PictureInfo


async def fetch(
    session: aiohttp.ClientSession, url: str, part: Path, called: Callable[[str], None]
) -> VerifiedFile:
    """Downloads `url` to `part`, verified and on disk. No progress for 30 s is an end, and so is hardly any
    for minutes; what is no whole picture is thrown away.

    Raises DeadLink when the link is gone, BadDownload when what came is not a whole picture, AnswerLost or
    Unreachable when the line failed, DiskError when the disk refuses.
    """
    called("download")
    try:
        with _transport_errors():
            body = await _download(session, url, part)
        return await asyncio.to_thread(_verify_part, body, part)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


async def verify_spooled(spooled: Path) -> VerifiedFile:
    """Verifies bytes that came inside an answer and lie in the spool. Raises as `fetch`."""
    return await asyncio.to_thread(_verify_existing, spooled, lambda: open(spooled, "rb"))


async def verify_delivered(where: Destination, path: str) -> VerifiedFile:
    """Verifies a picture that stands under its final name. Raises as `fetch`."""
    return await asyncio.to_thread(_verify_existing, Path(where.address(path)), lambda: where.open(path))


async def _download(session: aiohttp.ClientSession, url: str, part: Path) -> bytes | None:
    target = exact(url)
    with time_limit(FIRST_SECONDS):
        response = await session.get(target, proxy=proxy_of(target))
    async with response:
        _check_answer(response)
        return await _receive(response, part)


@contextmanager
def _transport_errors() -> Iterator[None]:
    try:
        yield
    except NO_ADDRESS as error:
        raise errors.DeadLink("the link is no address that leads to a file") from error
    except NEVER_SENT as error:
        raise errors.Unreachable(f"cannot connect to the file host: {error}") from error
    except TimeoutError as error:
        raise errors.AnswerLost("the download made no progress") from error
    except (Garbled, TooLarge) as error:
        raise errors.BadDownload(error.message.replace("answer", "file")) from error
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
    took, size = 0.0, 0
    packed = is_packed(response.headers.get("Content-Encoding", ""))
    pieces = pieces_of(response) if packed else response.content.iter_any()
    while True:
        asked = clock()
        with time_limit(STALLED_SECONDS):
            chunk = await anext(pieces, b"")
        if not chunk:
            return
        took += min(clock() - asked, STALLED_SECONDS)  # more passed only where nobody here ran
        size += len(chunk)
        _check_size(size)
        if took > PATIENCE_SECONDS + size / SLOWEST:
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


def _verify_part(body: bytes | None, part: Path) -> VerifiedFile:
    """Verified, and on disk in `part`; one trip to a thread does it all."""
    with disk(part):
        if body is None:
            with open(part, "r+b") as file:
                digest = pictures.digest(file)
                size = file.tell()
                picture = _verified(file, digest)
                os.fsync(file.fileno())
            return VerifiedFile(part, digest, size, picture)
        digest = hashlib.sha256(body).hexdigest()
        picture = _verified(io.BytesIO(body), digest)
        with open(part, "wb") as file:
            file.write(body)
            file.flush()  # without a buffer, a disk with room for a part alone takes that, and says nothing
            os.fsync(file.fileno())
    return VerifiedFile(part, digest, len(body), picture)


def _verified(file: IO[bytes], sha256: str) -> PictureInfo:
    """Raises Undecodable; BadDownload for what a host says in place of a picture: nothing, a page, a text."""
    file.seek(0)
    try:
        return pictures.verify(file, with_look=True)
    except errors.BadDownload as error:
        file.seek(0)
        if pictures.is_text(file.read(HEAD)):
            raise
        raise errors.Undecodable(error.message, sha256) from error


def _verify_existing(path: Path, open_file: Callable[[], IO[bytes]]) -> VerifiedFile:
    with disk(path), open_file() as file:
        digest = pictures.digest(file)
        size = file.tell()
        return VerifiedFile(path, digest, size, _verified(file, digest))


LARGEST_KEPT = 1024 * 1024
"""So many bytes of an answer are kept for people."""


class OutputFolder:
    """The output folder: unfinished bytes beside the ledger. Final pictures go to `destination`, which is
    the folder itself unless another is given."""

    def __init__(self, path: Path, destination: Destination | None = None) -> None:
        self.path = path
        self.destination = destination or open_destination(None, path)
        self.state = path / ".batcher"
        self.parts = self.state / "parts"
        self.spool = self.state / "spool"
        self.answers = self.state / "answers"

    def prepare(self) -> None:
        """Makes the folders; what an earlier process left half-fetched, or half-written, is thrown away. Only
        whoever holds the job's lock may: nobody is at work here then. Raises DiskError."""
        with disk(self.path):
            for folder in (self.parts, self.spool):
                folder.mkdir(parents=True, exist_ok=True)
            for unfinished in (*self.parts.iterdir(), *self.spool.glob(f"*{TORN}")):
                if unfinished.is_dir():  # of a run whose workers wrote there
                    shutil.rmtree(unfinished)
                else:
                    unfinished.unlink()
        self.destination.prepare()

    def part(self, task: int, position: int) -> Path:
        """Where a file gathers until it is whole."""
        return self.parts / f"{task}-{position}.part"

    async def keep(self, data: bytes, name: str) -> None:
        """Bytes of an answer into the spool, under this name; on disk before this returns. Raises
        DiskError."""
        await asyncio.to_thread(self.keep_now, data, name)

    async def move_into_spool(self, part: Path, name: str) -> None:
        """A verified picture, which is on disk, into the spool under this name. Raises DiskError."""
        await asyncio.to_thread(self._move, part, self.spool / name)

    def _move(self, part: Path, target: Path) -> None:
        with disk(target):
            os.replace(part, target)
            sync_folder(target.parent)

    def keep_now(self, data: bytes, name: str) -> None:
        """As `keep`, in a thread of one's own."""
        self._keep(data, self.spool / name)

    def link_into_spool(self, source: Path, name: str, sha256: str) -> bool:
        """A picture of this disk into the spool: a hard link where one can be made, else a copy; whether it
        has this content. The spool's folder is to be synced after it. Raises OSError where the source
        cannot be read, DiskError where the spool cannot be written."""
        target = self.spool / name
        with open(source, "rb") as file:
            if pictures.digest(file) != sha256:
                return False
            file.seek(0)
            with disk(target):
                target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:
                return self.copy_into_spool(file, name, sha256)
        return True

    def copy_into_spool(self, source: IO[bytes], name: str, sha256: str) -> bool:
        """As `link_into_spool`, of an open file."""
        target = self.spool / name
        unfinished = target.with_suffix(TORN)
        hashed = hashlib.sha256()
        with disk(target), open(unfinished, "wb") as file:
            while chunk := source.read(CHUNK):
                hashed.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        with disk(target):
            if hashed.hexdigest() != sha256:
                unfinished.unlink()
                return False
            os.replace(unfinished, target)
        return True

    async def keep_answer(self, answer: bytes, submission: int) -> str:
        """A whole answer that people shall read, on disk before this returns; its path in the folder."""
        name = f"{submission}.txt"
        await asyncio.to_thread(self._keep, answer[:LARGEST_KEPT], self.answers / name)
        return f".batcher/answers/{name}"

    def _keep(self, data: bytes, target: Path) -> None:
        unfinished = target.with_suffix(TORN)
        with disk(target):
            target.parent.mkdir(exist_ok=True)
            with open(unfinished, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, target)
            sync_folder(target.parent)
