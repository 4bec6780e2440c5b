"""A running cluster, a job on it with its server, and the table of what became of all of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.bench.contest import manifest
from tests.bench.server import Server

PICTURES = 400
RPM = 4800.0
PATIENCE = 120.0
"""Real seconds after which a run that should have ended is given up."""
TABLE: list[tuple[str, ...]] = []


class Nodes:
    """The nodes of a running cluster, each known by its raylet's pid."""

    def __init__(self, process: subprocess.Popen[str], environment: dict[str, str]) -> None:
        self._process = process
        self.environment = environment
        found = json.loads(self._line())
        self.address: str = found["address"]
        self.nodes: list[int] = found["nodes"]

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def whole(self) -> None:
        """There are two nodes again."""
        assert self._process.stdin is not None
        while len(self.nodes) < 2:
            self._process.stdin.write("add\n")
            self._process.stdin.flush()
            self.nodes.append(int(self._line()))

    def workers(self, node: int) -> list[int]:
        """The processes in which tasks run at this moment."""
        return [pid for pid in descendants(node) if b"ray::run_work" in command(pid)]

    def kill(self, node: int) -> None:
        """kill -9 of the node and of all that it started."""
        self.nodes.remove(node)
        for pid in (node, *descendants(node)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def signal(self, node: int, number: signal.Signals) -> None:
        for pid in (node, *descendants(node)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(pid: int) -> list[int]:
    """The processes that this one started, and those that they did."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        waiting += (more := children.get(waiting.pop(), []))
        found += more
    return found


class Stage:
    """One job on the cluster, and the server that bills it."""

    def __init__(self, name: str, cluster: Nodes, server: Server, folder: Path) -> None:
        self.name = name
        self.cluster = cluster
        self.server = server
        self.folder = folder
        limits = {"rpm": RPM, "in_flight": 64}
        self.job = manifest(folder, PICTURES, limits=limits)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "batcher", *words]

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[str]]:
        """The coordinator; killed when the block ends before it."""
        words = ("run", str(self.job), "--base-url", self.server.url, "--quiet", "--yes")
        ray = ("--on", "ray", "--address", self.cluster.address)
        with subprocess.Popen(
            self.command(*words, *ray),
            env=self.cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def done(self, process: subprocess.Popen[str]) -> None:
        """Waits for its good end."""
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said

    @property
    def delivered(self) -> int:
        return len(list((self.folder / "images").glob("*")))

    def until(self, number: int) -> None:
        """So many pictures are delivered."""
        wait_until(lambda: self.delivered >= number)

    def told(self, *words: str) -> Any:
        """The object that a command prints."""
        said = subprocess.run(
            self.command(*words, "--json"),
            env=self.cluster.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stdout + said.stderr
        return json.loads(said.stdout)

    @property
    def doubtful(self) -> int:
        """POSTs whose answer was lost."""
        with closing(sqlite3.connect(self.folder / ".batcher" / "ledger.sqlite")) as ledger:
            query = "SELECT count(*) FROM submissions WHERE outcome = 'doubtful'"
            return int(ledger.execute(query).fetchone()[0])

    def judged(self) -> dict[str, Any]:
        """What holds after every story; the server is the judge. One row of the table is told."""
        status = self.told("status", str(self.folder))
        assert status["counts"]["done"] == PICTURES
        found = self.told("verify", str(self.folder))
        assert (found["checked"], found["wrong"]) == (PICTURES, [])
        assert not list((self.folder / ".batcher" / "parts").iterdir())
        seen = self.server.statistics()
        again = sum(times - 1 for times in seen["paid_again"].values())
        assert again <= self.doubtful, "an answer was lost with the coordinator, nothing else is paid again"
        assert seen["jobs"] == PICTURES + again
        assert sum(seen["throttled"].values()) == 0
        fetched = {int(times): files for times, files in seen["fetches"].items()}
        assert fetched.get(0, 0) <= again
        often = ", ".join(f"{files} x {times}" for times, files in sorted(fetched.items()))
        TABLE.append((self.name, str(seen["jobs"]), str(self.delivered), often))
        return seen


def wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.05)
