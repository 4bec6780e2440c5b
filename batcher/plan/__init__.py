"""Manifest + rows -> Tasks, lazily, with stable keys and names.

    for task in expand(manifest, model, rows, digest=..., occurrence=..., note=...): ...

    expand.py    rows x matrix x repeats; what is wrong with a task, told at its place
    body.py      the request body
    parts.py     its parameters, compiled
    files.py     the files that they name, by content
    picking.py   choice, uniform, randint: stable draws
    matrix.py    axes, exclude, include
    names.py     file names from foreign text
    rows.py      a row, and where it came from

Rule: it is pure. It reads no disk and no clock, and the same arguments give the same tasks.
"""

from __future__ import annotations

from batcher.plan.expand import expand
from batcher.plan.names import name_key, safe_name
from batcher.plan.rows import PICTURE_SUFFIXES, Row, is_stored, is_url, join, placed

__all__ = [
    "PICTURE_SUFFIXES",
    "Row",
    "expand",
    "is_stored",
    "is_url",
    "join",
    "name_key",
    "placed",
    "safe_name",
]
