"""Manifest and rows -> tasks, one by one, with keys that stay the same.

Rule: a task's key and seed hang on what it sends, and on nothing else: other rows, columns and axes may
come and go. Everything of the outside comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from batcher.catalog import Model, check, count
from batcher.errors import ManifestError, Problem
from batcher.manifest import Manifest
from batcher.manifest.checks import unknown_axis, unknown_variable
from batcher.manifest.templates import TemplateError
from batcher.plan.body import Body, Measure
from batcher.plan.files import Digest
from batcher.plan.matrix import Cell, Cells
from batcher.plan.names import Names
from batcher.plan.parts import BadValue, Part
from batcher.plan.rows import Row
from batcher.plan.unused import unused
from batcher.task import Task

MAX_PROBLEMS = 20
MORE = Problem(f"the first {MAX_PROBLEMS} problems are told; there may be more")

Point = Callable[[Row, str], tuple[int, str]]
"""Where in its line a row's column stands (from 1; 0 = unknown), and that line."""


def nowhere(row: Row, column: str) -> tuple[int, str]:
    """For rows of which only file and line are known."""
    return 0, ""


def unmeasured(picture: str) -> tuple[int, int]:
    """For a plan that opens no picture."""
    raise ValueError("its size is not known here")


def expand(
    manifest: Manifest,
    model: Model | None,
    rows: Iterable[Row],
    *,
    digest: Digest,
    occurrence: Callable[[bytes], int],
    note: Callable[[str], None],
    measure: Measure = unmeasured,
    point: Point = nowhere,
    skipped: Callable[[Problem], None] | None = None,
    before: Sequence[Problem] = (),
) -> Iterator[Task]:
    """The tasks of a job, lazily: rows, in each the cells of the matrix, in each the repeats.

    `digest` gives the sha256 (hex) of a file's content or raises OSError; `occurrence` how many times it
    was asked for the same identity before in this plan; `note` takes warnings; `measure` gives the size
    of a picture (upright, pixels) or raises OSError, ValueError; `point` helps to point at a cell.
    `skipped` takes what is wrong with single rows (a column that only others have, a picture that is missing,
    unreadable or cannot be arranged), and the rest goes on; without it that is a problem as any other. A cell
    that the model does not take always is one. `before` fills up with what is wrong with rows that were left
    out before they came here: where they leave no task, it is told too.
    Raises ManifestError at the end, or as soon as MAX_PROBLEMS are found; what was given until then is
    no plan.
    """
    plan = _Plan(manifest, model, digest, occurrence, note, measure, point, skipped, before)
    tasks = 0
    try:
        for row in rows:
            plan.look_at(row)
            for cell in plan.cells.of(row):
                columns = {**row.columns, **cell}
                for repeat in range(manifest.repeat):
                    task = plan.task(row, cell, columns, repeat)
                    if task is not None and not plan.problems:
                        tasks += 1
                        yield task
    except ManifestError as error:
        raise ManifestError([*plan.in_order(), *error.problems]) from None
    plan.finish(tasks)


