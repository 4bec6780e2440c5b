"""What has to be done to a picture before it is written: bring it here, look at it, lay its mask.

Rule: work on bytes alone: it knows no ledger and no writer, and may be done on any machine.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from batcher import errors
from batcher.results.export import masks
from batcher.results.export.items import ExportItem, Mask
from batcher.results.export.masks import LaidMask
from batcher.storage import pictures, stores
from batcher.storage.addresses import is_stored

REPLACED = "holds another picture than was delivered there; export again, or `batcher verify` finds out more"


@dataclass(frozen=True, slots=True)
class LoadedItem:
    """A picture that may be written, and its masks (name, bytes). `content` is its bytes where it does not
    lie on a disk, `outside` what its mask of classes says beside the source, where there is such a place;
    `turned`: EXIF turned it, and it leaves upright."""

    item: ExportItem
    mask: tuple[str, bytes] | None = None
    content: bytes | None = None
    instance_mask: tuple[str, bytes] | None = None
    outside: int | None = None
    turned: bool = False

    def data(self) -> bytes:
        """Its bytes. Raises OSError."""
        if self.content is not None:
            return self.content
        content = Path(self.item.address).read_bytes()
        require_own(self.item)
        return content


@dataclass(frozen=True, slots=True)
class LoadingOptions:
    """`outside`: what masks say beside the source; None: each as it says itself. `upright`: which originals
    that EXIF turns leave turned: all, or those that have labels, which are upright."""

    outside: int | None = None
    upright: Literal["none", "labelled", "all"] = "none"

    def turns(self, item: ExportItem) -> bool:
        """Whether this original leaves upright."""
        labelled = item.mask or item.instance_mask or item.values.get("boxes")
        return self.upright == "all" or (self.upright == "labelled" and bool(labelled))


def loaded(item: ExportItem, problem: Callable[[str], None], options: LoadingOptions) -> LoadedItem | None:
    """Looks at the picture, wherever it lies, and lays its masks, if it has some; None: it cannot leave.
    `problem` is told why, and what is wrong with a mask."""
    turned = None
    try:
        content = _content(item)
        if item.digest:
            item = _looked_at(item, content)
            if options.turns(item):
                turned = pictures.turned_upright(
                    Path(item.address).read_bytes() if content is None else content
                )
    except errors.BadDownload as error:
        problem(f"{item.address}: {error}")
        return None
    laid: list[LaidMask | None] = []
    for mask in (item.mask, item.instance_mask):
        try:
            laid.append(None if mask is None else _laid(mask, options.outside, _size_of(item)))
        except errors.BadDownload as error:
            problem(str(error))
            laid.append(None)
    if wrong := _wrong_with(item, content):
        problem(f"{item.address}: {wrong}")
        return None
    name = f"{Path(item.name).stem}.png"
    of_classes, of_instances = (None if one is None else (name, one.content) for one in laid)
    said = None if laid[0] is None else laid[0].outside
    return LoadedItem(
        item, of_classes, turned or content, of_instances, outside=said, turned=turned is not None
    )


def require_own(item: ExportItem) -> None:
    """Once its bytes were taken: they are its own if it still lies there. Raises DiskError."""
    if wrong := _wrong_with(item):
        raise errors.DiskError(f"{item.address}: {wrong}")


def _wrong_with(item: ExportItem, content: bytes | None = None) -> str:
    """What is wrong with a delivered picture, if it is not the one that the ledger told of: what is made in
    place of a rejected one takes its name. A file is read only where it is younger than its delivery."""
    if item.digest:
        return ""  # an original, and looked at
    try:
        return "" if _is_own(item, content) else REPLACED
    except OSError as error:
        return error.strerror or str(error)


def _is_own(item: ExportItem, content: bytes | None) -> bool:
    if content is not None:
        return hashlib.sha256(content).hexdigest() == str(item.values["sha256"])
    status = os.stat(item.address)
    if item.size and status.st_size != item.size:
        return False
    if status.st_mtime <= item.delivered_at:
        return True
    with open(item.address, "rb") as file:
        return pictures.digest(file) == str(item.values["sha256"])


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


def _size_of(item: ExportItem) -> tuple[int, int] | None:
    """Width and height of the picture; None: nobody said."""
    width, height = item.values.get("width"), item.values.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _laid(mask: Mask, outside: int | None, picture: tuple[int, int] | None) -> LaidMask:
    """The mask where it belongs; a source's own as it is, in the one form that all of them have, but of the
    size of its `picture`. Raises BadDownload."""
    if mask.placement is not None:
        return masks.laid(mask.path, mask.placement, mask.size, fitting=mask.fitting, outside=outside)
    if picture is not None and masks.has_to_be_scaled(mask.path, picture):
        whole = {"x": 0, "y": 0, "width": picture[0], "height": picture[1]}
        return masks.laid(mask.path, whole, picture)
    if not mask.path.lower().endswith(".png"):
        return LaidMask(masks.as_png(mask.path), None)
    try:
        with stores.open_address(mask.path) as file:
            return LaidMask(file.read(), None)
    except OSError as error:
        raise errors.BadDownload(f"{mask.path}: {error.strerror}") from error
