"""What has to be done to a picture before it is written: bring it here, look at it, lay its mask.

Rule: work on bytes alone: it knows no ledger and no writer, and may be done on any machine.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from batcher import errors
from batcher.results.export import masks
from batcher.results.export.items import ExportItem
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored


@dataclass(frozen=True, slots=True)
class LoadedItem:
    """A picture that may be written, and its mask (name, bytes). `content` is its bytes where it does not lie
    on a disk."""

    item: ExportItem
    mask: tuple[str, bytes] | None = None
    content: bytes | None = None

    def data(self) -> bytes:
        """Its bytes. Raises OSError."""
        return Path(self.item.address).read_bytes() if self.content is None else self.content


def loaded(item: ExportItem, problem: Callable[[str], None]) -> LoadedItem | None:
    """Looks at the picture, wherever it lies, and lays its mask, if it has one; None: it cannot leave.
    `problem` is told why, and what is wrong with a mask."""
    try:
        content = _content(item)
        if item.digest:
            item = _looked_at(item, content)
    except errors.BadDownload as error:
        problem(f"{item.address}: {error}")
        return None
    try:
        return LoadedItem(item, _mask(item), content)
    except errors.BadDownload as error:
        problem(str(error))
        return LoadedItem(item, None, content)


def _content(item: ExportItem) -> bytes | None:
    """The bytes of what lies in a store. Raises BadDownload where nothing is there."""
    if not is_stored(item.address):
        if not Path(item.address).is_file():
            ours = "" if item.digest else "; `batcher verify` finds out more"
            raise errors.BadDownload(f"is not there{ours}")
        return None
    try:
        with stores.local_copy(item.address) as source:
            return source.read()
    except OSError as error:
        raise errors.BadDownload(error.strerror or str(error)) from error


def _looked_at(item: ExportItem, content: bytes | None) -> ExportItem:
    """An original with its size, if it still is the picture that was sent. Raises BadDownload."""
    try:
        with _opened(item, content) as file:
            sha256 = pictures.digest(file)
            # One that lies in a store is known by what the store says of it.
            current_digest = stores.digest(item.address) if is_stored(item.address) else sha256
            if current_digest != item.digest:
                raise errors.BadDownload("changed since it was sent")
            file.seek(0)
            width, height = pictures.upright_size(file)
    except OSError as error:
        raise errors.BadDownload(error.strerror or str(error)) from error
    return replace(item, values={**item.values, "sha256": sha256, "width": width, "height": height})


def _opened(item: ExportItem, content: bytes | None) -> IO[bytes]:
    return open(item.address, "rb") if content is None else io.BytesIO(content)


def _mask(item: ExportItem) -> tuple[str, bytes] | None:
    """The name and the bytes of the picture's mask. Raises BadDownload."""
    if item.mask is None:
        return None
    beside = item.mask.path
    if item.mask.placement is not None:
        laid = masks.laid(beside, item.mask.placement, item.mask.size, fitting=item.mask.fitting)
        return f"{Path(item.name).stem}.png", laid
    try:
        with stores.open_address(beside) as file:
            return f"{Path(item.name).stem}{Path(beside).suffix.lower()}", file.read()
    except OSError as error:
        raise errors.BadDownload(f"{beside}: {error.strerror}") from error
