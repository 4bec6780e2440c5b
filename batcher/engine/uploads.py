"""A file becomes something the API can read: a URL, uploaded once per content, or a data URI.

Rule: a file that no decoder reads is found before it costs a call, and fails its own task only; one that has
changed waits for the next run; a folder or store that is gone fails nobody, and stops the run.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal

import anyio

from batcher import errors
from batcher.api.client import Client, StreamedBody
from batcher.api.outage import Outage
from batcher.api.pacing import CallKind, Pacing
from batcher.engine.bytes_in_air import BytesInAir
from batcher.engine.upload_batches import UploadBatches
from batcher.ledger.ledger import Ledger
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored
from batcher.storage.source_errors import machine_error
from batcher.storage.workers import Workers
from batcher.task import Task, value_at

LARGEST_UPLOAD = 48 * 1024 * 1024
"""Bytes of a file; as base64 it is a third more."""


PIECE = 3 << 18
"""Bytes of a file that are read and sent at a time: a multiple of three, as base64 wants it."""
REMEMBERED = 32
FRESH = 600.0
"""Seconds after an upload in which its URL is not thought dead, whatever an answer says."""


class Uploads:
    """Gives each task its body: local files replaced by URLs (`storage`) or by their bytes (`inline`)."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        pacing: Pacing,
        workers: Workers,
        *,
        mode: Literal["storage", "inline"] = "storage",
    ) -> None:
        self._client = client
        self._workers = workers
        self._ledger = ledger
        self._pacing = pacing
        self._mode = mode
        self._locks: dict[str, asyncio.Lock] = {}
        self._in_air = BytesInAir()
        self._began: dict[str, float] = {}
        self._took: deque[float] = deque(maxlen=REMEMBERED)
        self._batches = UploadBatches(self._call)
        self.outage = Outage()

    async def body(self, task: Task) -> dict[str, Any]:
        """The request body of `task`. Raises what `open_upload` raises; UploadRejected; ApiError where the
        storage is down; WorkersLost."""
        sent = {}
        for place, digest in task.media.items():
            path = str(value_at(task.params, place))
            if self._mode == "inline":
                sent[place] = (await self._workers.run(read, path, digest)).decode("ascii")
            else:
                sent[place] = await self._url(path, digest)
        return filled(task.params, sent)

    @asynccontextmanager
    async def in_body(self, task: Task) -> AsyncIterator[None]:
        """Room for the bytes that the request of `task` carries itself, held while the block runs."""
        if self._mode == "storage" or not task.media:
            yield
            return
        paths = [str(value_at(task.params, place)) for place in task.media]
        sizes = await asyncio.to_thread(lambda: [_size(path) for path in paths])
        async with self._in_air.hold(4 * sum(sizes) // 3):
            yield

    async def body_as_sent(self, task: Task, then: float) -> dict[str, Any] | None:
        """The request body of `task` as it was at that time; None where a file was uploaded anew since, and
        its URL of then is not known any more. Raises as `open_upload`."""
        if self._mode == "inline":
            return await self.body(task)
        urls = {}
        for place, digest in task.media.items():
            earlier = self._ledger.uploaded(digest)
            if earlier is None or earlier[1] > then:
                return None
            urls[place] = earlier[0]
        return filled(task.params, urls)

    @staticmethod
    def have_same_body(one: Task, other: Task) -> bool:
        """Whether two tasks send the same body: the same parameters, files by content."""
        return filled(one.params, one.media) == filled(other.params, other.media)

    def forget(self, task: Task, submitted_at: float) -> bool:
        """Whether a URL that `task` was submitted with may have died: its files are uploaded anew then."""
        if self._mode == "inline":
            return False
        old = False
        for digest in set(task.media.values()):
            earlier = self._ledger.uploaded(digest)
            if earlier is None or earlier[1] > submitted_at:
                old = True  # another task has found it dead
            elif earlier[1] < submitted_at - FRESH:
                self._ledger.forget_upload(digest)
                old = True
        return old

    async def _url(self, path: str, digest: str) -> str:
        """Two tasks with one picture wait for one upload."""
        url = self._usable_url(digest)
        if url is not None:
            return url
        lock = self._locks.setdefault(digest, asyncio.Lock())
        async with lock:
            url = self._usable_url(digest)
            if url is not None:
                return url
            async with self._in_air.hold(await asyncio.to_thread(_size, path)):
                with self._timed(digest):
                    async with self._data_url(path, digest) as (size, read_anew):
                        url = await self._batches.send(path, size, read_anew)
            self._ledger.keep_upload(digest, url)
        self._locks.pop(digest, None)
        return url

    @property
    def seconds(self) -> float:
        """How long an upload takes: the mean of late, or the oldest under way where that is longer; 0.0 while
        there was none."""
        now = asyncio.get_running_loop().time()
        mean = sum(self._took) / len(self._took) if self._took else 0.0
        return max(mean, now - min(self._began.values(), default=now))

    @contextmanager
    def _timed(self, digest: str) -> Iterator[None]:
        self._began[digest] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._took.append(asyncio.get_running_loop().time() - self._began.pop(digest))

    def _usable_url(self, digest: str) -> str | None:
        """Uploads are persistent, as the provider says: a URL serves until a model cannot read it."""
        earlier = self._ledger.uploaded(digest)
        return None if earlier is None else earlier[0]

    @asynccontextmanager
    async def _data_url(
        self, path: str, digest: str
    ) -> AsyncIterator[tuple[int, Callable[[], StreamedBody]]]:
        """Its bytes, and its data URL, as often as it is read: encoded by workers elsewhere, or here a piece
        at a time. Raises as `open_upload`."""
        if self._workers.remote:
            encoded = await self._workers.run(read, path, digest)
            yield 3 * len(encoded) // 4, lambda: StreamedBody(len(encoded), _as_one(encoded))
            return
        with anyio.CancelScope(shield=True):
            upload = await asyncio.to_thread(open_upload, path, digest)
        with upload.file:
            yield upload.size, upload.streamed

    async def _call(self, paths: Sequence[str], data_urls: Sequence[StreamedBody]) -> list[str]:
        """One call with these files."""
        await self.outage.over()
        sent_at = await self._pacing.acquire(CallKind.UPLOAD)
        probe = self.outage.leaving()
        try:
            urls = await self._client.upload_all(data_urls, sent_at)
        except errors.Throttled as error:
            self.outage.throttled(error.message)
            raise
        except (errors.Rejected, errors.FatalForRun) as error:
            self.outage.answered()
            if isinstance(error, errors.Rejected):
                raise errors.UploadRejected(f"{paths[0]}: {error.message}") from error
            raise
        except errors.ApiError as error:
            self.outage.lost(error.message, probe=probe)
            raise
        except asyncio.CancelledError:
            self.outage.withdrawn(probe=probe)
            raise
        self.outage.answered()
        return urls


def _size(path: str) -> int:
    """Bytes of the file; 0 where it cannot be had, which is told when it is opened."""
    if stores.dataset_cells.is_cell(path):
        return 0  # small, and in memory with its table
    try:
        return stores.stat(path).size if is_stored(path) else os.stat(path).st_size
    except (OSError, ValueError, errors.BatcherError):
        return 0


async def _as_one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


def filled(params: Mapping[str, Any], sent: Mapping[str, str]) -> dict[str, Any]:
    """The body with these values at their places."""

    def inside(value: Any, place: str) -> Any:
        if place in sent:
            return sent[place]
        if isinstance(value, list):
            return [inside(one, f"{place}.{number}") for number, one in enumerate(value)]
        if isinstance(value, dict):
            return {key: inside(one, f"{place}.{key}") for key, one in value.items()}
        return value

    return {name: inside(value, name) for name, value in params.items()}


def sendable(file: IO[bytes], size: int) -> str:
    """The MIME type of a picture that can be uploaded. Raises BadDownload with what is wrong in words."""
    check_size(size)
    return pictures.identify(file).mime


def check_whole(file: IO[bytes], size: int) -> str:
    """The MIME type of a picture that can be uploaded, decoded to its last row: half a picture would be paid
    for like a whole one. Raises BadDownload with what is wrong in words."""
    check_size(size)
    return pictures.verify(file).mime


def check_size(size: int) -> None:
    """Raises BadDownload when a file of so many bytes is more than an upload takes."""
    if size > LARGEST_UPLOAD:
        raise errors.BadDownload(f"is larger than {LARGEST_UPLOAD >> 20} MB, the most that is uploaded")


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A picture as it was planned, open for reading. `digest` (sha256, hex) is None where the file is a copy
    of our own, which nobody changes."""

    file: IO[bytes]
    mime: str
    size: int
    digest: str | None

    @property
    def head(self) -> bytes:
        """How its data URL begins."""
        return b"data:" + self.mime.encode() + b";base64,"

    def streamed(self) -> StreamedBody:
        """Its data URL, a piece at a time. A file that is changed meanwhile cuts it off before its end."""
        return StreamedBody(len(self.head) + 4 * ((self.size + 2) // 3), self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self.file.seek, 0)
        held, hashed = self.head, hashlib.sha256()
        while piece := await asyncio.to_thread(self.file.read, PIECE):
            yield held
            hashed.update(piece)
            held = base64.b64encode(piece)
        if self.digest is not None and hashed.hexdigest() != self.digest:
            raise OSError("the file was changed while it was sent")
        yield held


def open_upload(path: str, digest: str) -> OpenUpload:
    """The file at `path`, if it is the one that was planned. Raises NotAnImage; SourceChanged when it is
    another; UploadRejected when it is too large; StoreError; SourceGone, TooManyOpenFiles when it is not to
    blame."""
    stored = is_stored(path)
    same = True
    file: IO[bytes]
    try:
        if stored:
            same = stores.digest(path, fresh=True) == digest
            file = io.BytesIO(stores.first_bytes(path, LARGEST_UPLOAD + 1))
        else:
            file = open(path, "rb")  # noqa: SIM115  # closed below, or by whoever sends it
    except OSError as error:
        raise _read_error(path, error) from error
    try:
        size = file.seek(0, os.SEEK_END)
        try:
            check_size(size)
        except errors.BadDownload as error:
            raise errors.UploadRejected(f"{path} {error.message}") from error
        file.seek(0)
        if not stored:
            same = pictures.digest(file) == digest
            file.seek(0)
        if not same:
            raise errors.SourceChanged(f"{path} has changed since it was planned")
        try:
            # A file of this disk was decoded when it was planned, and is the same.
            mime = check_whole(file, size) if stored else sendable(file, size)
        except errors.BadDownload as error:
            raise errors.NotAnImage(f"{path}: {error.message}") from error
        file.seek(0)
        return OpenUpload(file, mime, size, None if stored else digest)
    except OSError as error:
        file.close()
        raise _read_error(path, error) from error
    except BaseException:
        file.close()
        raise


def _read_error(path: str, error: OSError) -> errors.BatcherError:
    """What it means that a planned file cannot be read."""
    if (of_machine := machine_error(path, error)) is not None:
        return of_machine
    sentence = f"{path}: {error.strerror or error}"
    if is_stored(path) and not isinstance(error, FileNotFoundError | PermissionError):
        return errors.StoreError(sentence)
    return errors.NotAnImage(sentence)


def read(path: str, digest: str) -> bytes:
    """The file as a data URL in ASCII. Raises as `open_upload`."""
    upload = open_upload(path, digest)
    with upload.file:
        return upload.head + base64.b64encode(upload.file.read())
