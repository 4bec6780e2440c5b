"""What full runs of the benchmark told, commit by commit: a line of ratios each.

Rule: only ratios, and figures with a bar, are kept; `machine` is what a fixed loop took here, in seconds, so
that runs of different machines and days can be told apart.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.figures import Figure

ROUNDS = 400_000


def remembered(path: Path, figures: Sequence[Figure]) -> None:
    """Adds a line for this run."""
    line = {
        "commit": commit(path.parent),
        "machine": round(calibration(), 3),
        "figures": {
            f"{figure.row}: {figure.what}": round(figure.value, 4)
            for figure in figures
            if figure.measured and figure.sense != "-"
        },
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def calibration() -> float:
    """Seconds that a fixed loop takes: what this machine does at this hour."""
    began = time.perf_counter()
    digest = b""
    for number in range(ROUNDS):
        digest = hashlib.sha256(digest + number.to_bytes(4, "big")).digest()
    return time.perf_counter() - began


def commit(folder: Path) -> str:
    """The commit that is measured; a + behind it where the folder has changes."""
    words = ["git", "-C", str(folder), "describe", "--always", "--dirty=+"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
