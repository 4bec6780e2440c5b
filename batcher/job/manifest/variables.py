"""The variables that a manifest's templates may name, as far as the manifest itself can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from batcher.job.row import SIZE_COLUMNS
from batcher.job.sources import KINDS
from batcher.job.wording import nearest


class DeclaredVariables:
    """The columns, axes and other names that the manifest's plain data declares.

    `may_be_more` where only the disk can tell: a table or a data set brings columns of its own.
    What is not well formed in the data is passed over.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        inputs = data.get("inputs", [])
        self.sources = [inputs] if isinstance(inputs, dict) else inputs if isinstance(inputs, list) else []
        columns = [columns_of(source) for source in self.sources]
        self.may_be_more = not isinstance(inputs, list | dict) or None in columns
        self.columns = {name for names in columns for name in names or ()}
        matrix = data.get("matrix")
        matrix = matrix if isinstance(matrix, dict) else {}
        self.axes = [key for key in matrix if key not in ("include", "exclude")]
        self.excludes = _mappings(matrix.get("exclude"))
        included = {key for entry in _mappings(matrix.get("include")) for key in entry}
        self.seeded = data.get("seed") is not None
        sizes = SIZE_COLUMNS if "image" in self.columns else ()
        seed = ("seed",) if self.seeded else ()
        self.all = {*self.columns, *self.axes, *included, "repeat", *sizes, *seed}


def columns_of(source: Any) -> set[str] | None:
    """The columns of a source of the plain data; None where only the disk can tell."""
    if not isinstance(source, dict):
        return None
    of_kinds = [kind.columns(source[kind.KEY]) for kind in KINDS if source.get(kind.KEY) is not None]
    companions = source.get("companions")
    names = set(companions) if isinstance(companions, dict) else set()
    # An entry of no kind, or of two, is wrong as such: its templates are not judged as well.
    return names.union(of_kinds[0]) if len(of_kinds) == 1 and of_kinds[0] is not None else None


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def unknown_variable(name: str, variables: Iterable[str], *, seeded: bool) -> str:
    """The sentence for a variable that is not there."""
    if name == "seed" and not seeded:
        return "`{{ seed }}` needs a top-level `seed:`, as `seed: 42`; the job has none"
    names = sorted(set(variables))
    if meant := nearest(name, names):
        return f"unknown variable `{name}`; did you mean `{meant}`?"
    return f"unknown variable `{name}`; there are {', '.join(f'`{one}`' for one in names)}"


def unknown_axis(name: str, names: Iterable[str]) -> str:
    """The sentence for an exclude that names neither an axis nor a column."""
    there = sorted(names)
    if meant := nearest(name, there):
        return f"excludes by `{name}`, which is no axis or column; did you mean `{meant}`?"
    return f"excludes by `{name}`, which is no axis or column; there are {', '.join(there) or 'none'}"
