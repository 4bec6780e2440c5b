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
from batcher.manifest.reading import MAX_BYTES, Document, read

__all__ = [
    "Backoff",
    "Limits",
    "Manifest",
    "Matrix",
    "Output",
    "Poll",
    "Retry",
    "Source",
    "load",
    "parse",
    "seconds",
]


def load(path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest in a file; its paths start from the file's folder.

    `overrides` are `dotted.key=value`, values read as YAML. Raises ManifestError with every problem.
    """
    file = str(path)
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ManifestError([Problem("there is no such manifest", file)]) from None
    except IsADirectoryError:
        raise ManifestError([Problem("is a folder, not a manifest", file)]) from None
    except OSError as error:
        raise ManifestError([Problem(f"cannot be read: {error.strerror}", file)]) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestError([Problem("is not UTF-8 text; save it as UTF-8", file, line)]) from None
    return parse(text, file, path.absolute().parent, overrides)


def parse(text: str, file: str, folder: Path, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest in `text`; `file` names it in problems, `folder` (absolute) is where its paths start.

    Raises ManifestError with every problem.
    """
    document = read(text, file, overrides)
    problems = [*document.problems, *checks.problems(document)]
    try:
        manifest = Manifest.model_validate(_completed(document, folder))
    except ValidationError as error:
        problems += [words.problem(document, one) for one in error.errors(include_url=False)]
        raise ManifestError(_in_order(problems)) from None
    if problems:
        raise ManifestError(_in_order(problems))
    manifest._document = document
    return manifest.with_output(Path(manifest.resolve(str(manifest.output.dir))))


def _completed(document: Document, folder: Path) -> dict[str, Any]:
    """The manifest's data with what its own place gives: the name, the output folder, the paths."""
    data = dict(document.data)
    for ours in ("path", "folder"):
        data.pop(ours, None)
    data.setdefault("name", Path(document.file).stem)
    output = data.setdefault("output", {})
    if isinstance(output, dict):
        data["output"] = {"dir": f"out/{data['name']}", **output}
    return {**data, "path": Path(document.file), "folder": folder}


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line, problem.column))
