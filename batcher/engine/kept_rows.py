"""Rows that Python gave to `load`, kept below `.batcher/inputs/` of the output folder, then planned.

Rule: a file is named for its content and written once, so that a job that comes again is planned as before,
and what was paid for keeps its key.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.job.manifest import Manifest, is_picture
from batcher.storage.destination import disk
from batcher.storage.layout import inputs_folder

DIRECT = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
"""Modes that a PNG keeps as they are."""


def keep_rows(job: Manifest, output: Path) -> Manifest:
    """The job with its given rows in a table below the output folder, and their pictures beside it; a job
    without such rows as it is.

    Raises ManifestError where a picture cannot be decoded, DiskError.
    """
    given = job.given_rows
    if given is None:
        return job
    folder = inputs_folder(output)
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        rows = [_row(job, row, number, folder) for number, row in enumerate(given.rows, 1)]
        return job.with_rows_kept(_table(rows, folder))


def _row(job: Manifest, row: Mapping[str, Any], number: int, folder: Path) -> dict[str, Any]:
    kept = {}
    for name, value in row.items():
        try:
            kept[name] = str(_picture(value, folder)) if is_picture(value) else value
        except (ValueError, SyntaxError, EOFError) as error:
            raise _damaged(job, name, number, error) from error
        except OSError as error:
            if error.errno is not None:
                raise  # the disk's, not the picture's
            raise _damaged(job, name, number, error) from error
    return kept


def _damaged(job: Manifest, name: str, number: int, error: Exception) -> errors.ManifestError:
    problem = f"row {number}, column `{name}`: the picture is damaged: {error}"
    return errors.ManifestError([errors.Problem(problem, str(job.path), key="rows")])


def _picture(image: Any, folder: Path) -> Path:
    """The picture's file: upright, and without loss."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode not in DIRECT:
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    shape = f"{upright.mode} {upright.size} {upright.getpalette()} {upright.info.get('transparency')}"
    digest = hashlib.sha256(shape.encode() + upright.tobytes()).hexdigest()
    path = folder / f"{digest[:32]}.png"
    if not path.exists():
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
        with unfinished.open("wb") as file:
            upright.save(file, "PNG")
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    return path


def _table(rows: Iterable[Mapping[str, Any]], folder: Path) -> Path:
    from batcher.storage import destination

    lines = [f"{json.dumps(row, ensure_ascii=True)}\n" for row in rows]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    path = folder / f"rows-{digest[:32]}.jsonl"
    if not path.exists():
        destination.replace(path, lines)
    return path
