"""Pictures as they are handed out: small ones that are made for it, large ones as they lie.

Rule: a content never changes under its digest, and what is handed out as a picture is one.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from batcher import errors
from batcher.results.dashboard.guard import ALWAYS, SEALED, missing
from batcher.results.report.thumbnails import LARGEST, Thumbnails, ThumbnailSource
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored

AT_ONCE = 2
"""Thumbnails that are made at the same time."""


class PictureAnswers:
    """Answers with pictures of one output folder; None, no source, is answered like one that is gone."""

    def __init__(self, thumbnails: Thumbnails) -> None:
        self._thumbnails = thumbnails
        self._making = asyncio.Semaphore(AT_ONCE)

    async def small(self, source: ThumbnailSource | None) -> web.StreamResponse:
        """A thumbnail."""
        made = None
        if source is not None:
            async with self._making:
                made = await asyncio.to_thread(self._thumbnails.of, source)
        return missing() if made is None else web.Response(body=made, headers=_headers("image/webp"))

    async def large(self, source: ThumbnailSource | None) -> web.StreamResponse:
        """The file itself."""
        mime = None if source is None else await asyncio.to_thread(_mime, source)
        if source is None or mime is None:
            return missing()
        if not is_stored(str(source.path)):
            return web.FileResponse(source.path, headers=_headers(mime))
        try:
            body = await asyncio.to_thread(stores.first_bytes, str(source.path), LARGEST)
        except OSError:
            return missing()
        return web.Response(body=body, headers=_headers(mime))


def _mime(source: ThumbnailSource) -> str | None:
    try:
        with stores.open_address(str(source.path)) as file:
            return pictures.identify(file).mime
    except (OSError, errors.BadDownload):
        return None


def _headers(mime: str) -> dict[str, str]:
    kept = {"Cache-Control": "private, max-age=86400, immutable", "Content-Type": mime}
    return {**ALWAYS, **kept, "Content-Security-Policy": SEALED}
