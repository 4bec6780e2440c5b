"""Starts a mock in a process of its own, and reads what it saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bench.allowed import Terms

ROOT = Path(__file__).parents[2]
"""On the path of every program that is started: it holds the package `tests.bench`."""


def environment(**more: str) -> dict[str, str]:
    """A clean environment for a program of the benchmark: no key or default of whoever runs it; and compiled
    modules are kept, as everywhere but in containers: without them each start compiles 230 files."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("SEGMIND_", "BATCHER_"))
        and not name.lower().endswith("_proxy")
        and name != "PYTHONDONTWRITEBYTECODE"
    }
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "NO_COLOR": "1", **more}


class Server:
    """A mock. A context manager; `url` is its address."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.mock", json.dumps(self.terms.as_json())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the mock did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def statistics(self) -> dict[str, Any]:
        """What it saw so far."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found
