"""A delivered picture, and its original, as they leave: file, columns, mask.

Rule: paths of this machine stay here; a file is named by its place in the export, or by its name alone.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from batcher.job.geometry import LABEL_COLUMNS, Geometry, are_objects
from batcher.job.labels import names_label_file
from batcher.ledger import database, records
from batcher.ledger.corrected_labels import CorrectedLabels
from batcher.ledger.plan_models import PlanModels
from batcher.ledger.records import DeliveredPicture
from batcher.results.export.dataset_labels import DatasetLabels
from batcher.results.export.exclusion import Exclusion
from batcher.results.export.originals import OriginalPicture, Originals, source_of
from batcher.results.export.own_splits import OwnSplits
from batcher.results.export.shared_masks import SharedMasks
from batcher.results.export.splits import Splits
from batcher.storage import stores
from batcher.storage.addresses import is_stored
from batcher.storage.destination import Destination

SAYS_WHICH = "is_original"
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}")
ORIGINALS = "originals"
"""The folder of the sources."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask of the source, and where it is to be laid; `placement` None: it leaves as it is. `fitting`: one
    of another shape than the source is not the source's."""

    path: str
    placement: Mapping[str, int] | None
    size: tuple[int, int]
    fitting: bool = False


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One picture that leaves as `folder/name`: its columns, its mask of classes and that of instances.

    `address` is where it lies: a path of this disk or an object of a store. `size` is its bytes, as far as
    they are known; `delivered_at` says when its file stood there, if that is ours. `digest` is given where
    the file is not ours and has to be looked at. `key` is what a form calls it that has no folders, `number`
    what one calls it that counts. `caption` is the text beside it: None where none was asked for, empty where
    it has none. `unplaced`: it has objects, of which nobody knows where they lie in it, and why not; empty
    where that is known, or it has none.
    """

    split: str
    folder: str
    name: str
    address: str
    values: Mapping[str, Any]
    size: int
    mask: Mask | None = None
    instance_mask: Mask | None = None
    digest: str = ""
    key: str = ""
    number: int = 0
    caption: str | None = None
    unplaced: str = ""
    delivered_at: float = 0.0


class ExportItems:
    """The delivered pictures of one ledger but for the excluded ones, read twice: `looked`, then `items`.

    `resplit`: the `splits` are drawn, whatever rows name. `current`: pictures of tasks that the present plan
    has no more are excluded too; else `left_plan` counts them. `own_splits` are those that rows name.
    `labels` are those of the job's data sets as they are now.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        pictures: Destination,
        splits: Splits,
        exclusion: Exclusion,
        *,
        originals: bool,
        resplit: bool = False,
        current: bool = False,
        labels: DatasetLabels | None = None,
    ) -> None:
        self._connection = connection
        self._pictures = pictures
        self._splits = splits
        self._resplit = resplit
        self.own_splits = OwnSplits()
        self._exclusion = exclusion
        self._current = current
        self._plan = int(database.meta(connection, "plan") or 0)
        self._originals = Originals() if originals else None
        self._models = PlanModels(connection)
        self.excluded = self.left_plan = 0
        self.unreadable: list[str] = []
        self.unplaced_masks = 0
        self.shared_masks = Counter[str]()
        """Of how many pictures a mask was left out that serves several, by its name."""
        self._shared = SharedMasks(connection)
        self._labels = labels
        self.corrected = self._corrected()
        """What is in an object store was read anew by the last plan."""
        self.unread_labels = "" if labels is None else labels.sentence()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.own_splits.close()
        if self._labels is not None:
            self._labels.close()
        if self._originals is not None:
            self._originals.close()

    def looked(self) -> Iterator[ExportItem]:
        """Every variant, to be learned from."""
        for picture in records.pictures(self._connection, corrected=self.corrected):
            if self._excludes(picture):
                self.excluded += 1
                continue
            self.left_plan += picture.plan != self._plan
            if "labels_problem" in picture.line:
                self.unreadable.append(str(picture.line["labels_problem"]))
            mask = self._mask_of(picture)
            self.unplaced_masks += "placement" not in picture.line and mask is not None
            if mask is None and (shared := mask_of(picture)) is not None:
                self.shared_masks[os.path.basename(shared)] += 1
            item, group = self._variant(picture), source_of(picture, self._rule_of(picture)).group
            if not self._resplit:
                self.own_splits.learn(group, self.own_splits.of(picture.columns))
            if self._originals is not None:
                self._originals.learn(group, picture, item.values)
            yield item

    def _excludes(self, picture: DeliveredPicture) -> bool:
        named = self._exclusion.excludes(picture)
        return named or (self._current and picture.plan != self._plan)

    def know_rejected(self) -> None:
        """Pictures that were set aside are left out anyway: an entry that names one names a picture."""
        for rejected in records.rejected_pictures(self._connection):
            self._exclusion.excludes(rejected)

    def _corrected(self) -> CorrectedLabels:
        return (
            CorrectedLabels(stored=False)
            if self._labels is None
            else CorrectedLabels(stored=False, of_row=self._labels.now)
        )

    def _pictures_again(self) -> Iterator[DeliveredPicture]:
        """Every delivered picture; what is corrected was counted when it was looked at."""
        return records.pictures(self._connection, corrected=self._corrected())

    def leading(self, names: Collection[str]) -> Iterator[ExportItem]:
        """The variants of these names."""
        waiting = set(names)
        for picture in self._pictures_again() if waiting else ():
            if Path(str(picture.line["file_name"])).name in waiting and not self._excludes(picture):
                item = self._variant(picture)
                yield item
                waiting.discard(item.name)
                if not waiting:
                    return

    def items(self, without: Collection[str] = ()) -> Iterator[ExportItem]:
        """Every variant but those of the names in `without`, and after the first of each source the source
        itself, where it is a file."""
        for picture in self._pictures_again():
            if self._excludes(picture):
                continue
            item = self._variant(picture)
            if item.name not in without:
                yield item
            if self._originals is not None:
                source = source_of(picture, self._rule_of(picture))
                if source.path is not None and self._originals.first(source.group):
                    yield self._original(source, picture, item)

    def _split_of(self, picture: DeliveredPicture, source: OriginalPicture) -> str:
        """What its row names; else, where no row names any, what is drawn by its source."""
        own = None if self._resplit else self.own_splits.of(picture.columns)
        if own is None and self.own_splits.names:
            return self.own_splits.without
        return own or self._splits.of(source.group)

    def _rule_of(self, picture: DeliveredPicture) -> Geometry | None:
        return self._models.geometry(str(picture.line["model"]))

    def _mask_of(self, picture: DeliveredPicture) -> str | None:
        """The mask that is a label of a picture's source."""
        mask = mask_of(picture)
        own = mask is None or _file_in(picture, "mask") is not None or not self._shared.has(mask)
        return mask if own else None

    def _variant(self, picture: DeliveredPicture) -> ExportItem:
        source = source_of(picture, self._rule_of(picture))
        line = dict(picture.line)
        name = Path(str(line.pop("file_name"))).name
        line.pop("labels_problem", None)
        values = {_plain(column): _here(value) for column, value in line.items()}
        if _has_none(picture.columns):
            values.setdefault("boxes", [])
        if source.path is not None:
            values["source_sha256"] = source.group
            if self._originals is not None:
                values["source_image"] = f"originals/{self._originals.name(source, picture)}"
        if self._originals is not None:
            values[SAYS_WHICH] = False
        size = (line["width"], line["height"])
        # What the model got as its mask it fitted itself; a placement that is stretched has no shape to keep.
        rule = self._rule_of(picture)
        fitting = "mask" not in picture.media and rule is not None and rule.fit != "stretch"
        masks = [
            Mask(path, line["placement"], size, fitting) if path and "placement" in line else None
            for path in (self._mask_of(picture), instance_mask_of(picture))
        ]
        return ExportItem(
            self._split_of(picture, source),
            "images",
            name,
            self._pictures.address(f"images/{name}"),
            values,
            picture.size,
            mask=masks[0],
            instance_mask=masks[1],
            unplaced=_unplaced(picture),
            delivered_at=picture.delivered_at,
        )

    def _original(
        self, source: OriginalPicture, picture: DeliveredPicture, variant: ExportItem
    ) -> ExportItem:
        assert source.path is not None
        assert self._originals is not None
        values = {
            column: value
            for column, value in variant.values.items()
            if column in self._originals.common(source.group)
        }
        values |= {"sha256": source.group, "source_sha256": source.group, SAYS_WHICH: True}
        for column in LABEL_COLUMNS:
            if f"source_{column}" in picture.line:
                values[column] = values[f"source_{column}"] = picture.line[f"source_{column}"]
        name = self._originals.name(source, picture)
        values["source_image"] = f"originals/{name}"
        masks = [
            Mask(path, None, (0, 0)) if path else None
            for path in (self._mask_of(picture), instance_mask_of(picture))
        ]
        size = variant.size if is_stored(source.path) else _size_of(source.path)
        return ExportItem(
            variant.split,
            ORIGINALS,
            name,
            source.path,
            values,
            size,
            mask=masks[0],
            instance_mask=masks[1],
            digest=source.group,
            unplaced=_wrong(picture),
        )


