"""A file becomes something the API can read: a URL, uploaded once per content, or a data URI.

Law: a file that no decoder reads is told before it costs a call, and fails its own task only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import Mapping
from typing import IO, Any, Literal

from batcher import errors, pictures, stores
from batcher.client import Client
from batcher.ledger.writer import Ledger
from batcher.outage import Outage
from batcher.pacing import Kind, Pacing
from batcher.plan import is_stored
from batcher.task import Task, at

LARGEST_UPLOAD = 48 * 1024 * 1024
"""Bytes of a file; as base64 it is a third more."""


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
        *,
        mode: Literal["storage", "inline"] = "storage",
    ) -> None:
        self._client = client
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
                sent[place] = (await asyncio.to_thread(read, path, digest)).decode("ascii")
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
            data_url = await asyncio.to_thread(read, path, digest)
            url = await self._upload(path, data_url)
            self._ledger.keep_upload(digest, url)
        self._under_way.pop(digest, None)
        return url

    def _known(self, digest: str) -> str | None:
        known = self._ledger.uploaded(digest)
        return known[0] if known is not None and known[1] >= self._ledger.now() - LIFE else None

    async def _upload(self, path: str, data_url: bytes) -> str:
        await self.outage.over()
        turn = await self._pacing.turn(Kind.UPLOAD)
        self.outage.leaving()
        try:
            url = await self._client.upload(data_url, turn)
        except (errors.Rejected, errors.Throttled, errors.StopsTheRun) as error:
            self.outage.answered()
            if isinstance(error, errors.Rejected):
                raise errors.UploadRejected(f"{path}: {error.message}") from error
            raise
        except errors.ApiError as error:
            self.outage.lost(error.message)
            raise
        except asyncio.CancelledError:
            self.outage.withdrawn()
            raise
        self.outage.answered()
        return url


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


def read(path: str, digest: str) -> bytes:
    """The file as a data URL in ASCII. Raises NotAnImage; UploadRejected when it is no longer as planned."""
    stored = is_stored(path)
    try:
        if stored:
            same = stores.digest(path, fresh=True) == digest
            content = stores.content(path, LARGEST_UPLOAD + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(LARGEST_UPLOAD + 1)
    except OSError as error:
        raise errors.NotAnImage(f"{path}: {error.strerror}") from error
    try:
        check_size(len(content))
    except errors.BadDownload as error:
        raise errors.UploadRejected(f"{path} {error.message}") from error
    if not stored:
        same = hashlib.sha256(content).hexdigest() == digest
    if not same:
        raise errors.UploadRejected(f"{path} changed since it was planned; run the same command again")
    try:
        mime = sendable(io.BytesIO(content), len(content))
    except errors.BadDownload as error:
        raise errors.NotAnImage(f"{path}: {error.message}") from error
    return b"data:" + mime.encode() + b";base64," + base64.b64encode(content)
