"""export(): one job's delivered pictures into one folder, and what came of it.

Law: what is there is never written over; a picture that cannot leave is named. An export that does not come
to its end leaves nothing behind.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from batcher import destination, errors, place
from batcher.carrying import Hands, Threads
from batcher.destination import disk
from batcher.export.columns import Columns
from batcher.export.exclusion import Exclusion
from batcher.export.imagefolder import MASK, ImageFolder
from batcher.export.leaving import Leaving
from batcher.export.packing import Packed, Writer, clear, longest, packed, parcels
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


def export(output: Path, wishes: Wishes, hands: Hands | None = None) -> Exported:
    """Exports the job whose output folder is `output`; works while it runs. `hands` look at the pictures, lay
    their masks and write them; what came of it is noted here.

    Raises UsageError (nothing was delivered yet, the folder is not empty or the hands do not see it, an extra
    is not installed), DiskError, LedgerError.
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
        return _Export(wishes, leaving, exclusion, hands or Threads()).run()


class _Export:
    """One export under way."""

    def __init__(self, wishes: Wishes, leaving: Leaving, exclusion: Exclusion, hands: Hands) -> None:
        self.wishes = wishes
        self.hands = hands
        self.leaving = leaving
        self.exclusion = exclusion
        self.counts: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()
        self.missing: list[str] = []

    def run(self) -> Exported:
        columns, showing = Columns(), set[str]()
        for item in self.leaving.looked():
            if columns.meet(item.split, {**item.values, MASK: item.name if item.mask else None}):
                showing.add(item.name)
        if not columns.kinds():
            raise errors.UsageError(
                "there is nothing to export: no picture is delivered, or all are excluded"
            )
        writer = _writer(self.wishes, columns, showing)
        with self._whole_or_nothing(), closing(writer):
            self._write(writer, with_masks=MASK in columns.kinds())
        if self.hands.elsewhere:
            clear(self.wishes.into)
        return self._exported(writer)

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """The folder is there, for all who write into it; what did not come to its end is taken away again,
        so that the same export can be asked for anew. Raises UsageError."""
        into = self.wishes.into
        made = [path for path in (into, *into.parents) if not path.exists()]
        try:
            into.mkdir(parents=True, exist_ok=True)
            self.hands.see(into)
            yield
        except BaseException:
            # The folder was empty: its splits are ours; what else lies in it by now is not.
            for split in self.wishes.splits.names:
                shutil.rmtree(into / split, ignore_errors=True)
            for path in made:
                with suppress(OSError):
                    path.rmdir()
            raise

    def _write(self, writer: Writer, *, with_masks: bool) -> None:
        items = (
            writer.named(item if with_masks else replace(item, mask=None)) for item in self.leaving.items()
        )
        work = partial(packed, writer.write)
        with (
            disk(self.wishes.into),  # a disk that is full is this one, not the ledger's
            closing(self.hands.over(work, parcels(items, writer.largest), longest=longest)) as written,
        ):
            for found in written:
                self._take(writer, found)
            writer.finish()

    def _take(self, writer: Writer, found: Packed) -> None:
        self.missing += found.problems
        writer.take(found.split, found.written)
        self.counts.update(found.counts)
        self.splits[found.split] += found.counts.get("images", 0) + found.counts.get("originals", 0)

    def _exported(self, writer: Writer) -> Exported:
        notes = list(writer.notes)
        if unmatched := self.exclusion.unmatched:
            one = len(unmatched) == 1
            entries, name = ("1 entry", "names") if one else (f"{len(unmatched)} entries", "name")
            notes.append(f"{entries} of {self.wishes.exclude} {name} no picture (first: {unmatched[0]})")
        if unreadable := self.leaving.unreadable:
            leave = "1 picture leaves" if len(unreadable) == 1 else f"{len(unreadable)} pictures leave"
            notes.append(f"{leave} without boxes (first: {unreadable[0]})")
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


def _writer(wishes: Wishes, columns: Columns, showing: Collection[str]) -> Writer:
    if wishes.to == "imagefolder":
        return ImageFolder(wishes.into, columns, showing)
    if wishes.to == "webdataset":
        return WebDataset(wishes.into, columns)
    return Parquet(wishes.into, columns)
