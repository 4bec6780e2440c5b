"""What makes the sandboxes of a test, and the date on their clock."""

from __future__ import annotations

from typing import Any, Protocol

from batcher.sandbox import Sandbox

START = 1_767_614_400.0
"""2026-01-05 12:00 UTC: what `now` shows when the virtual clock has shown its first 1000 seconds."""


class MakeSandbox(Protocol):
    """`async with sandbox(rpm=60, faults=Faults([...])) as server:`"""

    def __call__(self, **options: Any) -> Sandbox: ...
