"""What the reader of the pages has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the reader has: a key, and the API, which is a sandbox of its own process here."""
    command = [
        sys.executable,
        "-m",
        "batcher",
        "sandbox",
        "--port",
        "0",
        "--service",
        "20ms",
        "--rpm",
        "6000",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sandbox:
        assert sandbox.stdout is not None
        address = sandbox.stdout.readline().split()[-1]
        try:
            yield {
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
                "SEGMIND_API_KEY": "SG_0123456789abcdef",
                "SEGMIND_BASE_URL": address,
                "HF_HUB_OFFLINE": "1",
                "HF_DATASETS_OFFLINE": "1",
                "HF_HOME": str(tmp_path / "hf"),
            }
        finally:
            sandbox.terminate()
