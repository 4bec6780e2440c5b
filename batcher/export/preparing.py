"""What has to be done to a picture before it is written: bring it here, look at it, lay its mask.

Law: work on bytes alone: it knows no ledger and no writer, and may be done on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from batcher import errors, pictures, plan, stores
from batcher.export import masks
from batcher.export.leaving import Item


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture that may be written, and its mask (name, bytes); `item` None: it may not be. `content` is its
    bytes where it does not lie on a disk; `problems` are to be told."""

    item: Item | None
    mask: tuple[str, bytes] | None = None
    content: bytes | None = None
    problems: tuple[str, ...] = ()

    @contextmanager
    def here(self) -> Iterator[Item]:
        """The picture as a file of this machine, for as long as the block runs."""
        assert self.item is not None
        if self.content is None:
            yield replace(self.item, path=Path(self.item.address))
            return
        with TemporaryDirectory(prefix="batcher-") as folder:
            path = Path(folder) / "picture"
            path.write_bytes(self.content)
            yield replace(self.item, path=path)


def prepared(item: Item) -> Prepared:
    """Looks at the picture, wherever it lies, and lays its mask, if it has one."""
    try:
        content = _content(item)
        if item.digest:
            item = _looked_at(item, content)
    except errors.BadDownload as error:
        return Prepared(None, problems=(f"{item.address}: {error}",))
    try:
        return Prepared(item, _mask(item), content)
    except errors.BadDownload as error:
        return Prepared(item, None, content, (str(error),))


def _content(item: Item) -> bytes | None:
    """The bytes of what lies in a store. Raises BadDownload where nothing is there."""
    if not plan.is_stored(item.address):
        if not Path(item.address).is_file():
            ours = "" if item.digest else "; `batcher verify` finds out more"
            raise errors.BadDownload(f"is not there{ours}")
        return None
    try:
        with stores.held(item.address) as source:
            return source.read()
    except OSError as error:
        raise errors.BadDownload(error.strerror or str(error)) from error


def _looked_at(item: Item, content: bytes | None) -> Item:
    """An original with its size, if it still is the picture that was sent. Raises BadDownload."""
    with Prepared(item, content=content).here() as found:
        try:
            with open(found.path, "rb") as file:
                sha256 = pictures.digest(file)
                # One that lies in a store is known by what the store says of it.
                known = stores.digest(item.address) if plan.is_stored(item.address) else sha256
                if known != item.digest:
                    raise errors.BadDownload("changed since it was sent")
                file.seek(0)
                width, height = pictures.upright_size(file)
        except OSError as error:
            raise errors.BadDownload(error.strerror or str(error)) from error
    return replace(item, values={**item.values, "sha256": sha256, "width": width, "height": height})


def _mask(item: Item) -> tuple[str, bytes] | None:
    """The name and the bytes of the picture's mask. Raises BadDownload."""
    if item.mask is None:
        return None
    beside = item.mask.path
    if item.mask.placement is not None:
        laid = masks.laid(beside, item.mask.placement, item.mask.size)
        return f"{Path(item.name).stem}.png", laid
    try:
        with stores.opened(beside) as file:
            return f"{Path(item.name).stem}{Path(beside).suffix.lower()}", file.read()
    except OSError as error:
        raise errors.BadDownload(f"{beside}: {error.strerror}") from error
