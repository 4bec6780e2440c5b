"""A file becomes something the API can read: a URL, uploaded once per content, or a data URI.

Law: a file that no decoder reads is told before it costs a call, and fails its own task only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal

import anyio

from batcher import errors, pictures, stores
from batcher.carrying import Hands
from batcher.client import Client, Streamed
from batcher.ledger.writer import Ledger
from batcher.outage import Outage
from batcher.pacing import Kind, Pacing
from batcher.plan import is_stored
from batcher.task import Task, at

LARGEST_UPLOAD = 48 * 1024 * 1024
"""Bytes of a file; as base64 it is a third more."""


PIECE = 3 << 18
"""Bytes of a file that are read and sent at a time: a multiple of three, as base64 wants it."""
LIFE = 86_400.0
"""Seconds for which the URL of an upload is used again. The provider does not say how long it lives; files of
results live 7 days."""
FRESH = 600.0
"""Seconds after an upload in which its URL is not thought dead, whatever an answer says."""


class Uploads:
    """Gives each task its body: local files replaced by URLs (`storage`) or by their bytes (`inline`)."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        pacing: Pacing,
        hands: Hands,
        *,
        mode: Literal["storage", "inline"] = "storage",
    ) -> None:
        self._client = client
        self._hands = hands
        self._ledger = ledger
        self._pacing = pacing
        self._mode = mode
        self._under_way: dict[str, asyncio.Lock] = {}
        self.outage = Outage()

    async def body(self, task: Task) -> dict[str, Any]:
        """The request body of `task`. Raises NotAnImage, UploadRejected; ApiError if the storage is down."""
        sent = {}
        for place, digest in task.media.items():
            path = str(at(task.params, place))
            if self._mode == "inline":
                sent[place] = (await self._hands.do(read, path, digest)).decode("ascii")
            else:
                sent[place] = await self._url(path, digest)
        return _filled(task.params, sent)

    async def sent(self, task: Task, then: float) -> dict[str, Any] | None:
        """The request body of `task` as it was at that time; None where a file was uploaded anew since, and
        its URL of then is not known any more. Raises NotAnImage, UploadRejected."""
        if self._mode == "inline":
            return await self.body(task)
        urls = {}
        for place, digest in task.media.items():
            known = self._ledger.uploaded(digest)
            if known is None or known[1] > then:
                return None
            urls[place] = known[0]
        return _filled(task.params, urls)

    @staticmethod
    def alike(one: Task, other: Task) -> bool:
        """Whether two tasks have one body: the same parameters, files by content."""
        return _filled(one.params, one.media) == _filled(other.params, other.media)

    def forget(self, task: Task, submitted_at: float) -> bool:
        """Whether a URL that `task` was submitted with may have died: its files are uploaded anew then."""
        if self._mode == "inline":
            return False
        old = False
        for digest in set(task.media.values()):
            known = self._ledger.uploaded(digest)
            if known is None or known[1] > submitted_at:
                old = True  # another task has found it dead
            elif known[1] < submitted_at - FRESH:
                self._ledger.forget_upload(digest)
                old = True
        return old

    async def _url(self, path: str, digest: str) -> str:
        """Two tasks with one picture wait for one upload."""
        known = self._known(digest)
        if known is not None:
            return known
        lock = self._under_way.setdefault(digest, asyncio.Lock())
        async with lock:
            known = self._known(digest)
            if known is not None:
                return known
            async with self._offered(path, digest) as data_url:
                url = await self._upload(path, data_url)
            self._ledger.keep_upload(digest, url)
        self._under_way.pop(digest, None)
        return url

    def _known(self, digest: str) -> str | None:
        known = self._ledger.uploaded(digest)
        return known[0] if known is not None and known[1] >= self._ledger.now() - LIFE else None

    @asynccontextmanager
    async def _offered(self, path: str, digest: str) -> AsyncIterator[Streamed]:
        """The data URL: encoded by workers elsewhere, or here a piece at a time. Raises as `opened`."""
        if self._hands.elsewhere:
            encoded = await self._hands.do(read, path, digest)
            yield Streamed(len(encoded), _as_one(encoded))
            return
        with anyio.CancelScope(shield=True):
            found = await asyncio.to_thread(opened, path, digest)
        with found.file:
            yield found.streamed()

    async def _upload(self, path: str, data_url: Streamed) -> str:
        await self.outage.over()
        turn = await self._pacing.turn(Kind.UPLOAD)
        probe = self.outage.leaving()
        try:
            url = await self._client.upload(data_url, turn)
        except errors.Throttled as error:
            self.outage.throttled(error.message)
            raise
        except (errors.Rejected, errors.StopsTheRun) as error:
            self.outage.answered()
            if isinstance(error, errors.Rejected):
                raise errors.UploadRejected(f"{path}: {error.message}") from error
            raise
        except errors.ApiError as error:
            self.outage.lost(error.message, probe=probe)
            raise
        except asyncio.CancelledError:
            self.outage.withdrawn(probe=probe)
            raise
        self.outage.answered()
        return url


async def _as_one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


def _filled(params: Mapping[str, Any], sent: Mapping[str, str]) -> dict[str, Any]:
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
    return pictures.kind_of(file).mime


def check_size(size: int) -> None:
    """Raises BadDownload when a file of so many bytes is more than an upload takes."""
    if size > LARGEST_UPLOAD:
        raise errors.BadDownload(f"is larger than {LARGEST_UPLOAD >> 20} MB, the most that is uploaded")


@dataclass(frozen=True, slots=True)
class Opened:
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

    def streamed(self) -> Streamed:
        """Its data URL, a piece at a time. A file that is changed meanwhile cuts it off before its end."""
        return Streamed(len(self.head) + 4 * ((self.size + 2) // 3), self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        held, hashed = self.head, hashlib.sha256()
        while piece := await asyncio.to_thread(self.file.read, PIECE):
            yield held
            hashed.update(piece)
            held = base64.b64encode(piece)
        if self.digest is not None and hashed.hexdigest() != self.digest:
            raise OSError("the file was changed while it was sent")
        yield held


def opened(path: str, digest: str) -> Opened:
    """The file at `path`, if it is the one that was planned. Raises NotAnImage; UploadRejected when it is
    another, or too large."""
    stored = is_stored(path)
    same = True
    file: IO[bytes]
    try:
        if stored:
            same = stores.digest(path, fresh=True) == digest
            file = io.BytesIO(stores.content(path, LARGEST_UPLOAD + 1))
        else:
            file = open(path, "rb")  # noqa: SIM115  # closed below, or by whoever sends it
    except OSError as error:
        raise errors.NotAnImage(f"{path}: {error.strerror}") from error
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
            raise errors.UploadRejected(f"{path} changed since it was planned; run the same command again")
        try:
            mime = sendable(file, size)
        except errors.BadDownload as error:
            raise errors.NotAnImage(f"{path}: {error.message}") from error
        file.seek(0)
        return Opened(file, mime, size, None if stored else digest)
    except BaseException:
        file.close()
        raise


def read(path: str, digest: str) -> bytes:
    """The file as a data URL in ASCII. Raises as `opened`."""
    found = opened(path, digest)
    with found.file:
        return found.head + base64.b64encode(found.file.read())
