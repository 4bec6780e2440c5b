"""The bench of the engine's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.bench import Bench


@pytest.fixture
def bench(tmp_path: Path, now: Callable[[], float]) -> Bench:
    """A folder and the virtual clock."""
    return Bench(tmp_path, now)
