"""A result's picture onto the disk: URL or spool -> .part -> verified -> final name.

Law: a final name is given only to a whole, decoded picture, and never taken from another file. The file
host never sees the key. Work on bytes is idempotent: doing it twice leaves one file.
"""

from __future__ import annotations

import asyncio
import hashlib
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
LARGEST_FILE = 512 * 1024 * 1024
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
    """Downloads `url` to `part` and verifies it. No progress for 30 s is an end; what is no whole picture
    is thrown away.

    Raises DeadLink when the link is gone, BadDownload when what came is not a whole picture, AnswerLost or
    Refused when the line failed, DiskError when the disk refuses.
    """
    called("download")
    try:
        with _transport_errors():
            digest, size = await _download(session, url, part)
        picture = await asyncio.to_thread(_verify, part)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return Landed(part, digest, size, picture)


async def adopt(spooled: Path) -> Landed:
    """Verifies bytes that came inside an answer and lie in the spool. Raises as `fetch`."""
    return await asyncio.to_thread(_adopt, spooled)


async def _download(session: aiohttp.ClientSession, url: str, part: Path) -> tuple[str, int]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALLED_SECONDS)
    async with session.get(url, timeout=timeout) as response:
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
    if (response.content_length or 0) > LARGEST_FILE:
        raise errors.BadDownload(f"the file is larger than {LARGEST_FILE >> 20} MB")


async def _receive(response: aiohttp.ClientResponse, part: Path) -> tuple[str, int]:
    """Bytes to `part`, in few large writes; the digest (hex) and the size."""
    digest = hashlib.sha256()
    size = 0
    waiting = bytearray()
    with disk(part):
        async with _written(part) as file:
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > LARGEST_FILE:
                    raise errors.BadDownload(f"the file is larger than {LARGEST_FILE >> 20} MB")
                digest.update(chunk)
                waiting += chunk
                if len(waiting) >= CHUNK:
                    await file.write(bytes(waiting))
                    waiting.clear()
            await file.write(bytes(waiting))
    return digest.hexdigest(), size


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


def _verify(part: Path) -> Picture:
    with disk(part), open(part, "r+b") as file:
        picture = pictures.verified(file)
        os.fsync(file.fileno())
    return picture


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

    def taken(self, name: str) -> bool:
        """Whether some file has this final name."""
        return os.path.lexists(self.images / name)

    def settle(self, landed: Landed, name: str) -> None:
        """Gives the picture its final name, durably. Raises FileExistsError; never overwrites."""
        final = self.images / name
        with disk(final):
            settled = _settle(landed.part, final)
        if not settled:
            raise FileExistsError(str(final))


def _settle(part: Path, final: Path) -> bool:
    """Moves `part` to `final`, durably; False when something has that name."""
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
    sync_folder(final.parent)
    return True


def sync_folder(path: Path) -> None:
    """A rename is durable when its folder is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
