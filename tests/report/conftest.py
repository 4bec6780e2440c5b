"""The bench of the engine's tests, for reports of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.bench import Bench


@pytest.fixture
def bench(tmp_path: Path, now: Callable[[], float]) -> Bench:
    """A folder and the virtual clock."""
    (tmp_path / "bench").mkdir()
    return Bench(tmp_path / "bench", now)
