"""What goes together in a manifest: templates and the variables they name, excludes and axes.

Rule: it looks at the plain data, so that these problems are told together with those of the grammar;
what is not well formed there is passed over here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batcher.errors import Problem
from batcher.job.catalog import Model, canvas, check
from batcher.job.manifest.draws import NOTHING_DRAWN, draws
from batcher.job.manifest.grammar import ManifestFile
from batcher.job.manifest.manifest import Manifest
from batcher.job.manifest.templates import Template, TemplateError, compile_template
from batcher.job.manifest.variables import (
    DeclaredVariables,
    columns_of,
    unknown_axis,
    unknown_variable,
)
from batcher.job.row import PLAN_VARIABLES, SIZE_COLUMNS
from batcher.job.yaml_document import KeyPath, YamlDocument, texts

NO_KEYS = [name for name in Manifest.model_fields if name not in ManifestFile.model_fields]
"""What the program fills in: as keys of a manifest they are unknown ones."""


def problems(document: YamlDocument, model: Model | None) -> list[Problem]:
    """Every problem of templates, variables, excludes, object stores, our own keys, and of values that
    are the same in every task or stand on an axis and that `model` does not take."""
    data: Mapping[str, Any] = document.data
    problems = [document.problem((key,), "unknown key", at_key=True) for key in NO_KEYS if key in data]
    declared = DeclaredVariables(data)
    problems += _templates(document, declared)
    problems += _matrix(document, declared)
    problems += _stores(document)
    problems += _redo(document, model, declared)
    if model is not None:
        problems += _values(document, model, declared)
    return problems


def _redo(document: YamlDocument, model: Model | None, declared: DeclaredVariables) -> Iterator[Problem]:
    """`redo` and `accept` ask for another picture of the same cell; `accept` names columns."""
    params = document.data.get("params")
    drawn = draws(params if isinstance(params, dict) else {}, model, seeded=declared.seeded)
    for key in ("redo", "accept"):
        if document.data.get(key) and not drawn:
            yield document.problem((key,), NOTHING_DRAWN)
    accept = document.data.get("accept")
    per = accept.get("per") if isinstance(accept, dict) else None
    for name in (per,) if isinstance(per, str) else _list(per):
        if isinstance(name, str) and name not in declared.all and not declared.may_be_more:
            columns = {*declared.columns, *declared.axes, "repeat"}
            yield document.problem(("accept", "per"), unknown_variable(name, columns, seeded=True))


def _templates(document: YamlDocument, declared: DeclaredVariables) -> Iterator[Problem]:
    data = document.data
    for path, text in texts(data.get("params"), ("params",)):
        yield from _template(document, path, text, declared.all, declared, picks=True)
    output = data.get("output")
    for path, text in texts(output.get("name") if isinstance(output, dict) else None, ("output", "name")):
        yield from _template(document, path, text, declared.all, declared)
    for index, source in enumerate(declared.sources):
        columns = columns_of(source)
        if not isinstance(source, dict):
            continue
        companions = source.get("companions")
        own = None if columns is None else columns - set(companions or ())
        if own is not None and "image" in own:
            own |= set(SIZE_COLUMNS)
        for path, text in texts(companions, ("inputs", index, "companions")):
            yield from _template(document, path, text, own, declared)
        for path, text in texts(source.get("filter"), ("inputs", index, "filter")):
            yield from _template(document, path, text, own, declared, expression=True)


def _template(
    document: YamlDocument,
    path: KeyPath,
    text: str,
    variables: set[str] | None,
    declared: DeclaredVariables,
    *,
    picks: bool = False,
    expression: bool = False,
) -> Iterator[Problem]:
    try:
        template = compile_template(text)
    except TemplateError as error:
        yield document.problem(path, str(error))
        return
    if message := _misplaced(template, declared, picks=picks, expression=expression):
        yield document.problem(path, message)
        return
    if variables is None or declared.may_be_more:
        return  # a table brings columns that only the disk knows; the plan tells what is missing
    for name in sorted(template.required - variables):
        yield document.problem(path, unknown_variable(name, variables, seeded=declared.seeded))


def _misplaced(template: Template, declared: DeclaredVariables, *, picks: bool, expression: bool) -> str:
    """What is wrong with a template as such at this place; empty: nothing."""
    if template.picks and not picks:
        return "`choice`, `uniform` and `randint` draw values for `params`, and only there"
    if template.picks and not declared.seeded:
        return "`choice`, `uniform` and `randint` need a top-level `seed:`, as `seed: 42`; the job has none"
    if expression and not template.expression:
        return 'is not one {{ }} that is true or false, as filter: "{{ width >= 512 }}"'
    return ""


def _matrix(document: YamlDocument, declared: DeclaredVariables) -> Iterator[Problem]:
    for axis in declared.axes:
        if axis in PLAN_VARIABLES:
            message = f"`{axis}` is what the plan itself provides; choose another name for the axis"
            yield document.problem(("matrix", axis), message, at_key=True)
        elif not axis.isidentifier():
            message = f"`{axis}` cannot be a variable: letters, digits and _ only, no digit first"
            yield document.problem(("matrix", axis), message, at_key=True)
        elif axis in declared.columns:
            message = f"the axis `{axis}` has the name of a source column; rename one of them"
            yield document.problem(("matrix", axis), message, at_key=True)
    names = {*declared.axes, *declared.columns}
    for index, entry in enumerate(declared.excludes):
        for name in entry:
            if name not in names and not declared.may_be_more:
                yield document.problem(
                    ("matrix", "exclude", index, name), unknown_axis(name, names), at_key=True
                )


def _values(document: YamlDocument, model: Model, declared: DeclaredVariables) -> Iterator[Problem]:
    """What the model says to constant parameters, to their names, and to the values of axes."""
    params = document.data.get("params", {})
    unchecked = document.data.get("unchecked") or ()
    if not isinstance(params, dict) or not isinstance(unchecked, list | tuple | str):
        return
    unchecked = [unchecked] if isinstance(unchecked, str) else unchecked
    if canvas.KEY in params and canvas.applies(model):
        yield from _canvas(document, model, params)
        params = {name: value for name, value in params.items() if name != canvas.KEY}
        unchecked = [*unchecked, *canvas.parameter_names(model)]
    for problem in check(model, params, unchecked):
        name = problem.parameter
        constant = not any(_is_template(text) for _, text in texts(params.get(name)))
        if not problem.warning and (constant or name not in model.parameters):
            yield document.problem(("params", name), problem.message, at_key=name not in model.parameters)
    for name, value in params.items():
        axis = _lone(value)
        values = document.data["matrix"].get(axis) if axis in declared.axes else ()
        for index, one in enumerate(_list(values)):
            for problem in check(model, {name: one}, unchecked):
                if problem.parameter == name and name in model.parameters and not problem.warning:
                    yield document.problem(("matrix", str(axis), index), f"{name}: {problem.message}")


def _canvas(document: YamlDocument, model: Model, params: Mapping[str, Any]) -> Iterator[Problem]:
    """What can be said of a canvas before there is a picture."""
    for name in canvas.parameter_names(model):
        if name in params:
            message = f"`{name}` is worked out by `{canvas.KEY}`; keep one of them"
            yield document.problem(("params", name), message, at_key=True)
    value = params[canvas.KEY]
    if any(_is_template(text) for _, text in texts(value)):
        return
    try:
        canvas.parse(model, value)
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


def _stores(document: YamlDocument) -> Iterator[Problem]:
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
