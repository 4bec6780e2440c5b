"""Companions: the file that lies beside a row's picture, by a template of its columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from batcher import stores
from batcher.errors import ManifestError, Problem
from batcher.manifest import Manifest
from batcher.manifest.checks import unknown_variable
from batcher.manifest.templates import TemplateError, compile_template
from batcher.plan import Row, is_stored, is_url
from batcher.sources.problems import Problems


class Companions:
    """The companions of one source; paths start from the manifest's folder."""

    def __init__(
        self, manifest: Manifest, index: int, problems: Problems, note: Callable[[str], None]
    ) -> None:
        source = manifest.inputs[index]
        self._manifest = manifest
        self._index = index
        self._templates = {name: compile_template(text) for name, text in source.companions.items()}
        self._skip = source.missing == "skip"
        self._problems = problems
        self._note = note
        self._told: set[str] = set()
        self._skipped = 0
        self._first = ""

    def beside(self, row: Row) -> Row | None:
        """The row with its companions as columns; None where one is missing."""
        columns = dict(row.columns)
        for name, path in self.paths(row):
            if path is None:
                return None
            if self._is_there(name, path):
                if name in row.columns:
                    self._tell(name, f"the companion `{name}` has the name of a column of its source")
                    return None
                columns[name] = path
            elif self._skip:
                self._skipped += 1
                reason = f"{row.origin} has no {name} {path}"
                self._first = self._first or reason
                self._problems.passed_over(Problem(reason, row.file, row.line))
                return None
            else:
                message = f"{row.origin} has no {name}: there is no file {path}"
                self._problems.at(self._key(name), message)
                return None
        return row._replace(columns=columns)

    def paths(self, row: Row) -> Iterator[tuple[str, str | None]]:
        """Each companion's name and absolute path; None (and a problem) where its template fails."""
        for name, template in self._templates.items():
            try:
                text = template.source if template.constant else str(template.render(row.columns))
            except TemplateError as error:
                message = str(error)
                if error.variable:
                    message = unknown_variable(error.variable, row.columns, seeded=True)
                self._tell(name, message)
                yield name, None
                continue
            yield name, text if is_url(text) else self._manifest.resolve(text.replace("\0", "_"))

    def _is_there(self, name: str, path: str) -> bool:
        if not is_stored(path):
            return is_url(path) or os.path.isfile(path)
        try:
            stores.stat(path)
        except (FileNotFoundError, IsADirectoryError):
            return False
        except stores.MissingExtra as error:
            raise ManifestError([self._manifest.problem(self._key(name), str(error))]) from None
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror or error}"
            raise ManifestError([self._manifest.problem(self._key(name), message)]) from None
        return True

    def _key(self, name: str) -> tuple[str | int, ...]:
        return "inputs", self._index, "companions", name

    def finish(self) -> None:
        """Tells how many rows were left out."""
        if self._skipped:
            rows = "1 row is" if self._skipped == 1 else f"{self._skipped} rows are"
            self._note(f"{rows} left out for want of a companion (first: {self._first})")

    def _tell(self, name: str, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._problems.at(self._key(name), message)
