"""Pictures that leave together, in one piece of work: a shard, or a handful of files.

Rule: work on bytes alone. Whoever does it may be overtaken, so it may be done twice at once: each time into a
file of its own, which gets its name from the one process that exports.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from batcher.results.export.items import ORIGINALS, ExportItem
from batcher.results.export.loading import LoadedItem, LoadingOptions, loaded
from batcher.results.export.row_counts import RowCounts
from batcher.results.export.writer import Write

SHARD_SAMPLES = 10_000
SHARD_BYTES = 512 << 20
"""How much leaves together at most, by what the ledger knows of it; a larger picture leaves alone."""
HANDFUL_SAMPLES = 256
HANDFUL_BYTES = 64 << 20
SLOWEST = 2 << 20
"""Bytes a second that even a slow machine writes."""
UNFINISHED = ".new"
TURNED = "turned"
"""How many originals leave upright that were not."""
OUTSIDE = "outside "
"""Before a value: how many masks say it beside their source."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one split that leave together, of about so many bytes."""

    split: str
    items: tuple[ExportItem, ...]
    size: int


@dataclass(frozen=True, slots=True)
class WrittenBatch:
    """A parcel that was written: what `write` says of it, how many left by folder, what their rows hold,
    and why others did not."""

    split: str
    written: Any
    counts: Mapping[str, int]
    problems: Sequence[str]
    rows: RowCounts = field(default_factory=RowCounts)


def batches_of(items: Iterable[ExportItem], largest: tuple[int, int]) -> Iterator[Batch]:
    """The items in parcels, split by split side by side, each in their order."""
    most, most_bytes = largest
    waiting: dict[str, tuple[list[ExportItem], int]] = {}
    for item in items:
        held, size = waiting.get(item.split, ([], 0))
        if held and (len(held) >= most or size + item.size > most_bytes):
            yield Batch(item.split, tuple(held), size)
            held, size = [], 0
        held.append(item)
        waiting[item.split] = held, size + item.size
    for split, (held, size) in waiting.items():
        yield Batch(split, tuple(held), size)


def written(write: Write, options: LoadingOptions, batch: Batch) -> WrittenBatch:
    """Does the work: every picture of the parcel that can leave is written."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    rows = RowCounts()

    def ready() -> Iterator[LoadedItem]:
        for item in batch.items:
            loaded_item = loaded(item, problems.append, options)
            if loaded_item is not None:
                counts[item.folder] += 1
                counts["masks"] += loaded_item.mask is not None
                counts[TURNED] += loaded_item.turned
                counts["instance_masks"] += loaded_item.instance_mask is not None
                if loaded_item.outside is not None:
                    counts[f"{OUTSIDE}{loaded_item.outside}"] += 1
                rows.add(loaded_item.item.values, original=item.folder == ORIGINALS)
                yield loaded_item

    written = write(batch.split, ready())
    return WrittenBatch(batch.split, written, counts, problems, rows)


def longest(batch: Batch) -> float:
    """Seconds that the work may take before its worker is taken for lost."""
    return batch.size / SLOWEST


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