class _Plan:
    """What the tasks of one expansion have in common."""

    def __init__(
        self,
        manifest: Manifest,
        model: Model | None,
        digest: Digest,
        occurrence: Callable[[bytes], int],
        note: Callable[[str], None],
        measure: Measure,
        point: Point,
        skipped: Callable[[Problem], None] | None,
        before: Sequence[Problem],
    ) -> None:
        self.manifest = manifest
        self.model = model
        self.cells = Cells(manifest.matrix)
        self.body = Body(manifest, model, digest, measure)
        self.names = Names(manifest, self.body.variables)
        self.problems: dict[Problem, None] = {}
        self._occurrence = occurrence
        self._note = note
        self._point = point
        self._skipped = skipped
        self._before = before
        self._left_out: tuple[Row | None, set[str]] = (None, set())
        self._unproven: dict[Problem, None] = {}
        self._columns: set[str] = set()
        self._lacking_rows: dict[Problem, tuple[str, list[Problem]]] = {}
        self._noted: set[str] = set()
        self._rows = 0
        self._identical = 0
        self._first_identical = ""
        self._seeded = manifest.seed is not None and bool(self.body.seeded or "seed" in self.names.variables)
        self._tells_seed = self._seeded and "seed" in {*self.body.seeds, *self.names.variables}
        self._several = manifest.repeat > 1
        self._reserved = self.cells.names | {"repeat"} | ({"seed"} if manifest.seed is not None else set())
        self._one_image = model is None or model.count is None
        if model is None:
            note(f"{manifest.model} is not in the catalogue: its parameters are not checked")

    def in_order(self) -> list[Problem]:
        """The problems: those of the manifest in the order of its lines, then those of the rows as read."""
        file = str(self.manifest.path)
        told = [one for problem in self.problems for one in self._lacking_in(problem)]
        return sorted(told, key=lambda p: (0, p.line, p.column) if p.file == file else (1, 0, 0))

    def look_at(self, row: Row) -> None:
        """What concerns a row as such: its column names."""
        self._rows += 1
        self._columns.update(row.columns)
        if clash := self._reserved & row.columns.keys():
            # An include may name a column: it is a condition then.
            for name in sorted(clash & (self.cells.axes.keys() | {"repeat", "seed"})):
                part = row.part(name)
                what = "the axis" if name in self.cells.axes else "the plan's own variable"
                message = f"the column `{name}` has the name of {what} `{name}`; rename one of them"
                # The names of a table's columns stand in its first line.
                named = part._replace(line=1 if part.text else part.line)
                at, excerpt = self._point(named, name)
                self._wrong(Problem(message, part.file, named.line, at, "", excerpt))
        if self.cells.unproven:
            self.cells.unproven -= row.columns.keys()

    def task(self, row: Row, cell: Cell, columns: dict[str, Any], repeat: int) -> Task | None:
        """One task; None where it has problems, which are kept."""
        wrong: list[BadValue] = []
        values: dict[str, Any] = {**columns, "repeat": repeat}
        params, media, text = self.body.fill(row, values, wrong)
        if wrong:
            self._hopeless(wrong, params, row, cell, values)
            return None
        hashed = blake2b(f"{text}\n{repeat}".encode(), digest_size=16)
        again = self._occurrence(hashed.digest())
        if again:
            hashed.update(b"\n%d" % again)
            self._identical += 1
        if self._seeded:
            seeded = f"{self.manifest.seed}\n{self.body.used(values, media)}\n{repeat}\n{again}"
            seed = int.from_bytes(blake2b(seeded.encode(), digest_size=4).digest())
            values["seed"] = seed
            drawn = self.body.fill_seeded(params, media, row, values, seeded, wrong)
            hashed.update(drawn.encode())
            if self._tells_seed:
                columns = {**columns, "seed": seed}
        if self.body.arranges and not wrong:
            self.body.arrange(params, row, wrong)
        if wrong:
            self._hopeless(wrong, params, row, cell, values)
            return None
        if not self._checked(params, row, cell):
            return None
        name = self._name(row, cell, values, again)
        if name is None:
            return None
        if again and not self._first_identical:
            self._first_identical = name
        return Task(
            hashed.hexdigest(),
            name,
            params,
            {**columns, "repeat": repeat} if self._several else columns,
            media,
            repeat,
            1 if self._one_image else count(self.model, params),
        )

    def finish(self, tasks: int) -> None:
        """What only the end can tell. Raises ManifestError when there was any problem."""
        why = () if self.problems else self._before
        if self._rows:
            for name in sorted(self.cells.unproven):
                message = unknown_axis(name, self.cells.axes)
                self.problems[self.manifest.problem(("matrix", "exclude"), message)] = None
            if not tasks and not self.problems and not self._unproven:
                self._wrong(
                    self.manifest.problem(("matrix",), "leaves nothing: every combination is excluded")
                )
        if not tasks:
            self.problems |= dict.fromkeys(why) | self._unproven
        if self.problems:
            raise ManifestError(self.in_order())
        for warning in unused(self.manifest, self.body, self.model):
            self._note(warning)
        if self._identical:
            these = "1 task is" if self._identical == 1 else f"{self._identical} tasks are"
            self._note(f"{these} identical to an earlier one (first: {self._first_identical})")

    def _name(self, row: Row, cell: Cell, values: Mapping[str, Any], again: int) -> str | None:
        try:
            return self.names.of(row, cell, values, again)
        except TemplateError as error:
            message = self._sentence(error, values) if error.variable else str(error)
            problem = self.manifest.problem(("output", "name"), message)
            if self._skipped is not None and self._of_row_only(error.variable):
                self._leave_out(row, self._lacking(row, error.variable, "output.name"), problem)
            else:
                self._unknown(problem, row, error.variable, "output.name")
            return None

    def _checked(self, params: Mapping[str, Any], row: Row, cell: Cell, told: Collection[str] = ()) -> bool:
        """Whether the model takes these parameters, `told` ones aside; warnings are told once per value."""
        if self.model is None:
            return True
        fits = True
        for finding in check(self.model, params, self.manifest.unchecked):
            if finding.parameter in told:
                continue
            if finding.warning:
                warning = f"{finding.parameter}: {finding.message}"
                if warning not in self._noted and len(self._noted) < 1000:
                    self._noted.add(warning)
                    self._note(warning)
                continue
            fits = False
            part = self.body.part(finding.parameter)
            self._wrong(self._placed(part, finding.parameter, finding.message, row, cell))
        return fits

    def _hopeless(
        self,
        wrong: list[BadValue],
        params: Mapping[str, Any],
        row: Row,
        cell: Cell,
        values: Mapping[str, Any],
    ) -> None:
        """Tells what is wrong with a task that cannot be: with its values, and with the rest of it too."""
        if self._leaves_out(wrong, row, values):
            return
        for bad in wrong:
            if bad.variable:
                message = self._sentence(bad, values)
                problem = self.manifest.problem(("params", bad.part.name), message)
                self._unknown(problem, row, bad.variable, f"params.{bad.part.name}")
            else:
                self._wrong(
                    self._of_file(bad, row) or self._placed(bad.part, bad.part.name, str(bad), row, cell)
                )
        told = {bad.part.name for bad in wrong} | {part.name for part in self.body.seeded}
        self._checked(params, row, cell, told)

    def _leaves_out(self, wrong: list[BadValue], row: Row, values: Mapping[str, Any]) -> bool:
        """Whether it is the row alone that is wrong, and the rest may go on: the row is told then, once.

        That a column is nowhere is known at the end only: until then it is kept as a problem.
        """
        if self._skipped is None or not all(self._of_row(bad, row) for bad in wrong):
            return False
        for bad in wrong:
            if bad.variable:
                problem = self._lacking(row, bad.variable, f"params.{bad.part.name}")
                held = self.manifest.problem(("params", bad.part.name), self._sentence(bad, values))
            else:
                own = self._of_file(bad, row)
                held = problem = own or self._placed(bad.part, bad.part.name, str(bad), row, {})
            self._leave_out(row, problem, held)
        return True

    def _leave_out(self, row: Row, problem: Problem, held: Problem | None = None) -> None:
        """`held` is how it is told where nothing is left of the job."""
        assert self._skipped is not None
        if len(self._unproven) < MAX_PROBLEMS:
            self._unproven[held or problem] = None
        if self._left_out[0] is not row:
            self._left_out = (row, set())
        if problem.message not in self._left_out[1]:
            self._left_out[1].add(problem.message)
            self._skipped(problem)

    def _of_row(self, bad: BadValue, row: Row) -> bool:
        if bad.variable:
            return self._of_row_only(bad.variable)
        return bad.picture or (bad.missing and self._hangs_on(bad.part, row))

    def _of_row_only(self, variable: str) -> bool:
        """Whether a variable that is not there could only have been a column."""
        return bool(variable) and variable not in {*self.cells.names, "seed"}

    def _unknown(self, problem: Problem, row: Row, variable: str, key: str) -> None:
        """A variable that is not there, in this row at least: `problem` holds where no other row has it."""
        if self._of_row_only(variable):
            _, rows = self._lacking_rows.setdefault(problem, (variable, []))
            if len(rows) <= MAX_PROBLEMS:
                rows.append(self._lacking(row, variable, key) if len(rows) < MAX_PROBLEMS else MORE)
        self._wrong(problem)

    def _lacking_in(self, problem: Problem) -> list[Problem]:
        """The rows that lack a column which others have, in place of the problem; else that itself."""
        variable, rows = self._lacking_rows.get(problem, ("", []))
        return rows if variable in self._columns else [problem]

    def _lacking(self, row: Row, column: str, key: str) -> Problem:
        source = next(iter(row.parts), row)
        return Problem(f"{row.origin} has no column `{column}`", source.file, source.line, key=key)

    def _hangs_on(self, part: Part, row: Row) -> bool:
        """Whether a value is this row's alone: of its columns, which are not the manifest's own words."""
        own = str(self.manifest.path)
        return bool(part.variables) and all(
            name in row.columns and row.part(name).file != own for name in part.variables
        )

    def _sentence(self, error: TemplateError | BadValue, values: Mapping[str, Any]) -> str:
        return unknown_variable(error.variable, values, seeded=self.manifest.seed is not None)

    def _of_file(self, bad: BadValue, row: Row) -> Problem | None:
        """What is wrong with a file whose name is composed of one row's columns stands at that row."""
        part = bad.part
        if part.lone or not (bad.missing or bad.picture) or not part.variables <= row.columns.keys():
            return None
        sources = {id(one): one for one in map(row.part, part.variables)}
        if len(sources) != 1:
            return None
        (source,) = sources.values()
        where = f"row {source.number}: " if source.number else ""
        column, excerpt = self._point(source, min(part.variables))
        return Problem(f"{where}{bad}", source.file, source.line, column, f"params.{part.name}", excerpt)

    def _placed(self, part: Part | None, name: str, message: str, row: Row, cell: Cell) -> Problem:
        """The problem where its cause stands: a cell of a table, a value of an axis, or the manifest."""
        if part is None or not part.variables:
            return self.manifest.problem(("params", name), message)
        if part.lone and part.lone in cell:
            axis = self.cells.axes.get(part.lone, ())
            at = [i for i, value in enumerate(axis) if value is cell[part.lone]]
            return self.manifest.problem(("matrix", part.lone, *at[:1]), f"{name}: {message}")
        if part.lone and part.lone in row.columns:
            source = row.part(part.lone)
            where = f"row {source.number}, " if source.number else ""
            column, excerpt = self._point(source, part.lone)
            text = f"{where}column `{part.lone}`: {message}"
            return Problem(text, source.file, source.line, column, f"params.{name}", excerpt)
        return self.manifest.problem(("params", name), f"{message} (for {row.origin})")

    def _wrong(self, problem: Problem) -> None:
        self.problems[problem] = None
        if len(self.problems) >= MAX_PROBLEMS:
            raise ManifestError([MORE])
