"""What is wrong with a job's rows: one sink for whatever stage of a planning comes upon it, judged once.

    warn     a sentence for people; nothing stops
    skip     a row lacks what the manifest allows it to lack: it is noted, and no fault
    row      a row cannot be used: it is left out and noted, or, where rows are judged strictly, an error
    error    the job cannot be as it is: the rest is still looked at, so that more is told at once
    fatal    nothing further can be looked at

Rule: nothing that is wrong with a row is passed over in silence. Where no task is left in the end, the faults
of the rows are those of the job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NoReturn

from batcher.errors import ManifestError, Problem

MAX_PROBLEMS = 20
MORE = Problem(f"the first {MAX_PROBLEMS} problems are told; there may be more")

Warn = Callable[[str], None]
RowSink = Callable[[Problem], None]
"""Takes what is wrong with rows that are left out (`skipped_by_manifest`: that may lack it)."""


def silent(sentence: str) -> None:
    """For whoever looks at rows only to look: the plan itself warns."""


class Diagnostics:
    """What is wrong with the rows of one planning. `file` is the manifest, whose problems come first.

    Without a `sink` rows are judged strictly: one wrong row is an error of the job.
    """

    def __init__(self, file: str = "", *, warn: Warn = silent, sink: RowSink | None = None) -> None:
        self.warn = warn
        self.rows = 0
        self.skipped = 0
        self._file = file
        self._sink = sink
        self._errors: dict[Problem, None] = {}
        self._first: dict[Problem, None] = {}
        self._lacking: dict[Problem, tuple[str, list[Problem]]] = {}
        self._columns: set[str] = set()
        self._may_be_empty = False

    @property
    def strict(self) -> bool:
        """Whether a wrong row is an error; so few are told then that each is worth its line and a caret."""
        return self._sink is None

    @property
    def failed(self) -> bool:
        """Whether there was an error: what is planned from here on is no plan."""
        return bool(self._errors)

    @property
    def number(self) -> int:
        """How many errors and wrong rows there were."""
        return len(self._errors) + self.rows

    def error(self, problem: Problem) -> None:
        """Raises ManifestError when there are enough."""
        self._errors[problem] = None
        if len(self._errors) >= MAX_PROBLEMS:
            raise ManifestError([*self._in_order(), MORE])

    def fatal(self, problem: Problem) -> NoReturn:
        """Raises ManifestError with all that was found."""
        raise ManifestError([*self._in_order(), problem])

    def row(self, problem: Problem) -> None:
        """One row cannot be used. Raises ManifestError when there are enough."""
        self._row(problem, problem)

    def lacking(self, row: Problem, column: str, anywhere: Problem, *, of_row: bool = True) -> None:
        """One row lacks a column: `row` tells that, `anywhere` that no row at all has it, which only the end
        knows. It is an error where not the row alone is wrong (`of_row`). Raises ManifestError when there are
        enough."""
        _, rows = self._lacking.setdefault(anywhere, (column, []))
        if len(rows) <= MAX_PROBLEMS:
            rows.append(row if len(rows) < MAX_PROBLEMS else MORE)
        if of_row:
            self._row(row, anywhere)
        else:
            self.error(anywhere)

    def skip(self, problem: Problem) -> None:
        """A row lacks what the manifest allows it to lack."""
        self.skipped += 1
        if self._sink is not None:
            self._sink(replace(problem, skipped_by_manifest=True))

    def seen(self, columns: Iterable[str]) -> None:
        """Some row has these columns."""
        self._columns.update(columns)

    def has_seen(self, column: str) -> bool:
        """Whether some row had this column."""
        return column in self._columns

    def allow_empty(self) -> None:
        """A source that may be empty is: that no task is left has no reason that is to be told."""
        self._may_be_empty = True

    def nothing_left(self) -> None:
        """No row is left: the first of their faults are errors now. Raises ManifestError."""
        first, self._first = self._first, {}
        if not self._may_be_empty:
            for problem in first:
                self.error(problem)

    def judge(self, left: int) -> None:
        """The verdict, when all was looked at and `left` rows, or tasks, are left. Raises ManifestError."""
        if not left and not self._errors:  # what is wrong with the job itself is told alone
            self.nothing_left()
        if self._errors:
            raise ManifestError(self._in_order())

    def _row(self, problem: Problem, error: Problem) -> None:
        if self._sink is None:
            self.error(error)
            return
        self.rows += 1
        if len(self._first) < MAX_PROBLEMS:
            self._first[error] = None
        self._sink(problem)

    def _in_order(self) -> list[Problem]:
        """Those of the manifest in the order of its lines, then those of the rows as read."""
        found = [one for problem in self._errors for one in self._of_rows(problem)]
        return sorted(found, key=lambda p: (0, p.line, p.column) if p.file == self._file else (1, 0, 0))

    def _of_rows(self, problem: Problem) -> list[Problem]:
        """The rows that lack a column which others have, in place of the problem; else that itself."""
        column, rows = self._lacking.get(problem, ("", []))
        return rows if column in self._columns else [problem]
