"""export(): one job's delivered pictures into one folder, and what came of it.

Law: what is there is never written over; a picture that cannot leave is named.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

from batcher import destination, errors, pictures, place, plan, stores
from batcher.destination import disk
from batcher.export import masks
from batcher.export.columns import Columns
from batcher.export.exclusion import Exclusion
from batcher.export.imagefolder import MASK, ImageFolder
from batcher.export.leaving import Item, Leaving
from batcher.export.parquet import Parquet
from batcher.export.splits import Splits
from batcher.export.webdataset import WebDataset
from batcher.ledger import store

Form = Literal["imagefolder", "webdataset", "parquet"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for: the form, the folder, the splits; `originals`: the sources beside their variants;
    `exclude`: a file that names rejected pictures."""

    to: Form
    into: Path
    splits: Splits = field(default_factory=Splits)
    originals: bool = False
    exclude: Path | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What left. `missing` names what should have and could not, with the reason; `notes` are sentences."""

    to: str
    into: Path
    pictures: int
    originals: int
    masks: int
    splits: Mapping[str, int]
    excluded: int
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """3 where something is missing."""
        return 3 if self.missing else 0

    def as_json(self) -> dict[str, Any]:
        """The object of `export --json`."""
        return {
            "to": self.to,
            "output": str(self.into),
            "pictures": self.pictures,
            "originals": self.originals,
            "masks": self.masks,
            "splits": dict(self.splits),
            "excluded": self.excluded,
            "missing": list(self.missing),
            "notes": list(self.notes),
        }


class _Writer(Protocol):
    @property
    def notes(self) -> Sequence[str]: ...
    def add(self, item: Item, mask: tuple[str, bytes] | None, *, shows: bool) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


def export(output: Path, wishes: Wishes) -> Exported:
    """Exports the job whose output folder is `output`; works while it runs.

    Raises UsageError (nothing was delivered yet, the folder is not empty, an extra is not installed),
    DiskError, LedgerError.
    """
    path = place.ledger_of(output)
    if not path.exists():
        raise errors.UsageError(f"nothing was run yet in {output}; `batcher run` starts it")
    exclusion = Exclusion() if wishes.exclude is None else Exclusion.read(wishes.exclude)
    with (
        disk(wishes.into),
        store.disk_errors(path),
        closing(store.open_for_reading(path)) as connection,
        Leaving(
            connection,
            destination.at(store.meta(connection, "destination"), output),
            wishes.splits,
            exclusion,
            originals=wishes.originals,
        ) as leaving,
    ):
        _refuse(wishes.into, output)
        connection.execute("BEGIN")  # one moment of the ledger, whatever a run beside writes
        return _Export(wishes, leaving, exclusion).run()


class _Export:
    """One export under way."""

    def __init__(self, wishes: Wishes, leaving: Leaving, exclusion: Exclusion) -> None:
        self.wishes = wishes
        self.leaving = leaving
        self.exclusion = exclusion
        self.counts: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()
        self.missing: list[str] = []

    def run(self) -> Exported:
        columns, showing = Columns(), set()
        for item in self.leaving.looked():
            if columns.meet(item.split, {**item.values, MASK: item.name if item.mask else None}):
                showing.add(item.name)
        if not columns.kinds():
            raise errors.UsageError(
                "there is nothing to export: no picture is delivered, or all are excluded"
            )
        writer = _writer(self.wishes, columns)
        with_masks = MASK in columns.kinds()
        try:
            for item in self.leaving.items():
                self._add(writer, item, with_masks, shows=item.folder == "images" and item.name in showing)
            writer.finish()
        finally:
            writer.close()
        return self._exported(writer)

    def _add(self, writer: _Writer, item: Item, with_masks: bool, *, shows: bool) -> None:
        with ExitStack() as stack:
            try:
                item = replace(item, path=stack.enter_context(_brought(item)))
                if item.digest:
                    item = _looked_at(item)
            except errors.BadDownload as error:
                self.missing.append(f"{item.address}: {error}")
                return
            mask = self._mask(item) if with_masks else None
            writer.add(item, mask, shows=shows)
        self.counts[item.folder] += 1
        self.splits[item.split] += 1
        self.counts["masks"] += mask is not None

    def _mask(self, item: Item) -> tuple[str, bytes] | None:
        """The name and the bytes of the picture's mask."""
        if item.mask is None:
            return None
        beside = item.mask.path
        try:
            if item.mask.placement is None:
                with stores.opened(beside) as file:
                    return f"{Path(item.name).stem}{Path(beside).suffix.lower()}", file.read()
            return f"{Path(item.name).stem}.png", masks.laid(
                item.mask.path, item.mask.placement, item.mask.size
            )
        except errors.BadDownload as error:
            self.missing.append(str(error))
        except OSError as error:
            self.missing.append(f"{beside}: {error.strerror}")
        return None

    def _exported(self, writer: _Writer) -> Exported:
        notes = list(writer.notes)
        if unmatched := self.exclusion.unmatched:
            entries = "1 entry" if len(unmatched) == 1 else f"{len(unmatched)} entries"
            notes.append(f"{entries} of {self.wishes.exclude} name no picture (first: {unmatched[0]})")
        if unreadable := self.leaving.unreadable:
            notes.append(f"{len(unreadable)} pictures leave without boxes (first: {unreadable[0]})")
        notes += [
            f"the split {name} is empty: too few source pictures for its share"
            for name in self.wishes.splits.names
            if not self.splits[name]
        ]
        return Exported(
            to=self.wishes.to,
            into=self.wishes.into,
            pictures=self.counts["images"],
            originals=self.counts["originals"],
            masks=self.counts["masks"],
            splits={name: self.splits[name] for name in self.wishes.splits.names},
            excluded=self.leaving.excluded,
            missing=tuple(self.missing),
            notes=tuple(notes),
        )


