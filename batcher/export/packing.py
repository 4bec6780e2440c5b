"""Pictures that leave together, in one piece of work: a shard, or a handful of files.

Law: work on bytes alone. Whoever does it may be overtaken, so it may be done twice at once: each time into a
file of its own, which gets its name from the one process that exports.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from batcher.export.leaving import Item
from batcher.export.preparing import Prepared, prepared

SHARD_SAMPLES = 10_000
SHARD_BYTES = 512 << 20
"""How much leaves together at most, by what the ledger knows of it; a larger picture leaves alone."""
HANDFUL_SAMPLES = 256
HANDFUL_BYTES = 64 << 20
SLOWEST = 2 << 20
"""Bytes a second that even a slow machine writes."""
UNFINISHED = ".new"

Write = Callable[[str, Iterator[Prepared]], Any]
"""Writes the pictures of one split, and tells its Writer what came of it. It must pickle."""


class Writer(Protocol):
    """One form of a dataset, in the process that exports: it names and notes what was written anywhere."""

    @property
    def write(self) -> Write:
        """The work on bytes, for whoever does it."""

    @property
    def largest(self) -> tuple[int, int]:
        """How many pictures, and bytes, one piece of work has at most."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader should know."""

    def named(self, item: Item) -> Item:
        """The item as this form calls it."""

    def take(self, split: str, written: Any) -> None:
        """What `write` returned for pictures of this split, in their order."""

    def finish(self) -> None:
        """All was taken: what is still unfinished takes its place."""

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Pictures of one split that leave together, of about so many bytes."""

    split: str
    items: tuple[Item, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A parcel that was written: what `write` says of it, how many left by folder, and why others did not."""

    split: str
    written: Any
    counts: Mapping[str, int]
    problems: Sequence[str]


def parcels(items: Iterable[Item], largest: tuple[int, int]) -> Iterator[Parcel]:
    """The items in parcels, split by split side by side, each in their order."""
    most, most_bytes = largest
    waiting: dict[str, tuple[list[Item], int]] = {}
    for item in items:
        held, size = waiting.get(item.split, ([], 0))
        if held and (len(held) >= most or size + item.size > most_bytes):
            yield Parcel(item.split, tuple(held), size)
            held, size = [], 0
        held.append(item)
        waiting[item.split] = held, size + item.size
    for split, (held, size) in waiting.items():
        yield Parcel(split, tuple(held), size)


def packed(write: Write, parcel: Parcel) -> Packed:
    """Does the work: every picture of the parcel that can leave is written."""
    counts: Counter[str] = Counter()
    problems: list[str] = []

    def ready() -> Iterator[Prepared]:
        for item in parcel.items:
            found = prepared(item, problems.append)
            if found is not None:
                counts[item.folder] += 1
                counts["masks"] += found.mask is not None
                yield found

    written = write(parcel.split, ready())
    return Packed(parcel.split, written, counts, problems)


def longest(parcel: Parcel) -> float:
    """Seconds that the work may take before its worker is taken for lost."""
    return parcel.size / SLOWEST


def unfinished(folder: Path, suffix: str) -> Path:
    """A file in `folder` that nobody else writes."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".{uuid4().hex}{suffix}{UNFINISHED}"


class Shards:
    """Numbered files of each split, `00000<suffix>`, each whole when it has its name."""

    def __init__(self, target: Path, suffix: str) -> None:
        self._target = target
        self._suffix = suffix
        self._taken: Counter[str] = Counter()

    def take(self, split: str, written: Path | None) -> None:
        """The next one of this split; None: no picture of it could leave."""
        if written is not None:
            os.replace(written, self._target / split / f"{self._taken[split]:05d}{self._suffix}")
            self._taken[split] += 1


def clear(target: Path) -> None:
    """What overtaken workers left goes."""
    for left in target.rglob(f".*{UNFINISHED}"):
        left.unlink(missing_ok=True)
