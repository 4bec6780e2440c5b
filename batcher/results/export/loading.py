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
from batcher.results.export.items import ExportItem, Mask
from batcher.results.export.masks import LaidMask
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored


@dataclass(frozen=True, slots=True)
class LoadedItem:
    """A picture that may be written, and its masks (name, bytes). `content` is its bytes where it does not
    lie on a disk, `outside` what its mask of classes says beside the source, where there is such a place."""

    item: ExportItem
    mask: tuple[str, bytes] | None = None
    content: bytes | None = None
    instance_mask: tuple[str, bytes] | None = None
    outside: int | None = None

    def data(self) -> bytes:
        """Its bytes. Raises OSError."""
        return Path(self.item.address).read_bytes() if self.content is None else self.content


def loaded(item: ExportItem, problem: Callable[[str], None], outside: int | None = None) -> LoadedItem | None:
    """Looks at the picture, wherever it lies, and lays its masks, if it has some; None: it cannot leave.
    `problem` is told why, and what is wrong with a mask; `outside` is what masks say beside the source."""
    try:
        content = _content(item)
        if item.digest:
            item = _looked_at(item, content)
    except errors.BadDownload as error:
        problem(f"{item.address}: {error}")
        return None
    laid: list[LaidMask | None] = []
    for mask in (item.mask, item.instance_mask):
        try:
            laid.append(None if mask is None else _laid(mask, outside))
        except errors.BadDownload as error:
            problem(str(error))
            laid.append(None)
    name = f"{Path(item.name).stem}.png"
    of_classes, of_instances = (None if one is None else (name, one.content) for one in laid)
    return LoadedItem(item, of_classes, content, of_instances, None if laid[0] is None else laid[0].outside)


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


def _laid(mask: Mask, outside: int | None) -> LaidMask:
    """The mask where it belongs; a source's own as it is, in the one form that all of them have. Raises
    BadDownload."""
    if mask.placement is not None:
        return masks.laid(mask.path, mask.placement, mask.size, fitting=mask.fitting, outside=outside)
    if not mask.path.lower().endswith(".png"):
        return LaidMask(masks.as_png(mask.path), None)
    try:
        with stores.open_address(mask.path) as file:
            return LaidMask(file.read(), None)
    except OSError as error:
        raise errors.BadDownload(f"{mask.path}: {error.strerror}") from error