def mask_of(picture: DeliveredPicture) -> str | None:
    """The mask of a picture's source: a file that a column or a parameter `mask` names."""
    if (beside := _file_in(picture, "mask")) is not None:
        return beside
    return str(picture.params["mask"]) if "mask" in picture.media else None


def instance_mask_of(picture: DeliveredPicture) -> str | None:
    """The mask of a source in which each object has a number of its own: a file that a column names."""
    return _file_in(picture, "instance_mask")


def _file_in(picture: DeliveredPicture, column: str) -> str | None:
    named = picture.columns.get(column)
    return named if isinstance(named, str) and (os.path.isabs(named) or is_stored(named)) else None


def _wrong(picture: DeliveredPicture) -> str:
    """What is wrong with the labels of its source; empty: nothing, or it has none."""
    return str(picture.line.get("labels_problem", ""))


def _unplaced(picture: DeliveredPicture) -> str:
    """Why nobody knows where the objects of its source lie in a delivered picture; empty: that is known, or
    it has none."""
    if wrong := _wrong(picture):
        return wrong
    columns = picture.columns
    labelled = (
        columns.get("boxes") is not None
        or names_label_file(columns.get("labels"))
        or are_objects(columns.get("objects"))
    )
    if not labelled or "boxes" in picture.line or _has_none(columns):
        return ""
    return "it has objects, and it is not known where they lie in it"


