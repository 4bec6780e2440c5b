"""`checks.command`: a program of the user's judges a picture.

Rule: as many at a time as there are processors, each for a minute at most; the key is not told to them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from batcher import errors

SECONDS = 60.0
"""So long a program may take for one picture."""
LONGEST = 200
"""Characters of what it says that are kept."""
SECRETS = ("SEGMIND_API_KEY", "SEGMIND_API_KEY_FILE")


class Judge:
    """Runs `command` in `folder`, the manifest's."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = tuple(command)
        self._folder = folder
        self._places = anyio.Semaphore(max(1, os.cpu_count() or 1))

    async def ask(self, picture: Path, line: str) -> str | None:
        """What the program says against the picture; None: it keeps it. `line` is its metadata, as JSON.

        Raises CheckFailed when it cannot be started, takes too long, or ends with another code than 0 or 1.
        """
        async with self._places:
            running = _Running([*self._command, str(picture)], self._folder)
            try:
                return await asyncio.to_thread(running.verdict, line)
            except BaseException:
                running.kill()
                raise


class _Running:
    """One process; `kill` may come from another thread, before it began too."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._killed = False

    def verdict(self, line: str) -> str | None:
        """As `Judge.ask`; blocks."""
        program = self._command[0]
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                # Ctrl-C is for the run, which lets what it began come to its end.
                start_new_session=True,
            )
        except OSError as error:
            raise errors.CheckFailed(f"{program} cannot be started: {error.strerror}") from error
        if self._killed:
            self.kill()
        with self._process as process:
            try:
                said, complaint = process.communicate(f"{line}\n", SECONDS)
            except subprocess.TimeoutExpired as error:
                self.kill()
                raise errors.CheckFailed(f"{program} did not end within {SECONDS:g} s") from error
        if process.returncode == 0:
            return None
        if process.returncode == 1:
            return _first_line(said) or "no reason given"
        last = _first_line("\n".join(reversed(complaint.splitlines())))
        ended = f"{program} ended with code {process.returncode}"
        raise errors.CheckFailed(f"{ended}: {last}" if last else ended)

    def kill(self) -> None:
        """Ends it and what it started."""
        self._killed = True
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _first_line(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return next((line for line in lines if line), "")[:LONGEST]
