"""YAML -> Manifest: one frozen value that says a whole job.

    load(Path("jobs/demo.yaml"))                     from a file
    load(path, ["limits.rpm=120"])                   with `--set` laid over it
    parse(text, "demo.yaml", folder)                 from text

Rule: all that is wrong with a manifest is told at once, with file, line and key, in plain words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from batcher.catalog import Model, find
from batcher.errors import ManifestError, Problem
from batcher.manifest import checks, words
from batcher.manifest.grammar import (
    Backoff,
    Limits,
    Manifest,
    Matrix,
    Output,
    Poll,
    Retry,
    Source,
    seconds,
)
from batcher.manifest.reading import MAX_BYTES, Document, copied, read

__all__ = [
    "Backoff",
    "Limits",
    "Manifest",
    "Matrix",
    "Output",
    "Poll",
    "Retry",
    "Source",
    "examine",
    "further",
    "load",
    "parse",
    "seconds",
]


def load(path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest in a file; its paths start from the file's folder.

    `overrides` are `dotted.key=value`, values read as YAML. Raises ManifestError with every problem.
    """
    return _sound(*examine(path, overrides))


def parse(text: str, file: str, folder: Path, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest in `text`; `file` names it in problems, `folder` (absolute) is where its paths start.

    Raises ManifestError with every problem.
    """
    return _sound(*_examined(text, file, folder, overrides))


def examine(path: Path, overrides: Sequence[str] = ()) -> tuple[Manifest | None, list[Problem]]:
    """Like `load`, but gives the problems, and the manifest without the keys that have them.

    With that the sources and the plan can be looked at too, so that what is wrong there is told at the
    same time (see `further`). The manifest is None where too little is left of it for that.
    """
    try:
        text = _text(path)
    except ManifestError as error:
        return None, list(error.problems)
    return _examined(text, str(path), path.absolute().parent, overrides)


def further(told: Sequence[Problem], found: Sequence[Problem]) -> list[Problem]:
    """`told`, and of `found` what is no consequence of it: nothing at, above or below a key that is told."""
    keys = {problem.key for problem in told if problem.key}

    def follows(key: str) -> bool:
        return any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in keys)

    return [*told, *(problem for problem in found if not problem.key or not follows(problem.key))]


def _text(path: Path) -> str:
    """Raises ManifestError when there is no such file, or no text in it."""
    content = b""
    problem: Problem
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        problem = Problem("there is no such manifest", str(path))
    except IsADirectoryError:
        problem = Problem("is a folder, not a manifest", str(path))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem("is not UTF-8 text; save it as UTF-8", str(path), line)
    except OSError as error:
        problem = Problem(f"cannot be read: {error.strerror}", str(path))
    raise ManifestError([problem])


def _sound(manifest: Manifest | None, problems: list[Problem]) -> Manifest:
    if manifest is None or problems:
        raise ManifestError(problems)
    return manifest


def _examined(
    text: str, file: str, folder: Path, overrides: Sequence[str]
) -> tuple[Manifest | None, list[Problem]]:
    try:
        document = read(text, file, overrides)
    except ManifestError as error:
        return None, list(error.problems)
    problems = [*document.problems, *checks.problems(document, _model(document, folder))]
    data = _completed(copied(document.data), document.file, folder)
    manifest = None
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        problems += [words.problem(document, one) for one in error.errors(include_url=False)]
    if problems:
        manifest = _remains(data, problems, file, folder)
    if manifest is not None:
        manifest._document = document
        manifest = manifest.with_output(Path(manifest.resolve(str(manifest.output.dir))))
    return manifest, sorted(dict.fromkeys(problems), key=lambda one: (one.file, one.line, one.column))


def _remains(data: dict[str, Any], problems: Sequence[Problem], file: str, folder: Path) -> Manifest | None:
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
        return Manifest.model_validate(_completed(data, file, folder))
    except ValidationError:
        return None


def _model(document: Document, folder: Path) -> Model | None:
    slug = document.data.get("model")
    try:
        return find(slug, folder) if isinstance(slug, str) else None
    except ManifestError:
        return None  # who runs the job looks for its model too, and tells


def _completed(data: dict[str, Any], file: str, folder: Path) -> dict[str, Any]:
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
