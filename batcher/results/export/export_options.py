"""What is asked for of an export, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.results.export.object_files import RESERVED
from batcher.results.export.splits import Splits
from batcher.results.export.writer import OF_OBJECTS, ExportFormat


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is asked for: the form, the folder, the splits; `originals`: the sources beside their variants;
    `resplit`: they are drawn also where rows have a split of their own; `exclude`: a file that names rejected
    pictures, `allow_missing`: also such as are not there; `current`: no picture of tasks that the manifest
    has no more; `captions`: the template of the text beside each;
    `mask_outside`: what masks say where the source does not lie, None: as the job, or the mask itself, says;
    `command`: what asked for it, for the card."""

    to: ExportFormat
    into: Path
    splits: Splits | None = None
    originals: bool = False
    exclude: Path | None = None
    resplit: bool = False
    allow_missing: bool = False
    current: bool = False
    captions: str | None = None
    mask_outside: int | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What left; `captions` is None where none were asked for. `missing` names what should have left and
    could not, with the reason; `notes` are sentences."""

    to: str
    into: Path
    pictures: int
    originals: int
    masks: int
    captions: int | None
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
            **({} if self.captions is None else {"captions": self.captions}),
            "splits": dict(self.splits),
            "excluded": self.excluded,
            "missing": list(self.missing),
            "notes": list(self.notes),
        }


def refuse_names(to: ExportFormat, splits: Iterable[str]) -> None:
    """Raises UsageError where a split would lie where the form itself puts something."""
    taken = RESERVED & {name.lower() for name in splits}
    if to in OF_OBJECTS and taken:
        raise errors.UsageError(
            f"the split {min(taken)} would lie where the form {to} has a folder of its own; call it otherwise"
        )
