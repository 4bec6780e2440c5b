"""Rows whose labels cannot be read, told before their picture is paid for.

Rule: labels are looked at only where they will be carried: where the model's geometry is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from batcher import errors
from batcher.errors import Problem
from batcher.job import geometry
from batcher.job.geometry import LabelError, Labels
from batcher.job.inputs import InputsContext
from batcher.job.labels.label_files import (
    VOC,
    annotation_of,
    label_file,
    read_annotation,
    read_label_file,
    unread_form,
)
from batcher.job.labels.picture_size import of_another_size
from batcher.job.labels.uncarried import UncarriedLabels
from batcher.job.manifest.templates import Template, TemplateError, compile_template
from batcher.job.row import Row
from batcher.storage import pictures
from batcher.storage.addresses import is_stored, is_url, resolve

LABELLED = frozenset({"boxes", "objects", "labels", "mask"})
"""Columns that may hold labels."""

HELD = 10_000
"""Label files whose verdict is kept: a picture comes once for each row of the other sources."""


def check_labels(rows: Iterable[Row], context: InputsContext, parameter: str) -> Iterator[Row]:
    """The rows but for those whose `boxes` or `labels` are none, or whose mask is not their picture's, which
    is what stands at `parameter`. What looks like labels and is not carried is told in the end."""
    check = _LabelCheck(context, parameter)
    yield from _right(rows, check, context)
    for sentence in check.uncarried.sentences():
        context.diagnostics.warn(sentence)


def _right(rows: Iterable[Row], check: _LabelCheck, context: InputsContext) -> Iterator[Row]:
    for row in rows:
        wrong = check.of(row)
        if wrong is None:
            yield row
            continue
        column, why = wrong
        source = row.part(column)
        # The file stands before every problem already; a row of a listing is named by it alone.
        which = _which(source)
        context.diagnostics.row(Problem(f"{which}: {why}" if which else why, source.file, source.line))


def _which(row: Row) -> str:
    """The row in its file: by its picture where it has no line there, as in a COCO file."""
    name, image = row.columns.get("name"), row.columns.get("image")
    if not row.parts and not row.line and isinstance(image, str) and os.path.basename(image) == name:
        folder = row.columns.get("folder")
        return (f"{folder}/{name}" if folder else str(name)) if row.number else ""
    if row.parts:
        return row.origin
    return f"row {row.number}" if row.number else ""


class _LabelCheck:
    """What is wrong with the labels of rows; what many rows share is looked at once."""

    def __init__(self, context: InputsContext, parameter: str) -> None:
        manifest = context.manifest
        self._picture_of = _template(manifest.params.get(parameter))
        self.uncarried = UncarriedLabels(_variables(manifest.params))
        self._folder = str(manifest.folder)
        self._near_files = context.near_files
        # A mask that the body names is checked as every input is.
        self._looks_at_masks = "mask" not in _variables(manifest.params)
        self._of_file = lru_cache(maxsize=HELD)(_wrong_file)
        self._of_mask = lru_cache(maxsize=HELD)(_wrong_mask)

    def of(self, row: Row) -> tuple[str, str] | None:
        """The column that is wrong, and why in words; None: nothing is."""
        labelled = bool(LABELLED & row.columns.keys())
        if not labelled and not self.uncarried.looks:
            return None
        picture = self._picture(row)
        self.uncarried.look(row.columns, picture)
        if not labelled:
            return None
        if (why := self._of_labels(row, picture)) is not None:
            return why
        mask = row.columns.get("mask")
        if not self._looks_at_masks or not isinstance(mask, str) or not os.path.isabs(mask):
            return None
        if picture is None or is_stored(picture):
            return None
        reason = self._of_mask(mask, picture)
        return None if reason is None else ("mask", reason)

    def _picture(self, row: Row) -> str | None:
        """Where the row's picture lies; None where nobody can say. The plan looks in the same places."""
        column = (self._picture_of and self._picture_of.lone) or "image"
        image = row.columns.get(column)
        if self._picture_of is not None and not self._picture_of.lone:
            try:
                template = self._picture_of
                image = template.source if template.constant else template.render(row.columns)
            except TemplateError:  # of axes too: nobody can say before a task is made
                image = row.columns.get("image")
        if not isinstance(image, str) or not image or is_url(image) or "\0" in image:
            return None
        paths = [resolve(start, image) for start in (row.part(column).folder, self._folder) if start]
        there = next((path for path in paths if is_stored(path) or os.path.isfile(path)), None)
        return there or next(filter(None, map(self._near_files.find, paths)), None)

    def _of_labels(self, row: Row, picture: str | None) -> tuple[str, str] | None:
        column = "boxes" if row.columns.get("boxes") is not None else "objects"
        if row.columns.get(column) is not None:
            reason = _wrong_boxes(row.columns, picture, _voc_file(row.part(column), picture))
            return None if reason is None else (column, reason)
        if other := unread_form(row.columns.get("labels")):
            return "labels", other
        path = None if picture is None else label_file(row.columns, picture)
        if path is None:
            return None
        reason = self._of_file(path, picture if path.lower().endswith(VOC) else None)
        return None if reason is None else ("labels", reason)


