"""What a form of a dataset must be able to do, and which forms there are.

Rule: a new form is a member of ExportFormat, a Writer of its own and its case in exporter.py; nothing else
knows their number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol

from batcher.results.export.items import ExportItem
from batcher.results.export.loading import LoadedItem


class ExportFormat(StrEnum):
    """The words of `export --to`."""

    IMAGEFOLDER = "imagefolder"
    WEBDATASET = "webdataset"
    PARQUET = "parquet"
    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"


OF_OBJECTS = frozenset({ExportFormat.COCO, ExportFormat.YOLO, ExportFormat.VOC})
"""The forms in which detectors are trained: a picture's objects are what they are for."""

UPRIGHT: Mapping[ExportFormat, Literal["labelled", "all"]] = {
    ExportFormat.WEBDATASET: "labelled",
    **dict.fromkeys(OF_OBJECTS, "all"),
}
"""Forms whose readers do not turn a picture as EXIF says, and which originals are turned for them."""

Write = Callable[[str, Iterator[LoadedItem]], Any]
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
    def leads(self) -> Collection[str]:
        """Names of delivered pictures that go first, each in a piece of work of its own."""

    @property
    def about(self) -> str:
        """A sentence or two for the card: what lies where. Empty where `datasets` needs none."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader should know."""

    def tops(self, splits: Collection[str]) -> Sequence[str]:
        """The folders in the dataset's own that it makes for these splits."""

    def named(self, item: ExportItem) -> ExportItem:
        """The item as this form calls it."""

    def take(self, split: str, written: Any) -> None:
        """What `write` returned for pictures of this split, in their order."""

    def files(self, split: str) -> Sequence[str]:
        """Patterns of what the split has by now, relative to the dataset, by which `datasets` finds it all;
        none where it cannot."""

    def finish(self) -> None:
        """All was taken: what is still unfinished takes its place."""

    def close(self) -> None:
        """Leaves nothing open, whatever happened."""
