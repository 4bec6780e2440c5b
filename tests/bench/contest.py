"""A program against a mock: how long it took, what it cost, and what the server saw of it.

Rule: a contender is a whole program in its own process, with its own mock and its own folder.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.bench.allowed import Terms
from tests.bench.server import Server, environment

KEY = "SG_0123456789abcdef"
MODEL = "sd1.5-outpaint"
MEANT = (0, 3, -signal.SIGKILL)
"""Exit codes of a program that did its work: all done, some tasks failed, or cut off by us."""
LIVE: set[subprocess.Popen[Any]] = set()
"""Programs that were started and not yet waited for: they do not outlive the benchmark."""
LONGEST = 300.0
"""Seconds after which a contender is cut off; what it delivered until then counts."""


@dataclass(frozen=True, slots=True)
class Outing:
    """One program's run on `terms`. Seconds and bytes; `makespan` is from the first submit to the last file,
    as the server saw it; `seen` is the server's statistics, `mock_share` the share of a core that the server
    used meanwhile."""

    terms: Terms
    code: int
    wall: float
    cpu: float
    peak: int
    delivered: int
    makespan: float
    mock_share: float
    seen: Mapping[str, Any]

    def calls(self, kind: str) -> int:
        return int(self.seen["calls"].get(kind, 0))

    @property
    def throttled(self) -> int:
        """429s, whatever the call."""
        return int(sum(self.seen["throttled"].values()))

    @property
    def all_calls(self) -> int:
        """Calls to the API: submits, status calls and results, the refused ones too."""
        return sum(self.calls(kind) for kind in ("submit", "status", "result"))


Command = Callable[[str, Path], list[str]]
"""Makes a program's command line from the mock's address and a folder of its own."""


def script(tasks: int, in_flight: int, *, honest: bool = False) -> Command:
    """The short aiohttp script; `honest`: it decodes, hashes and syncs what it delivers."""
    return _peer("script", tasks, in_flight, *(["honest"] if honest else []))


def sdk(tasks: int, threads: int, *, backoff: bool = False) -> Command:
    """The official SDK in threads."""
    return _peer("sdk", tasks, threads, *(["backoff"] if backoff else []))


def _peer(name: str, *words: Any) -> Command:
    def command(url: str, folder: Path) -> list[str]:
        (folder / "images").mkdir()
        tasks, width, *more = map(str, words)
        module = f"tests.bench.peers.{name}"
        return [sys.executable, "-m", module, url, tasks, width, str(folder / "images"), *more]

    return command


def batcher(tasks: int, *flags: str, **changes: Any) -> Command:
    """`batcher run` of a manifest with so many tasks; `changes` are laid over it."""

    def command(url: str, folder: Path) -> list[str]:
        return [sys.executable, "-m", "batcher", *run_words(manifest(folder, tasks, **changes), url), *flags]

    return command


def unguarded(tasks: int, **changes: Any) -> Command:
    """The same with the expiry guard switched off, to show what it saves."""

    def command(url: str, folder: Path) -> list[str]:
        job = manifest(folder, tasks, **changes)
        return [sys.executable, "-m", "tests.bench.unguarded", *run_words(job, url)]

    return command


def run_words(job: Path, url: str) -> list[str]:
    """The words behind `batcher` that run a job against a mock."""
    return ["run", str(job), "--base-url", url, "--quiet", "--yes"]


def manifest(folder: Path, tasks: int, **changes: Any) -> Path:
    """A manifest in `folder`, which gets the results too; JSON is YAML."""
    data: dict[str, Any] = {
        "name": "bench",
        "model": MODEL,
        "repeat": tasks,
        "params": {"image": "https://photos.example/one.png", "prompt": "picture {{ repeat }}"},
        "output": {"dir": str(folder), "name": "{{ repeat }}"},
        "limits": {"rpm": "none"},
    }
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(data.get(key), dict) else value
    path = folder / "job.yaml"
    path.write_text(json.dumps(data), "utf-8")
    return path


def outing(command: Command, terms: Terms, *, seconds: float = LONGEST) -> Outing:
    """Runs one program to its end against a mock of its own; killed after so many `seconds`."""
    with scratch() as folder, Server(terms) as server:
        before, began = server.statistics()["cpu"], time.perf_counter()
        code, used = run(command(server.url, folder), seconds=seconds)
        wall = time.perf_counter() - began
        seen = server.statistics()
        moments = [*seen["last"].values()]
        span = max(moments, default=0.0) - seen["first"].get("submit", 0.0) if moments else 0.0
        return Outing(
            terms=terms,
            code=code,
            wall=wall,
            cpu=used.ru_utime + used.ru_stime,
            peak=used.ru_maxrss * 1024,
            delivered=files_in(folder / "images"),
            makespan=span,
            mock_share=(seen["cpu"] - before) / wall,
            seen=seen,
        )


def side_by_side(commands: Mapping[str, Command], terms: Terms, times: int = 1) -> dict[str, list[Outing]]:
    """All of them at once, each with its own mock: for rows that wait far more than they work. The first of
    them runs so many `times`, each time with other jobs."""
    first, *peers = commands
    jobs = [(first, replace(terms, seed=terms.seed + n)) for n in range(times)]
    jobs += [(name, terms) for name in peers]
    found: dict[str, list[Outing]] = {name: [] for name in commands}
    with ThreadPoolExecutor(len(jobs)) as pool:
        runs = pool.map(lambda job: (job[0], outing(commands[job[0]], job[1])), jobs)
        for name, run in runs:
            found[name].append(run)
    return found


def in_turn(commands: Mapping[str, Command], terms: Terms, times: int) -> dict[str, list[Outing]]:
    """A B C A B C: for rows that work as fast as they can, so that the hour is the same for all. Each round
    has other jobs."""
    found: dict[str, list[Outing]] = {name: [] for name in commands}
    for n in range(times):
        for name, command in commands.items():
            found[name].append(outing(command, replace(terms, seed=terms.seed + n)))
    return found


class Broken(RuntimeError):
    """A program of the benchmark died of an error of its own: there is nothing to measure."""


def run(command: Sequence[str], *, seconds: float = LONGEST) -> tuple[int, resource.struct_rusage]:
    """Runs a program to its end; its exit code, and what it and its children used. Raises Broken."""
    with tempfile.TemporaryFile() as said:
        process = started(command, said)
        code, used = waited(process, seconds)
        if code not in MEANT:
            said.seek(0)
            words = " ".join(command[1:4])
            raise Broken(f"{words} ended with {code}: {said.read()[-1500:].decode(errors='replace')}")
    return code, used


def started(
    command: Sequence[str], said: IO[bytes] | int = subprocess.DEVNULL, *, state: Path | None = None
) -> subprocess.Popen[bytes]:
    """Starts a program with the mock's key; what it says on stderr goes to `said`, what it keeps for its
    account to the folder `state`, or to one that is gone with the benchmark."""
    env = environment(SEGMIND_API_KEY=KEY, XDG_STATE_HOME=str(state or state_home()))
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
    )
    LIVE.add(process)
    return process


@cache
def state_home() -> Path:
    """No account's file of whoever runs the benchmark is touched."""
    folder = Path(tempfile.mkdtemp(prefix="batcher-bench-state-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def running(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has not ended yet. Its end is left to `waited`: Popen's own `poll` would take it away."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal; Popen's own way polls first."""
    os.kill(process.pid, number)


def waited(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, resource.struct_rusage]:
    """Waits for a program's end (it is killed after so many seconds); its exit code and its use."""
    until = time.monotonic() + seconds
    while True:
        number, status, used = os.wait4(process.pid, os.WNOHANG)
        if number:
            process.returncode = os.waitstatus_to_exitcode(status)
            LIVE.discard(process)
            return process.returncode, used
        if time.monotonic() > until:
            end(process)
        time.sleep(0.002)


def files_in(folder: Path) -> int:
    """How many pictures a folder has."""
    return sum(1 for entry in os.scandir(folder)) if folder.exists() else 0


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one run, gone after it."""
    folder = Path(tempfile.mkdtemp(prefix="batcher-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
