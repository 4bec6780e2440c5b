"""Manifest and rows -> tasks, one by one, with keys that stay the same.

Rule: a task's key and seed hang on what it sends, and on nothing else: other rows, columns and axes may
come and go. Everything of the outside comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from batcher.errors import Problem
from batcher.job.catalog import Model, check, count
from batcher.job.diagnostics import Diagnostics
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import TemplateError
from batcher.job.manifest.variables import unknown_axis, unknown_variable
from batcher.job.plan.body import Body
from batcher.job.plan.matrix import Combination, Combinations
from batcher.job.plan.names import OutputNames
from batcher.job.plan.param_templates import BadValue, ParamTemplate, TemplateFault
from batcher.job.plan.plan_context import PlanContext
from batcher.job.plan.unused_pictures import unused_pictures
from batcher.job.row import Row
from batcher.progress.summary import several
from batcher.task import Task

MAX_WARNINGS = 1000
"""Different ones, of values that a model may not take."""


OF_COLUMNS = frozenset({TemplateFault.EMPTY, TemplateFault.MISSING, TemplateFault.PICTURE})
"""What is wrong with a value that is put together of columns, and stands at their row."""


def expand(
    manifest: Manifest,
    model: Model | None,
    rows: Iterable[Row],
    plan_context: PlanContext,
    diagnostics: Diagnostics,
) -> Iterator[Task]:
    """The tasks of a job, lazily: rows, in each the combinations of the matrix, in each the repeats.

    What is wrong goes to `diagnostics`, which are judged at the end, with what was found in the rows before
    they came here. A fault of one row alone, which may be left out, is a column that only others have, and a
    picture that is missing, unreadable or cannot be arranged; a cell that the model does not take is an error
    always. Raises ManifestError at the end, or as soon as there are enough errors; what was given until then
    is no plan.
    """
    expansion = _Expansion(manifest, model, plan_context, diagnostics)
    tasks = 0
    for row in rows:
        expansion.look_at(row)
        for combination in expansion.combinations.of(row):
            columns = {**row.columns, **combination}
            for repeat in range(manifest.repeat):
                task = expansion.task(row, combination, columns, repeat)
                # After an error the rest is made only to be looked at: the plan is rolled back anyway.
                if task is not None and not diagnostics.failed:
                    tasks += 1
                    yield task
    expansion.finish(tasks)


class _Expansion:
    """What the tasks of one expansion have in common."""

    def __init__(
        self, manifest: Manifest, model: Model | None, plan_context: PlanContext, diagnostics: Diagnostics
    ) -> None:
        self.combinations = Combinations(manifest.matrix)
        self._manifest = manifest
        self._model = model
        self._context = plan_context
        self._diagnostics = diagnostics
        self._body = Body(manifest, model, plan_context)
        self._names = OutputNames(manifest, self._body.variables)
        self._rows = 0
        self._wrong_rows = 0
        self._faults_of_row: set[Problem] = set()
        self._warned: set[str] = set()
        self._left_out_params = self._body.absent
        self._absent: dict[str, Problem] = {}
        self._identical = 0
        self._first_identical = ""
        self._seeded = manifest.seed is not None and bool(
            self._body.seeded or "seed" in self._names.variables
        )
        self._records_seed = self._seeded and "seed" in {*self._body.seeds, *self._names.variables}
        self._several = manifest.repeat > 1
        self._reserved = (
            self.combinations.names | {"repeat"} | ({"seed"} if manifest.seed is not None else set())
        )
        self._one_image = model is not None and model.count is None
        if model is None:
            unknown = f"{manifest.model} is not in the catalogue: its parameters are not checked"
            diagnostics.warn(plan_context.unknown_model or unknown)

    def look_at(self, row: Row) -> None:
        """What concerns a row as such: its column names."""
        self._rows += 1
        self._faults_of_row.clear()
        self._diagnostics.seen(row.columns)
        if clash := self._reserved & row.columns.keys():
            # An include may name a column: it is a condition then.
            for name in sorted(clash & (self.combinations.axes.keys() | {"repeat", "seed"})):
                part = row.part(name)
                what = "the axis" if name in self.combinations.axes else "the plan's own variable"
                message = f"the column `{name}` has the name of {what} `{name}`; rename one of them"
                # The names of a table's columns stand in its first line.
                named = part._replace(line=1 if part.text else part.line)
                column, excerpt = self._context.locate(named, name)
                self._diagnostics.error(Problem(message, part.file, named.line, column, "", excerpt))
        if self.combinations.unproven:
            self.combinations.unproven -= row.columns.keys()

    def task(self, row: Row, combination: Combination, columns: dict[str, Any], repeat: int) -> Task | None:
        """One task; None where it cannot be, and why is told."""
        wrong: list[BadValue] = []
        values: dict[str, Any] = {**columns, "repeat": repeat}
        params, media, identity = self._body.fill(row, values, wrong)
        if len(self._left_out_params) > len(self._absent):
            self._note_absent(values)
        if wrong:
            self._tell(wrong, params, row, combination, values)
            return None
        hashed = blake2b(f"{identity}\n{repeat}".encode(), digest_size=16)
        # Tasks that send the same are numbered as they come: the first keeps the key that it has alone, so
        # that a row which is added behind it, alike or not, makes nothing anew.
        duplicates = self._context.duplicates(hashed.digest())
        if duplicates:
            hashed.update(b"\n%d" % duplicates)
            self._identical += 1
        if self._seeded:
            # The seed is drawn from the columns that `params` uses, not from the key: the body that the key
            # hashes has the seed in it.
            drawn_from = f"{self._manifest.seed}\n{self._body.used(values, media)}\n{repeat}\n{duplicates}"
            seed = int.from_bytes(blake2b(drawn_from.encode(), digest_size=4).digest())
            values["seed"] = seed
            drawn = self._body.fill_seeded(params, media, row, values, drawn_from, wrong)
            hashed.update(drawn.encode())
            if self._records_seed:
                columns = {**columns, "seed": seed}
        # After the key: it hashes the canvas as the manifest asks for it, not the pixels that it comes to.
        if self._body.arranges and not wrong:
            self._body.arrange(params, row, wrong)
        if wrong:
            self._tell(wrong, params, row, combination, values)
            return None
        if not self._checked(params, row, combination):
            return None
        name = self._name(row, combination, values, duplicates)
        if name is None:
            return None
        if duplicates and not self._first_identical:
            self._first_identical = name
        return Task(
            hashed.hexdigest(),
            name,
            params,
            {**columns, "repeat": repeat} if self._several else columns,
            media,
            repeat,
            1 if self._one_image else count(self._model, params),
        )

    def finish(self, tasks: int) -> None:
        """What only the end can tell. Raises ManifestError when anything was wrong with the job."""
        diagnostics = self._diagnostics
        if self._rows:
            for name in sorted(self.combinations.unproven):
                message = unknown_axis(name, self.combinations.axes)
                diagnostics.error(self._manifest.problem(("matrix", "exclude"), message))
            for name, problem in self._absent.items():
                if not diagnostics.has_seen(name):
                    diagnostics.error(problem)
            if not tasks and not diagnostics.failed and not self._wrong_rows:
                message = "leaves nothing: every combination is excluded"
                diagnostics.error(self._manifest.problem(("matrix",), message))
        diagnostics.judge(tasks)
        for warning in unused_pictures(self._manifest, self._body, self._model):
            diagnostics.warn(warning)
        if self._identical:
            these = several(self._identical, "task is", "tasks are")
            first = f"(first: {self._first_identical})"
            diagnostics.warn(f"{these} identical to an earlier one {first}; each is paid for")

    def _note_absent(self, values: Mapping[str, Any]) -> None:
        """A row without a column leaves a parameter out; where no row has it, the manifest is wrong."""
        for name, param in self._left_out_params.items():
            sentence = unknown_variable(name, values, seeded=self._manifest.seed is not None)
            self._absent.setdefault(name, self._manifest.problem(("params", param.name), sentence))

    def _name(
        self, row: Row, combination: Combination, values: Mapping[str, Any], duplicates: int
    ) -> str | None:
        try:
            return self._names.of(row, combination, values, duplicates)
        except TemplateError as error:
            message = self._sentence(error, values) if error.variable else str(error)
            problem = self._manifest.problem(("output", "name"), message)
            if self._may_be_column(error.variable):
                self._lacks(row, error.variable, "output.name", problem, of_row=True)
            else:
                self._diagnostics.error(problem)
            return None

    def _checked(
        self,
        params: Mapping[str, Any],
        row: Row,
        combination: Combination,
        but: Collection[str] = (),
    ) -> bool:
        """Whether the model takes these parameters, `but` some aside; warnings are told once per value. What
        the provider's list has against them is a warning."""
        unchecked = self._manifest.unchecked
        if self._model is None:
            for finding in self._context.listed.check(params, unchecked) if self._context.listed else ():
                self._warn_once(f"{finding.parameter}: {finding.message}")
            return True
        fits = True
        for finding in check(self._model, params, unchecked):
            if finding.parameter in but:
                continue
            if finding.warning:
                self._warn_once(f"{finding.parameter}: {finding.message}")
                continue
            fits = False
            param = self._body.param(finding.parameter)
            self._diagnostics.error(self._placed(param, finding.parameter, finding.message, row, combination))
        return fits

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(warning)
            self._diagnostics.warn(warning)

    def _tell(
        self,
        wrong: list[BadValue],
        params: Mapping[str, Any],
        row: Row,
        combination: Combination,
        values: Mapping[str, Any],
    ) -> None:
        """What is wrong with a task that cannot be: a fault of its row alone, which may be left out then, or
        one of the job, and then the rest of the task is looked at too."""
        of_row = all(self._is_of_row(bad, row) for bad in wrong)
        left_out = of_row and not self._diagnostics.strict
        for bad in wrong:
            name = bad.param.name
            if bad.variable:
                sentence = self._sentence(bad, values)
                problem = self._manifest.problem(("params", name), sentence)
                if self._may_be_column(bad.variable):
                    self._lacks(row, bad.variable, f"params.{name}", problem, of_row=of_row)
                else:
                    self._diagnostics.error(problem)
                continue
            # A row is left out for what it says itself, whatever combination it was found in.
            where = {} if left_out else combination
            problem = self._at_row(bad, row) or self._placed(bad.param, name, str(bad), row, where)
            if bad.cause is TemplateFault.PATH:  # no row's fault: the manifest puts it there, in all of them
                problem = self._manifest.problem(("params", name), str(bad))
            if of_row:
                self._leave_out(problem)
            else:
                self._diagnostics.error(problem)
        if not left_out:
            # So that all that is wrong with the manifest is told at once.
            looked_at = {bad.param.name for bad in wrong} | {param.name for param in self._body.seeded}
            self._checked(params, row, combination, looked_at)

    def _leave_out(self, problem: Problem) -> None:
        """A fault of the row, which is told once however many tasks it would have made."""
        self._wrong_rows += 1
        if problem not in self._faults_of_row:
            self._faults_of_row.add(problem)
            self._diagnostics.row(problem)

    def _lacks(self, row: Row, column: str, key: str, anywhere: Problem, *, of_row: bool) -> None:
        """The row lacks a column, told once; `anywhere` holds where no other has it either."""
        self._wrong_rows += 1
        source = next(iter(row.parts), row)
        problem = Problem(f"{row.origin} has no column `{column}`", source.file, source.line, key=key)
        if problem not in self._faults_of_row:
            self._faults_of_row.add(problem)
            self._diagnostics.lacking(problem, column, anywhere, of_row=of_row)

    def _is_of_row(self, bad: BadValue, row: Row) -> bool:
        """Whether it is the row alone that is wrong, and the rest may go on."""
        if bad.variable:
            return self._may_be_column(bad.variable)
        if bad.cause is TemplateFault.PICTURE:
            return True
        return bad.cause in (TemplateFault.EMPTY, TemplateFault.MISSING) and self._hangs_on(bad.param, row)

    def _may_be_column(self, variable: str) -> bool:
        """Whether a variable that is not there could only have been a column."""
        return bool(variable) and variable not in {*self.combinations.names, "seed"}

    def _hangs_on(self, param: ParamTemplate, row: Row) -> bool:
        """Whether a value is this row's alone: of its columns, which are not the manifest's own words."""
        own = str(self._manifest.path)
        return bool(param.variables) and all(
            name in row.columns and row.part(name).file != own for name in param.variables
        )

    def _sentence(self, error: TemplateError | BadValue, values: Mapping[str, Any]) -> str:
        return unknown_variable(error.variable, values, seeded=self._manifest.seed is not None)

    def _at_row(self, bad: BadValue, row: Row) -> Problem | None:
        """What is wrong with a value that is put together of one row's columns stands at that row."""
        param = bad.param
        if param.lone or bad.cause not in OF_COLUMNS or not param.variables <= row.columns.keys():
            return None
        sources = {id(one): one for one in map(row.part, param.variables)}
        if len(sources) != 1:
            return None
        (source,) = sources.values()
        where = f"row {source.number}: " if source.number else ""
        column, excerpt = self._context.locate(source, min(param.variables))
        return Problem(f"{where}{bad}", source.file, source.line, column, f"params.{param.name}", excerpt)

    def _placed(
        self, param: ParamTemplate | None, name: str, message: str, row: Row, combination: Combination
    ) -> Problem:
        """The problem where its cause stands: a cell of a table, a value of an axis, or the manifest."""
        if param is None or not param.variables:
            return self._manifest.problem(("params", name), message)
        if param.lone and param.lone in combination:
            axis = self.combinations.axes.get(param.lone, ())
            places = [i for i, value in enumerate(axis) if value is combination[param.lone]]
            return self._manifest.problem(("matrix", param.lone, *places[:1]), f"{name}: {message}")
        if param.lone and param.lone in row.columns:
            source = row.part(param.lone)
            where = f"row {source.number}, " if source.number else ""
            column, excerpt = self._context.locate(source, param.lone)
            text = f"{where}column `{param.lone}`: {message}"
            return Problem(text, source.file, source.line, column, f"params.{name}", excerpt)
        return self._manifest.problem(("params", name), f"{message} (for {row.origin})")
