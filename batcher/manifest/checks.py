"""What goes together in a manifest: templates and the variables they name, excludes and axes.

Rule: it looks at the plain data, so that these problems are told together with those of the grammar;
what is not well formed there is passed over here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batcher.catalog import Model, canvas, check, nearest
from batcher.errors import Problem
from batcher.manifest.grammar import RESERVED
from batcher.manifest.reading import Document, KeyPath
from batcher.manifest.templates import Template, TemplateError, compile_template

IMAGE_COLUMNS = ("image", "stem", "name", "suffix", "folder")
"""The columns that every picture of an `images:` source has."""
SIZES = ("width", "height")
"""Columns that a picture gets when a template names them and nothing else has them."""


def problems(document: Document, model: Model | None) -> list[Problem]:
    """Every problem of templates, variables, excludes, object stores, our own keys, and of values that
    are the same in every task or stand on an axis and that `model` does not take."""
    data: Mapping[str, Any] = document.data
    found = [
        document.problem((ours,), "unknown key", at_key=True)
        for ours in ("path", "folder", "store")
        if ours in data
    ]
    known = _Known(data)
    found += _templates(document, known)
    found += _matrix(document, known)
    found += _stores(document)
    if model is not None:
        found += _values(document, model, known)
    return found


def unknown_variable(name: str, known: Iterable[str], *, seeded: bool) -> str:
    """The sentence for a variable that is not there."""
    if name == "seed" and not seeded:
        return "`{{ seed }}` needs a top-level `seed:`, as `seed: 42`; the job has none"
    names = sorted(set(known))
    if meant := nearest(name, names):
        return f"unknown variable `{name}`; did you mean `{meant}`?"
    return f"unknown variable `{name}`; there are {', '.join(f'`{one}`' for one in names)}"


class _Known:
    """The variables that the manifest itself can tell; `is_open` where a table brings more."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        inputs = data.get("inputs", [])
        self.sources = [inputs] if isinstance(inputs, dict) else inputs if isinstance(inputs, list) else []
        columns = [_columns(source) for source in self.sources]
        self.is_open = not isinstance(inputs, list | dict) or None in columns
        self.columns = {name for names in columns for name in names or ()}
        matrix = data.get("matrix")
        matrix = matrix if isinstance(matrix, dict) else {}
        self.axes = [key for key in matrix if key not in ("include", "exclude")]
        self.excludes = [one for one in _list(matrix.get("exclude")) if isinstance(one, dict)]
        includes = [one for one in _list(matrix.get("include")) if isinstance(one, dict)]
        self.included = {key for entry in includes for key in entry}
        self.seeded = data.get("seed") is not None
        sizes = SIZES if "image" in self.columns else ()
        seed = ("seed",) if self.seeded else ()
        self.variables = {*self.columns, *self.axes, *self.included, "repeat", *sizes, *seed}


def _columns(source: Any) -> set[str] | None:
    """The columns of a source; None where only the disk can tell."""
    if not isinstance(source, dict) or any(source.get(kind) is not None for kind in ("table", "dataset")):
        return None
    companions = source.get("companions")
    names = set(companions) if isinstance(companions, dict) else set()
    if source.get("images") is not None:
        return names | set(IMAGE_COLUMNS)
    rows = source.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return names.union(*rows)


def _templates(document: Document, known: _Known) -> Iterator[Problem]:
    data = document.data
    for path, text in _texts(data.get("params"), ("params",)):
        yield from _template(document, path, text, known.variables, known, picks=True)
    output = data.get("output")
    for path, text in _texts(output.get("name") if isinstance(output, dict) else None, ("output", "name")):
        yield from _template(document, path, text, known.variables, known)
    for index, source in enumerate(known.sources):
        columns = _columns(source)
        if not isinstance(source, dict):
            continue
        companions = source.get("companions")
        own = None if columns is None else columns - set(companions or ())
        if own is not None and "image" in own:
            own |= set(SIZES)
        for path, text in _texts(companions, ("inputs", index, "companions")):
            yield from _template(document, path, text, own, known)
        for path, text in _texts(source.get("filter"), ("inputs", index, "filter")):
            yield from _template(document, path, text, own, known, expression=True)


def _template(
    document: Document,
    path: KeyPath,
    text: str,
    variables: set[str] | None,
    known: _Known,
    *,
    picks: bool = False,
    expression: bool = False,
) -> Iterator[Problem]:
    try:
        template = compile_template(text)
    except TemplateError as error:
        yield document.problem(path, str(error))
        return
    if message := _misplaced(template, known, picks=picks, expression=expression):
        yield document.problem(path, message)
        return
    if variables is None or known.is_open:
        return  # a table brings columns that only the disk knows; the plan tells what is missing
    for name in sorted(template.required - variables):
        yield document.problem(path, unknown_variable(name, variables, seeded=known.seeded))


