"""The program as its users start it: in a process of its own, in real time."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import yaml
from PIL import Image

KEY = "SG_0123456789abcdef"
PATIENCE = 30.0
"""Real seconds after which a process that should have come so far is given up."""


PASSED_ON = ("PYTHONPATH", "COVERAGE_PROCESS_CONFIG", "XDG_CACHE_HOME")
"""Of our own environment; the second is how `make coverage` measures the program's processes too, the third
the test's own."""


class Program:
    """`python -m batcher` in a folder of its own, with an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONWARNINGS": "error"}
        self.environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._ran(self.command(arguments), environment)

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs some code in the program's place."""
        return self._ran([sys.executable, "-c", code, *arguments], {})

    def shell(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a line of the shell; the arguments are its `$@`."""
        return self._ran(["sh", "-c", script, "sh", *arguments], environment)

    def into_nothing(self, *arguments: str) -> tuple[int, str]:
        """Exit code and stderr of a command whose stdout nobody reads any more."""
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as stdout:
            done = subprocess.run(
                self.command(arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        return done.returncode, done.stderr

    def _ran(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def json(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """The one object that a command prints; it ends with 0 and says nothing else."""
        done = self(*arguments, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @contextmanager
    def started(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """A process that goes on while the block runs, and not longer."""
        with subprocess.Popen(
            self.command(arguments),
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def at_a_terminal(
        self, *arguments: str, question: str = "\0", answer: str | signal.Signals = ""
    ) -> tuple[str, int]:
        """All that a command shows on a terminal, and its exit code; `answer` is typed, or sent, at the
        question."""
        ours, theirs = pty.openpty()
        environment = {**self.environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "25"}
        with subprocess.Popen(
            self.command(arguments),
            cwd=self.folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            patience = Timer(PATIENCE, process.kill)
            patience.start()
            said = b""
            with (
                open(ours, "r+b", buffering=0) as terminal,
                suppress(OSError),
            ):  # at its end a terminal raises
                while chunk := terminal.read(65536):
                    asked = question.encode() in said
                    said += chunk
                    if asked or question.encode() not in said:
                        continue
                    if isinstance(answer, signal.Signals):
                        until(lambda: asleep(process.pid))
                        process.send_signal(answer)
                    else:
                        terminal.write(answer.encode() + b"\n")
            patience.cancel()
        return said.decode(), process.returncode

    def manifest(self, tasks: int, **changes: Any) -> Path:
        """A job of so many small pictures; `changes` are laid over it."""
        data = {
            "name": "job",
            "model": "seg-beyond",
            "inputs": [{"images": "one.png"}, {"rows": [{"n": n} for n in range(tasks)]}],
            "params": {"input_image": "{{ image }}", "prompt": "view {{ n }}", "left": 16},
            "output": {"dir": "out", "name": "view-{{ n }}"},
            "limits": {"rpm": "none"},
            "poll": {"every": "100ms"},
            "price": 0.5,
            **changes,
        }
        Image.new("RGB", (16, 16), "teal").save(self.folder / "one.png")
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return path

    @staticmethod
    def command(arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "batcher", *arguments]


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def asleep(pid: int) -> bool:
    """Whether a process waits, as one that reads the answer to its question. A signal between the question
    and the reading is noticed only with the answer; no person is as quick as that."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text("ascii").rpartition(")")[2].split()[0] != "R"
