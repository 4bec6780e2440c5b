"""Which rows of a source: `filter`, then `sample`, then `order`, then `limit`.

Rule: what is chosen hangs on the rows and the job's seed, never on the moment: the same rows give the same
choice, and a row more moves at most one other.
"""

from __future__ import annotations

import heapq
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any

from batcher.errors import Problem
from batcher.job.inputs.context import InputsContext
from batcher.job.manifest.templates import TemplateError, compile_template
from batcher.job.manifest.variables import unknown_variable
from batcher.job.row import Row
from batcher.job.wording import nearest
from batcher.storage.addresses import is_stored

Rows = Iterator[Row]


def chosen(rows: Rows, context: InputsContext, index: int) -> Rows:
    """The rows that `sample`, `order` and `limit` of a source leave. Raises ManifestError."""
    source = context.manifest.inputs[index]
    if source.sample is not None:
        rows = _sampled(rows, source.sample, context.manifest.seed or 0)
    if source.order:
        rows = _ordered(rows, context, index)
    return rows if source.limit is None else islice(rows, source.limit)


def passes(context: InputsContext, index: int) -> Callable[[Row], bool]:
    """Whether a row passes the `filter` of its source; one for which that cannot be told is left out."""
    manifest, diagnostics = context.manifest, context.diagnostics
    template = compile_template(manifest.inputs[index].filter or "")
    key = ("inputs", index, "filter")

    def passing(row: Row) -> bool:
        values = {name: TextCell(row.columns[name]) for name in row.text & template.variables}
        try:
            answer = template.render({**row.columns, **values} if values else row.columns)
        except TemplateError as error:
            if error.is_null:
                return False  # what is asked of a text holds of none
            sentence = str(error)
            if error.variable:
                sentence = unknown_variable(error.variable, row.columns, seeded=True)
                if row.text:  # no row of a table of one header has it
                    diagnostics.fatal(manifest.problem(key, sentence))
            where = f"{row.origin} has a filter that cannot be answered: {sentence}"
            diagnostics.row(Problem(where, row.file, row.line, key=".".join(map(str, key))))
            return False
        if isinstance(answer, str) and answer:
            message = f"gives the text {answer[:60]!r}, not true or false (for {row.origin})"
            diagnostics.fatal(manifest.problem(key, message))
        return bool(answer)

    return passing


class TextCell(str):
    """A table's text in a filter: beside a number it counts as the number that it spells."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return number_in(self) == other if _is_number(other) else str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return bool(self._beside(other) < other)

    def __le__(self, other: Any) -> bool:
        return bool(self._beside(other) <= other)

    def __gt__(self, other: Any) -> bool:
        return bool(self._beside(other) > other)

    def __ge__(self, other: Any) -> bool:
        return bool(self._beside(other) >= other)

    def _beside(self, other: object) -> Any:
        if not _is_number(other):
            return str(self)
        number = number_in(self)
        if number is None:
            raise TemplateError(f"{str(self)[:60]!r} is no number, and is compared with {other}")
        return number


def number_in(text: str) -> float | None:
    """The number that a table's text spells; None where it is none."""
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sampled(rows: Rows, size: int, seed: int) -> Rows:
    """The `size` rows whose hashes are the smallest, in their order: a row more moves at most one other."""
    heap: list[tuple[int, int, Row]] = []
    for number, row in enumerate(rows):
        drawn = (-_lot(row, seed), -number, row)
        if len(heap) < size:
            heapq.heappush(heap, drawn)
        elif drawn[:2] > heap[0][:2]:
            heapq.heapreplace(heap, drawn)
    for _, _, row in sorted(heap, key=lambda one: -one[1]):
        yield row


def _lot(row: Row, seed: int) -> int:
    """A row is what it says; its files are not, which may lie anywhere: a picture is its name and folder."""
    columns = {
        name: value
        for name, value in row.columns.items()
        if not (isinstance(value, str) and (os.path.isabs(value) or is_stored(value)))
    }
    text = json.dumps(columns, sort_keys=True, default=str)
    return int.from_bytes(blake2b(f"{seed}\n{text}".encode(errors="replace"), digest_size=8).digest())


def _ordered(rows: Rows, context: InputsContext, index: int) -> Rows:
    """By columns, each upwards or, with a `-` in front, downwards; rows without a value come last."""
    manifest, diagnostics = context.manifest, context.diagnostics
    held = list(rows)
    for position in reversed(range(len(manifest.inputs[index].order))):
        given = manifest.inputs[index].order[position]
        name = given.removeprefix("-")
        having = [row for row in held if row.columns.get(name) is not None]
        if held and not having:
            meant = nearest(name, held[0].columns)
            hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(held[0].columns)}"
            key = ("inputs", index, "order", position)
            diagnostics.fatal(manifest.problem(key, f"there is no column `{name}`; {hint}"))
        having.sort(key=partial(_rank, name), reverse=given.startswith("-"))
        held = [*having, *(row for row in held if row.columns.get(name) is None)]
    yield from held


def _rank(name: str, row: Row) -> tuple[int, float, str]:
    """Numbers before texts."""
    value = row.columns[name]
    if isinstance(value, str) and name in row.text:
        number = number_in(value)
        value = value if number is None else number
    if _is_number(value):
        return 0, float(value), ""
    return 1, 0.0, value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