def _refuse(into: Path, output: Path) -> None:
    for ours in (output / "images", output / ".batcher"):
        if into.absolute().is_relative_to(ours):
            raise errors.UsageError(f"{ours} is the job's own; export to another folder")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise errors.UsageError(
            f"{into} is not empty, and an export writes over nothing; remove it or choose another folder"
        )


def _writer(wishes: Wishes, columns: Columns) -> _Writer:
    if wishes.to == "imagefolder":
        return ImageFolder(wishes.into, columns)
    if wishes.to == "webdataset":
        return WebDataset(wishes.into, columns)
    return Parquet(wishes.into, columns)


@contextmanager
def _brought(item: Item) -> Iterator[Path]:
    """The picture on this disk, for as long as it is needed. Raises BadDownload where it is not there."""
    if not plan.is_stored(item.address):
        path = Path(item.address)
        if not path.is_file():
            ours = "" if item.digest else "; `batcher verify` finds out more"
            raise errors.BadDownload(f"is not there{ours}")
        yield path
        return
    with TemporaryDirectory(prefix="batcher-") as folder:
        path = Path(folder) / "picture"
        try:
            with stores.held(item.address) as source, open(path, "wb") as target:
                copyfileobj(source, target)
        except OSError as error:
            raise errors.BadDownload(error.strerror or str(error)) from error
        yield path


def _looked_at(item: Item) -> Item:
    """An original with its size, if it still is the picture that was sent. Raises BadDownload."""
    try:
        with open(item.path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            # One that lies in a store is known by what the store says of it.
            known = stores.digest(item.address) if plan.is_stored(item.address) else sha256
            if known != item.digest:
                raise errors.BadDownload("changed since it was sent")
            file.seek(0)
            width, height = pictures.upright_size(file)
    except OSError as error:
        raise errors.BadDownload(error.strerror or str(error)) from error
    return replace(item, values={**item.values, "sha256": sha256, "width": width, "height": height})
