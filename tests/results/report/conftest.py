"""The harness of the engine's tests, for reports of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.harness import Harness


@pytest.fixture
def harness(tmp_path: Path, now: Callable[[], float]) -> Harness:
    """A folder and the virtual clock."""
    (tmp_path / "harness").mkdir()
    return Harness(tmp_path / "harness", now)
