"""A result's picture onto the disk: URL or spool -> .part -> verified -> final name.

Law: a final name is given only to a whole, decoded picture, and never taken from another file. The file
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

import aiofiles
import aiohttp
import anyio
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from batcher import errors, pictures
from batcher.client import NEVER_SENT, plain_session
from batcher.pictures import Picture

CONNECT_SECONDS = 10.0
STALLED_SECONDS = 30.0
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALLED_SECONDS)
LARGEST_FILE = 512 * 1024 * 1024
HELD = 8 * 1024 * 1024
"""Bytes of a file that are held in memory until all are there; a larger one is written as it comes."""
CHUNK = 1 << 20

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
    """Downloads `url` to `part`, verified and on disk. No progress for 30 s is an end; what is no whole
    picture is thrown away.

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
    return await asyncio.to_thread(_adopt, spooled)


async def _download(session: aiohttp.ClientSession, url: str, part: Path) -> bytes | None:
    async with session.get(url, timeout=TIMEOUT) as response:
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


async def _receive(response: aiohttp.ClientResponse, part: Path) -> bytes | None:
    """The bytes of a small file; of a large one nothing: it went to `part` as it came."""
    held = bytearray()
    async for chunk in response.content.iter_any():
        held += chunk
        _check_size(len(held))
        if len(held) > HELD:
            await _stream(response, held, part)
            return None
    return bytes(held)


async def _stream(response: aiohttp.ClientResponse, waiting: bytearray, part: Path) -> None:
    """What was held so far and the rest to `part`, in few large writes."""
    size = len(waiting)
    with disk(part):
        async with _written(part) as file:
            async for chunk in response.content.iter_any():
                size += len(chunk)
                _check_size(size)
                waiting += chunk
                if len(waiting) >= CHUNK:
                    await file.write(bytes(waiting))
                    waiting.clear()
            await file.write(bytes(waiting))


@asynccontextmanager
async def _written(part: Path) -> AsyncIterator[AsyncBufferedIOBase]:
    """A file that is opened and closed whatever is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        file = await aiofiles.open(part, "wb")
    try:
        yield file
    finally:
        with anyio.CancelScope(shield=True):
            await file.close()


def _land(held: bytes | None, part: Path) -> Landed:
    """Verified, and on disk in `part`; one trip to a thread does it all."""
    with disk(part):
        if held is None:
            with open(part, "r+b") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
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


def _adopt(spooled: Path) -> Landed:
    with disk(spooled), open(spooled, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        return Landed(spooled, digest, size, pictures.verified(file))


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """The system's refusals (full, read-only, gone) become DiskError; the network's own errors pass."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        raise
    except OSError as error:
        raise errors.DiskError(f"{error.filename or path}: {error.strerror or error}") from error


class Folder:
    """The output folder: final pictures in `images/`, unfinished bytes beside the ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images = path / "images"
        self.state = path / ".batcher"
        self.parts = self.state / "parts"
        self.spool = self.state / "spool"
        self._turns: list[_Turn] = []
        self._settling = asyncio.Lock()

    def prepare(self) -> None:
        """Makes the folders; what an earlier process left half-fetched is thrown away. Raises DiskError."""
        with disk(self.path):
            for folder in (self.images, self.parts, self.spool):
                folder.mkdir(parents=True, exist_ok=True)
            for left in self.parts.iterdir():
                left.unlink()

    def part(self, task: int, position: int) -> Path:
        """Where a file gathers until it is whole."""
        return self.parts / f"{task}-{position}.part"

    async def keep(self, data: bytes, name: str) -> str:
        """Bytes of an answer into the spool, on disk before this returns; their name there."""
        await asyncio.to_thread(self._keep, data, name)
        return name

    def _keep(self, data: bytes, name: str) -> None:
        target = self.spool / name
        unfinished = target.with_suffix(".new")
        with disk(target):
            with open(unfinished, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, target)
            sync_folder(self.spool)

    def holds(self, name: str, sha256: str) -> bool:
        """Whether `images/name` is there already with this content: a crash came after its rename."""
        try:
            with open(self.images / name, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError:
            return False

    async def settle(self, landed: Landed, name: str) -> None:
        """Gives the picture its final name, durably. Raises FileExistsError; never overwrites.

        Those who come together share one sync of the folder: whoever finds nobody at work does it for all.
        """
        turn = _Turn(landed.part, self.images / name)
        self._turns.append(turn)
        async with self._settling:
            if turn.settled is None:
                turns, self._turns = self._turns, []
                with anyio.CancelScope(shield=True):
                    await asyncio.to_thread(_settle_all, turns, self.images)
        if isinstance(turn.settled, BaseException):
            raise turn.settled


@dataclass(slots=True)
class _Turn:
    """One move from `part` to `final`; `settled` is True, or what went wrong, once it was tried."""

    part: Path
    final: Path
    settled: bool | BaseException | None = None


def _settle_all(turns: list[_Turn], folder: Path) -> None:
    for turn in turns:
        try:
            with disk(turn.final):
                moved = move(turn.part, turn.final)
            turn.settled = True if moved else FileExistsError(str(turn.final))
        except errors.DiskError as error:
            turn.settled = error
    try:
        with disk(folder):
            sync_folder(folder)
    except errors.DiskError as error:
        for turn in turns:
            turn.settled = error


def move(part: Path, final: Path) -> bool:
    """Moves `part` to `final`; False when something has that name."""
    try:
        os.link(part, final)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here (some network and FAT file systems): the look and the rename are two steps,
        # safe all the same, for only this process writes into the folder.
        if os.path.lexists(final):
            return False
        os.rename(part, final)
    else:
        os.unlink(part)
    return True


def sync_folder(path: Path) -> None:
    """A rename is durable when its folder is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