def _has_none(columns: Mapping[str, Any]) -> bool:
    """Whether a row says that its picture has no objects: then none lies anywhere in what is made of it."""
    boxes = columns.get("boxes")
    return boxes == [] or (isinstance(boxes, str) and boxes.strip() == "[]")


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0  # that it is not there is told when its turn comes


def _plain(column: str) -> str:
    """Readers of image folders take every `..._file_name` for a picture, and masks are the export's own."""
    if column in ("mask", "instance_mask"):
        return f"source_{column}"
    for ending in ("_file_name", "_file_names"):
        if column.endswith(ending):
            return f"{column.removesuffix(ending)}_file"
    return "files" if column == "file_names" else column


def _here(value: Any) -> Any:
    """A path of this machine says nothing elsewhere: its last part does. So in lists and mappings."""
    if isinstance(value, list):
        return [_here(one) for one in value]
    if isinstance(value, dict):
        return {name: _here(one) for name, one in value.items()}
    if not isinstance(value, str):
        return value
    if stores.dataset_cells.is_cell(value):
        return stores.dataset_cells.name_of(value)
    is_path = os.path.isabs(value) and "\n" not in value
    return os.path.basename(value) if is_path and _names_file(value) else value


def _names_file(path: str) -> bool:
    """Whether a text that begins as a path is one, and no prompt: by how it ends, or since it is there."""
    return _SUFFIX.fullmatch(os.path.splitext(path)[1]) is not None or os.path.lexists(path)
