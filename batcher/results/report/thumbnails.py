"""Small pictures for the page, made once per content and kept under `.batcher/thumbs/`.

Rule: a thumbnail shows the content whose digest it bears, or there is none. Foreign bytes: whatever a decoder
raises means no thumbnail, never a failed report.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from batcher.storage import stores
from batcher.storage.addresses import is_stored
from batcher.storage.pictures import SUFFIXES
from batcher.storage.workers import Threads, Workers

EDGE = 240
"""Pixels of the longer side."""
QUALITY = 60
LARGEST = 256 * 1024 * 1024
"""Bytes; larger files have no thumbnail."""


@dataclass(frozen=True, slots=True)
class ThumbnailSource:
    """A picture on this disk, or in a store (its URL), and the digest (hex) by which the ledger knows it."""

    digest: str
    path: Path | str

    def content(self) -> bytes | None:
        """Its bytes; None where they are too many, or no longer those of the digest. Raises OSError."""
        address = str(self.path)
        with stores.open_address(address) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            return None
        if hashlib.sha256(content).hexdigest() == self.digest:
            return content
        # A source picture in a store is known by what the store says of it.
        same = is_stored(address) and stores.digest(address, fresh=True) == self.digest
        return content if same else None


class Thumbnails:
    """The thumbnails of one output folder."""

    def __init__(self, output: Path, workers: Workers | None = None) -> None:
        self._folder = output / ".batcher" / "thumbs"
        self._workers = workers or Threads()

    def of(self, source: ThumbnailSource) -> bytes | None:
        """A WebP of at most EDGE pixels; None where the picture is gone, changed or none. Thread-safe."""
        kept = self._kept(source)
        if kept is None:
            kept = _made(source)
            self._keep(source, kept)
        return kept

    def several(self, sources: Iterable[ThumbnailSource], *, seconds: float) -> dict[str, bytes]:
        """Thumbnails by digest, as many as can be had within `seconds`; the rest is simply not there."""
        ends = time.monotonic() + seconds
        found: dict[str, bytes] = {}
        missing: list[ThumbnailSource] = []
        for source in {source.digest: source for source in sources}.values():
            kept = self._kept(source)
            if kept is None:
                missing.append(source)
            else:
                found[source.digest] = kept
        in_time = takewhile(lambda source: time.monotonic() < ends, missing)
        for source, made in zip(missing, self._workers.map(_made, in_time), strict=False):
            self._keep(source, made)
            if made is not None:
                found[source.digest] = made
        return found

    def _path(self, source: ThumbnailSource) -> Path:
        return self._folder / source.digest[:2] / f"{source.digest}.webp"

    def _kept(self, source: ThumbnailSource) -> bytes | None:
        try:
            return self._path(source).read_bytes()
        except OSError:
            return None

    def _keep(self, source: ThumbnailSource, made: bytes | None) -> None:
        """On a disk that is full or read-only the next report makes it anew."""
        if made is None:
            return
        path = self._path(source)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(made)
            os.replace(unfinished, path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()


def _made(source: ThumbnailSource) -> bytes | None:
    from PIL import Image, ImageOps

    try:
        content = source.content()
        if content is None:
            return None
        with Image.open(io.BytesIO(content)) as image:
            if image.format not in SUFFIXES:
                return None
            image.draft("RGB", (2 * EDGE, 2 * EDGE))  # a JPEG is decoded at a fraction of its size
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((EDGE, EDGE), reducing_gap=2.0)
            small = io.BytesIO()
            upright.convert("RGBA" if upright.has_transparency_data else "RGB").save(
                small, "WEBP", quality=QUALITY, method=2
            )
            return small.getvalue()
    except Exception:
        return None