def _misplaced(template: Template, known: _Known, *, picks: bool, expression: bool) -> str:
    """What is wrong with a template as such at this place; empty: nothing."""
    if template.picks and not picks:
        return "`choice`, `uniform` and `randint` draw values for `params`, and only there"
    if template.picks and not known.seeded:
        return "`choice`, `uniform` and `randint` need a top-level `seed:`, as `seed: 42`; the job has none"
    if expression and not template.expression:
        return 'is not one {{ }} that is true or false, as filter: "{{ width >= 512 }}"'
    return ""


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


def _matrix(document: Document, known: _Known) -> Iterator[Problem]:
    for axis in known.axes:
        if axis in RESERVED:
            message = f"`{axis}` is what the plan itself provides; choose another name for the axis"
            yield document.problem(("matrix", axis), message, at_key=True)
        elif not axis.isidentifier():
            message = f"`{axis}` cannot be a variable: letters, digits and _ only, no digit first"
            yield document.problem(("matrix", axis), message, at_key=True)
        elif axis in known.columns:
            message = f"the axis `{axis}` has the name of a source column; rename one of them"
            yield document.problem(("matrix", axis), message, at_key=True)
    names = {*known.axes, *known.columns}
    for index, entry in enumerate(known.excludes):
        for name in entry:
            if name not in names and not known.is_open:
                yield document.problem(
                    ("matrix", "exclude", index, name), unknown_axis(name, names), at_key=True
                )


def unknown_axis(name: str, names: Iterable[str]) -> str:
    """The sentence for an exclude that names neither an axis nor a column."""
    known = sorted(names)
    if meant := nearest(name, known):
        return f"excludes by `{name}`, which is no axis or column; did you mean `{meant}`?"
    return f"excludes by `{name}`, which is no axis or column; there are {', '.join(known) or 'none'}"


def _values(document: Document, model: Model, known: _Known) -> Iterator[Problem]:
    """What the model says to constant parameters, to their names, and to the values of axes."""
    params = document.data.get("params", {})
    unchecked = document.data.get("unchecked") or ()
    if not isinstance(params, dict) or not isinstance(unchecked, list | tuple | str):
        return
    unchecked = [unchecked] if isinstance(unchecked, str) else unchecked
    if canvas.KEY in params and canvas.applies(model):
        yield from _canvas(document, model, params)
        params = {name: value for name, value in params.items() if name != canvas.KEY}
        unchecked = [*unchecked, *canvas.parameters(model)]
    for finding in check(model, params, unchecked):
        name = finding.parameter
        constant = not any(_is_template(text) for _, text in _texts(params.get(name), ()))
        if not finding.warning and (constant or name not in model.parameters):
            yield document.problem(("params", name), finding.message, at_key=name not in model.parameters)
    for name, value in params.items():
        axis = _lone(value)
        values = document.data["matrix"].get(axis) if axis in known.axes else ()
        for index, one in enumerate(_list(values)):
            for finding in check(model, {name: one}, unchecked):
                if finding.parameter == name and name in model.parameters and not finding.warning:
                    yield document.problem(("matrix", str(axis), index), f"{name}: {finding.message}")


def _canvas(document: Document, model: Model, params: Mapping[str, Any]) -> Iterator[Problem]:
    """What can be said of a canvas before there is a picture."""
    for name in canvas.parameters(model):
        if name in params:
            message = f"`{name}` is worked out by `{canvas.KEY}`; keep one of them"
            yield document.problem(("params", name), message, at_key=True)
    asked = params[canvas.KEY]
    if any(_is_template(text) for _, text in _texts(asked, ())):
        return
    try:
        canvas.read(model, asked)
    except ValueError as error:
        yield document.problem(("params", canvas.KEY), str(error))


def _is_template(text: str) -> bool:
    try:
        return not compile_template(text).constant
    except TemplateError:
        return True


def _lone(value: Any) -> str | None:
    try:
        return compile_template(value).lone if isinstance(value, str) else None
    except TemplateError:
        return None


def _stores(document: Document) -> Iterator[Problem]:
    output = document.data.get("output")
    folder = output.get("dir") if isinstance(output, dict) else None
    if not isinstance(folder, str) or "://" not in folder:
        return
    scheme, _, bucket = folder.partition("://")
    if scheme.lower() in ("http", "https", "data", "dataset"):
        yield document.problem(
            ("output", "dir"),
            f"{scheme}:// cannot be written to; name a folder, or one of a store (s3://...)",
        )
    elif not bucket.strip("/"):
        yield document.problem(("output", "dir"), f"names no bucket: {scheme}://bucket/folder")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
