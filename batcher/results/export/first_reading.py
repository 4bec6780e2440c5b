"""What is learned of all pictures of an export before one of them is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from batcher.results.export.columns import Columns
from batcher.results.export.items import ExportItem
from batcher.results.export.leading_rows import LeadingRows
from batcher.results.export.metadata_files import INSTANCE_MASK, MASK
from batcher.results.export.placed_objects import ObjectFacts


@dataclass(slots=True)
class FirstReading:
    """The columns; `showing`: pictures whose row shows the type of one first; `leading`: those that a split
    may begin with; `objects`; the `suffix` of the first picture; `unplaced`: of which picture, first, nobody
    knows where its objects lie, and why."""

    of_objects: bool
    columns: Columns = field(default_factory=Columns)
    showing: set[str] = field(default_factory=set)
    leading: LeadingRows = field(default_factory=LeadingRows)
    objects: ObjectFacts = field(default_factory=ObjectFacts)
    suffix: str = ""
    unplaced: str = ""

    def learn(self, item: ExportItem) -> None:
        """One more delivered picture."""
        if self.of_objects:
            self.objects.learn(item)
            if item.unplaced:
                self.unplaced = self.unplaced or f"{item.address}: {item.unplaced}"
                return
        masks = {
            MASK: item.name if item.mask else None,
            INSTANCE_MASK: item.name if item.instance_mask else None,
        }
        if self.columns.meet(item.split, {**item.values, **masks}):
            self.showing.add(item.name)
        self.leading.meet(item.split, item.name, item.values)
        self.suffix = self.suffix or Path(item.name).suffix.lower()
