"""A file becomes something the API can read: a URL, uploaded once per content, or a data URI.

Law: a file that no decoder reads is told before it costs a call, and fails its own task only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from typing import Any, Literal

from batcher import errors, pictures, stores
from batcher.carrying import Hands
from batcher.client import Client
from batcher.ledger.writer import Ledger
from batcher.outage import Outage
from batcher.pacing import Kind, Pacing
from batcher.plan import is_stored
from batcher.task import Task

LARGEST_UPLOAD = 48 * 1024 * 1024
"""Bytes of a file; as base64 it is a third more."""


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
        body = dict(task.params)
        for parameter, digest in task.media.items():
            path = str(body[parameter])
            if self._mode == "inline":
                body[parameter] = (await self._hands.do(read, path, digest)).decode("ascii")
            else:
                body[parameter] = await self._url(path, digest)
        return body

    async def _url(self, path: str, digest: str) -> str:
        """Two tasks with one picture wait for one upload."""
        known = self._ledger.uploaded(digest)
        if known is not None:
            return known
        lock = self._under_way.setdefault(digest, asyncio.Lock())
        async with lock:
            known = self._ledger.uploaded(digest)
            if known is not None:
                return known
            data_url = await self._hands.do(read, path, digest)
            url = await self._upload(path, data_url)
            self._ledger.keep_upload(digest, url)
        self._under_way.pop(digest, None)
        return url

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
    if len(content) > LARGEST_UPLOAD:
        raise errors.UploadRejected(f"{path} is larger than {LARGEST_UPLOAD >> 20} MB")
    if not stored:
        same = hashlib.sha256(content).hexdigest() == digest
    if not same:
        raise errors.UploadRejected(f"{path} changed since it was planned; run the same command again")
    try:
        kind = pictures.kind_of(io.BytesIO(content))
    except errors.BadDownload as error:
        raise errors.NotAnImage(f"{path}: {error.message}") from error
    return b"data:" + kind.mime.encode() + b";base64," + base64.b64encode(content)
