"""A job beside some pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.job import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "jobs"
    folder.mkdir()
    return Job(folder)
