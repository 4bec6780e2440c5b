"""Companions: the file that lies beside a row's picture, by a template of its columns.

    a picture, a mask     its absolute path
    a .txt                its text, as a caption is kept beside a picture
    labels                its path, whatever it ends in: label files are read where they are judged

Rule: a companion that is missing is never passed over in silence. What it means says `missing`: the row is
wrong (error), left out (skip), or without that (empty). A picture without a label file is one without boxes,
as trainers read it, unless the manifest says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from batcher.errors import Problem
from batcher.job.inputs.context import InputsContext
from batcher.job.manifest.templates import TemplateError, compile_template
from batcher.job.manifest.variables import unknown_variable
from batcher.job.row import Row
from batcher.progress.summary import several
from batcher.storage import stores
from batcher.storage.addresses import is_stored, is_url

LABELS = "labels"
TEXT_SUFFIX = ".txt"
LARGEST_TEXT = 1_000_000
"""Bytes of a text companion."""


class Companions:
    """The companions of one source; paths start from the manifest's folder."""

    def __init__(self, context: InputsContext, index: int) -> None:
        self._manifest = context.manifest
        source = self._manifest.inputs[index]
        self._index = index
        self._templates = {name: compile_template(text) for name, text in source.companions.items()}
        self._missing = {
            name: "empty" if name == LABELS and "missing" not in source.model_fields_set else source.missing
            for name in source.companions
        }
        self._diagnostics = context.diagnostics
        self._near_files = context.near_files
        self._reported: set[str] = set()
        self._rows = 0
        self._skipped = 0
        self._first_skipped = ""
        self._without: dict[str, tuple[int, str]] = {}

    def with_companions(self, row: Row) -> Row | None:
        """The row with its companions as columns; None where it cannot be used."""
        self._rows += 1
        columns = dict(row.columns)
        for name, path in self.paths(row):
            if path is None:
                return None
            if name in row.columns:
                self._error(name, f"the companion `{name}` has the name of a column of its source")
                return None
            if path and not self._is_there(name, path):
                path = self._near_files.find(path) or path
            if path and self._is_there(name, path):
                try:
                    columns[name] = self._text(name, path) if self._is_text(name, path) else path
                except ValueError as error:
                    self._diagnostics.row(Problem(f"{row.origin}: {error}", row.file, row.line))
                    return None
            elif self._missing[name] == "empty":
                columns = {**self._of_none(name, path), **columns}
                number, first = self._without.get(name, (0, ""))
                self._without[name] = (number + 1, first or row.origin)
            else:
                self._lacks(name, path, row)
                return None
        return row._replace(columns=columns)

    def paths(self, row: Row) -> Iterator[tuple[str, str | None]]:
        """Each companion's name and absolute path: empty where a column of it is null, None (and a problem)
        where its template fails."""
        for name, template in self._templates.items():
            try:
                text = template.source if template.constant else str(template.render(row.columns))
            except TemplateError as error:
                if error.is_null:
                    yield name, ""
                    continue
                message = str(error)
                if error.variable:
                    message = unknown_variable(error.variable, row.columns, seeded=True)
                self._error(name, message)
                yield name, None
                continue
            yield name, text if is_url(text) else self._manifest.resolve(text.replace("\0", "_"))

    def finish(self) -> None:
        """Tells how many rows have no companion, and what became of them."""
        if self._skipped:
            rows = several(self._skipped, "row is", "rows are")
            self._diagnostics.warn(f"{rows} left out for want of a companion (first: {self._first_skipped})")
        for name, (number, first) in self._without.items():
            rows = several(number, "row has", "rows have")
            pictures = "its picture is" if number == 1 else "their pictures are"
            meaning = f"{pictures} taken to have no boxes" if name == LABELS else "it is empty there"
            self._diagnostics.warn(f"{rows} no {name}: {meaning} ({number} of {self._rows}, first: {first})")

    def _lacks(self, name: str, path: str, row: Row) -> None:
        if self._missing[name] == "skip":
            reason = f"{row.origin} has no {name} {path}".rstrip()
            self._skipped += 1
            self._first_skipped = self._first_skipped or reason
            self._diagnostics.skip(Problem(reason, row.file, row.line))
        else:
            hint = self._near_files.hint(path) if path else ""
            why = f"there is no file {path}{hint}" if path else "a column of its name is null"
            self._diagnostics.error(self._problem(name, f"{row.origin} has no {name}: {why}"))

    def _is_there(self, name: str, path: str) -> bool:
        if not is_stored(path):
            return is_url(path) or os.path.isfile(path)
        try:
            stores.stat(path)
        except (FileNotFoundError, IsADirectoryError):
            return False
        except stores.MissingExtra as error:
            self._diagnostics.fatal(self._problem(name, str(error)))
        except OSError as error:
            self._diagnostics.fatal(self._problem(name, f"{path} cannot be read: {error.strerror or error}"))
        return True

    def _is_text(self, name: str, path: str) -> bool:
        return name != LABELS and path.lower().endswith(TEXT_SUFFIX) and not is_url(path)

    def _text(self, name: str, path: str) -> str:
        """The text of a companion. Raises ValueError with what is wrong with it."""
        try:
            content = stores.first_bytes(path, LARGEST_TEXT + 1)
        except OSError as error:
            raise ValueError(f"the {name} {path} cannot be read: {error.strerror or error}") from None
        if len(content) > LARGEST_TEXT:
            raise ValueError(f"the {name} {path} is larger than {LARGEST_TEXT // 1_000_000} MB")
        try:
            return content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"the {name} {path} is not UTF-8 text; save it as UTF-8") from None

    def _of_none(self, name: str, path: str) -> dict[str, Any]:
        """The columns of a row without that companion."""
        if name == LABELS:
            return {LABELS: None, "boxes": [], "box_classes": []}
        return {name: "" if self._is_text(name, path or self._templates[name].source) else None}

    def _problem(self, name: str, message: str) -> Problem:
        return self._manifest.problem(("inputs", self._index, "companions", name), message)

    def _error(self, name: str, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            self._diagnostics.error(self._problem(name, message))
