"""Manifest + rows -> Tasks, lazily, with stable keys and names.

    for task in expand(manifest, model, rows, digest=..., occurrence=..., note=...): ...

Rule: it is pure. It reads no disk and no clock, and the same arguments give the same tasks.
"""

from __future__ import annotations

from batcher.plan.expand import expand
from batcher.plan.names import name_key, safe_name
from batcher.plan.rows import PICTURE_SUFFIXES, Row, is_url, join

__all__ = ["PICTURE_SUFFIXES", "Row", "expand", "is_url", "join", "name_key", "safe_name"]
