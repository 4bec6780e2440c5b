"""A manifest's file, or a mapping -> Manifest, or everything that is wrong with it.

Rule: all that is wrong is told at once, with file, line and key: of the YAML, of the grammar, and of what
goes together. Nothing that follows from another problem is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from batcher.errors import ManifestError, Problem
from batcher.job import validation
from batcher.job.catalog import Model, find
from batcher.job.manifest import checks, given_data
from batcher.job.manifest.given_data import GivenRows
from batcher.job.manifest.grammar import ManifestFile
from batcher.job.manifest.manifest import Manifest
from batcher.job.manifest.overrides import ManifestDocument
from batcher.job.yaml_document import deep_copy, read_text, read_yaml

MISSING = {"model": "the slug of the model to run, as `model: sd1.5-outpaint`"}
"""What to say of a key that must be there."""


def examine(
    path: Path, overrides: Sequence[str] = (), rows: GivenRows | None = None
) -> tuple[Manifest | None, list[Problem]]:
    """The manifest in a file, and everything that is wrong with it; its paths start from the file's folder.

    `overrides` are `dotted.key=value`, values read as YAML; `rows` are one source more. A manifest that has
    problems comes without the keys that have them: with the rest the sources and the plan can be looked at
    too, so that what is wrong there is told at the same time (see `further`). It is None where too little is
    left for that.
    """
    try:
        text = read_text(path)
    except ManifestError as error:
        return None, list(error.problems)
    return examine_text(text, str(path), path.absolute().parent, overrides, rows)


MAPPING = "the mapping"
"""What a job that no file says is called in problems."""
UNNAMED = "job"
"""Its name, where it has none of its own."""


def examine_mapping(
    mapping: Mapping[str, Any], folder: Path, overrides: Sequence[str] = (), rows: GivenRows | None = None
) -> tuple[Manifest | None, list[Problem]]:
    """As `examine`, of the same keys and values in a mapping; `rows` are one source more."""
    document = ManifestDocument.of(given_data.plain({"name": UNNAMED, **mapping}, MAPPING))
    return _examined(document, folder, overrides, rows)


def further(problems: Sequence[Problem], later: Sequence[Problem]) -> list[Problem]:
    """`problems`, and of `later` what does not follow from them: nothing at, above or below their keys."""
    keys = {problem.key for problem in problems if problem.key}

    def follows(key: str) -> bool:
        return any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in keys)

    return [*problems, *(problem for problem in later if not problem.key or not follows(problem.key))]


def examine_text(
    text: str, file: str, folder: Path, overrides: Sequence[str] = (), rows: GivenRows | None = None
) -> tuple[Manifest | None, list[Problem]]:
    """As `examine`, of text; `file` names it in problems, `folder` (absolute) is where its paths start."""
    try:
        document = _document(text, file)
    except ManifestError as error:
        return None, list(error.problems)
    return _examined(document, folder, overrides, rows)


def _examined(
    document: ManifestDocument, folder: Path, overrides: Sequence[str], rows: GivenRows | None
) -> tuple[Manifest | None, list[Problem]]:
    if rows is not None:
        document, rows = _with_rows(document, rows)
    document = ManifestDocument.of(document, overrides)
    problems = [*document.problems, *checks.problems(document, _model(document, folder))]
    data = _with_its_place(deep_copy(document.data), document.file, folder)
    manifest = None
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        problems += validation.problems(document, ManifestFile, error, MISSING)
    if problems:
        manifest = _without_problems(data, problems, document.file, folder)
    if manifest is not None:
        manifest._document, manifest._rows = document, rows
        manifest = manifest.with_output(Path(manifest.resolve(str(manifest.output.dir))))
    return manifest, sorted(dict.fromkeys(problems), key=lambda one: (one.file, one.line, one.column))


def _with_rows(document: ManifestDocument, rows: GivenRows) -> tuple[ManifestDocument, GivenRows]:
    """The document with the rows as its last source."""
    inputs = document.data.get("inputs", [])
    sources = [*inputs] if isinstance(inputs, list) else [inputs]
    data = {**document.data, "inputs": [*sources, {"rows": rows.without_pictures()}]}
    return replace(document, data=data), replace(rows, index=len(sources))


def _document(text: str, file: str) -> ManifestDocument:
    """Raises ManifestError where there is no mapping in it."""
    document = read_yaml(text, file, when_too_large="; put long lists of rows into a `table:` of their own")
    if not isinstance(document.data, dict):
        message = (
            "is empty; a manifest needs at least `model`"
            if document.data is None
            else "must be `key: value` lines, as `model: sd1.5-outpaint`"
        )
        raise ManifestError([*document.problems, Problem(message, file)])
    return ManifestDocument.of(document)


def _without_problems(
    data: dict[str, Any], problems: Sequence[Problem], file: str, folder: Path
) -> Manifest | None:
    """The manifest without the keys that have problems; None where its rows would not be the same."""
    for problem in problems:
        section, *keys = problem.key.split(".")
        if section in ("", "inputs", "model", "combine"):
            return None
        inside = data.get(section)
        if isinstance(inside, dict) and keys:
            inside.pop(keys[0], None)
        else:
            data.pop(section, None)
    try:
        return Manifest.model_validate(_with_its_place(data, file, folder))
    except ValidationError:
        return None


def _model(document: ManifestDocument, folder: Path) -> Model | None:
    slug = document.data.get("model")
    try:
        return find(slug, folder) if isinstance(slug, str) else None
    except ManifestError:
        return None  # who runs the job looks for its model too, and tells


def _with_its_place(data: dict[str, Any], file: str, folder: Path) -> dict[str, Any]:
    """The manifest's data with what its own place gives: the name, the output folder, the paths."""
    data.setdefault("name", Path(file).stem)
    output = data.setdefault("output", {})
    store = None
    if isinstance(output, dict):
        own = f"out/{data['name']}"
        data["output"] = {"dir": own, **output}
        if isinstance(named := output.get("dir"), str) and "://" in named:
            store, data["output"]["dir"] = named.rstrip("/"), own
    return {**data, "path": Path(file), "folder": folder, "store": store}
