"""What the tests of exports get: a shelf of delivered pictures, and the readers without the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.drawn import Drawn
from tests.support.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty one."""
    return Shelf(tmp_path)


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`datasets.load_dataset`, offline, with a cache of its own."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    datasets.disable_progress_bars()
    return lambda form, folder, **more: datasets.load_dataset(
        form, data_dir=str(folder), cache_dir=str(tmp_path / "cache"), **more
    )


@pytest.fixture
def loads_from() -> Callable[[int], None]:
    """Skips a test of what `datasets` loads from that major version on; an export or its docs tell that."""
    import datasets

    def skip_below(major: int) -> None:
        if int(datasets.__version__.partition(".")[0]) < major:
            pytest.skip(f"`datasets` loads this from version {major} on")

    return skip_below


@pytest.fixture
def drawn(shelf: Shelf) -> Drawn:
    """Pictures that show where their objects are."""
    return Drawn(shelf)
