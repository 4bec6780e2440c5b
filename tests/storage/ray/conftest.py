"""A cluster, a server with large pictures, and the table of what became of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batcher.storage.ray import QUIET
from tests.bench.allowed import Terms
from tests.bench.contest import KEY
from tests.bench.mock import noise
from tests.bench.server import Server, environment
from tests.storage.ray.stage import PICTURES, RPM, TABLE, Nodes, Stage, descendants

HERE = Path(__file__).parent
EDGE = 816
"""Pixels of a picture of 2 MB."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Nodes]:
    """A head and two nodes, with a home of their own and a key that no worker may know."""
    folder = tempfile.mkdtemp(prefix="batcher-ray-", dir="/tmp")
    around = environment(**QUIET, HOME=folder, RAY_TMPDIR=folder, SEGMIND_API_KEY="SG_of_whoever_started_it")
    with subprocess.Popen(
        [sys.executable, str(HERE / "nodes.py"), "2", "2"],
        env=around,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Nodes(process, {**around, "SEGMIND_API_KEY": KEY})
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            for pid in (*descendants(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "large.png"
    path.write_bytes(noise(EDGE))
    return path


@pytest.fixture
def stage(request: pytest.FixtureRequest, cluster: Nodes, picture: Path, tmp_path: Path) -> Iterator[Stage]:
    cluster.whole()
    terms = Terms(service=1.0, sigma=0.2, workers=64, rate=RPM / 60, picture=str(picture))
    with Server(terms) as server:
        name = request.node.name.removeprefix("test_").replace("_", " ")
        yield Stage(name, cluster, server, tmp_path)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table."""
    if not TABLE:
        return
    rows: Sequence[tuple[str, ...]] = [("story", "billed", "delivered", "files x times fetched"), *TABLE]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    terminalreporter.write_sep("=", f"{PICTURES} pictures of {EDGE * EDGE * 3 / 1e6:.1f} MB on Ray")
    for row in rows:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        )