def _voc_file(row: Row, picture: str | None) -> str | None:
    """The annotation that the boxes of a picture of a Pascal VOC folder come from; None: it is none."""
    if picture is None or row.file != picture or is_stored(picture):
        return None
    path = annotation_of(picture)
    return path if path is not None and os.path.isfile(path) else None


def _wrong_boxes(columns: Mapping[str, Any], picture: str | None, voc_file: str | None) -> str | None:
    """Boxes that are none, or one that lies outside its picture, where that is on this disk; `voc_file` is
    the annotation that they stand in."""
    try:
        labels = geometry.from_row(columns)
    except LabelError as error:
        return str(error)
    stray = None if labels is None else _stray(labels, picture, voc=voc_file is not None)
    return stray if stray is None or voc_file is None else f"{voc_file}: {stray}"


def _stray(labels: Labels, picture: str | None, *, voc: bool) -> str | None:
    """A box that lies outside its picture, or a mask of another size, where that is on this disk."""
    if not labels.boxes or picture is None or is_stored(picture):
        return None
    try:
        with open(picture, "rb") as file:
            return geometry.misfit(labels, pictures.upright_size(file), voc=voc)
    except (OSError, errors.BadDownload):
        # What is wrong with the picture itself is told where it is sent.
        return None


def _wrong_file(path: str, picture: str | None) -> str | None:
    """A label file that is missing or none, or, where it counts in pixels, has a box outside `picture`, or is
    of one of another size."""
    try:
        if not path.lower().endswith(VOC):
            read_label_file(path, (1, 1))  # shares of its picture, whatever its size
            return None
        found = read_annotation(path)
        stray = _stray(found.labels, picture, voc=True)
        if stray is None and picture is not None and found.labels.boxes:
            stray = of_another_size(picture, *found.size) or None
    except LabelError as error:
        return f"{path}: {error}"
    return None if stray is None else f"{path}: {stray}"


def _wrong_mask(mask: str, picture: str) -> str | None:
    """The mask of a picture, both on this disk, that is no picture or has another shape."""
    sizes = []
    for path in (picture, mask):
        try:
            with open(path, "rb") as file:
                sizes.append(pictures.upright_size(file))
        except (OSError, errors.BadDownload) as error:
            # What is wrong with the picture itself is told where it is sent.
            reason = error.message if isinstance(error, errors.BadDownload) else error.strerror
            return f"the mask {mask}: {reason}" if path == mask else None
    if geometry.same_shape(sizes[1], sizes[0]):
        return None
    (width, height), (across, down) = sizes
    return f"the mask {mask} ({across} x {down}) has not the shape of its picture ({width} x {height})"


def _template(value: Any) -> Template | None:
    """The template of the parameter that holds the picture; of a list, that of its first."""
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    try:
        return compile_template(value) if isinstance(value, str) else None
    except TemplateError:
        return None


def _variables(value: Any) -> set[str]:
    """The variables in these templates."""
    if isinstance(value, str):
        try:
            return set(compile_template(value).variables)
        except TemplateError:
            return set()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return set().union(*map(_variables, inner))
