"""Where there is no terminal: a line a minute for people, a JSON object per event for machines; and the log
that a run leaves.

Rule: a reader who has gone (a closed pipe, a full disk) never stops a run; the ledger has everything.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from batcher.progress import (
    Event,
    Finished,
    Listener,
    Message,
    Planning,
    Snapshot,
    Started,
    StateChanged,
    closing_text,
    event_name,
    silent,
    summary,
)
from batcher.progress.printable import printable

EVERY_SECONDS = 60.0


class Lines:
    """A line at the start, one a minute of the run's own time, warnings, and the closing summary.

    `command` is what the user typed, `repair` what pays again for files that are gone, `job` the job as other
    commands take it, quoted. `now` gives Unix seconds, for the stamp before each line (UTC). `quiet` leaves
    errors, and the summary of a run that did not end well.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        command: str,
        repair: str = closing_text.REPAIR,
        job: str = closing_text.JOB,
        now: Callable[[], float],
        quiet: bool = False,
    ) -> None:
        self._stream = _Writer(stream)
        self._closing = partial(closing_text.closing, command=command, repair=repair, job=job)
        self._now = now
        self._quiet = quiet
        self._output = ""
        self._due = EVERY_SECONDS
        self._stopping = ""

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._output = event.output
                if not self._quiet:
                    self._say(_start(event))
            case Message(text, level):
                if not self._quiet or level == "error":
                    self._say(text if level == "info" else f"{level}: {text}")
            case Snapshot():
                if not self._quiet:
                    self._progress(event)
            case Finished():
                if not self._quiet or event.exit_code:
                    self._close(event)
            case Planning() | StateChanged():
                pass

    def _progress(self, snapshot: Snapshot) -> None:
        turned = snapshot.stopping != self._stopping
        if snapshot.elapsed < self._due and not turned:
            return
        self._stopping = snapshot.stopping
        self._due = (snapshot.elapsed // EVERY_SECONDS + 1) * EVERY_SECONDS
        self._say(_progress(snapshot))

    def _close(self, finished: Finished) -> None:
        headline, *rest = self._closing(finished, output=self._output)
        self._say(headline.text)
        for line in rest:
            self._write(f"  {line.label:<{closing_text.LABEL}} {line.text}")

    def _say(self, text: str) -> None:
        self._write(f"{_stamp(self._now(), 'seconds')} {text}")

    def _write(self, text: str) -> None:
        self._stream.write(printable(text, self._stream.encoding))


class JsonLines:
    """One JSON object per event and line: `ts` (ISO 8601, UTC), `event`, then the event's own fields.

    `now` gives Unix seconds. Every line is flushed; what is not finite is null.
    """

    def __init__(self, stream: TextIO, *, now: Callable[[], float]) -> None:
        self._stream = _Writer(stream)
        self._now = now

    def __call__(self, event: Event) -> None:
        named = {"ts": _stamp(self._now(), "milliseconds"), "event": event_name(type(event))}
        self._stream.write(json.dumps(named | _fields(event)))


class Log:
    """What is asked for after a bad night: the same lines in the file at `path`, night after night, but only
    of what is told to people, and of tasks that did not go their way. A run that does not start has none.
    """

    def __init__(self, path: Path, *, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._file: TextIO | None = None
        self._told_before: list[Message] = []
        self._tell: Listener = self._keep

    def _keep(self, event: Event) -> None:
        """What the planning has to say comes before the run is sure to start."""
        if isinstance(event, Message):
            self._told_before.append(event)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._tell = silent
            with suppress(OSError):
                self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115  # closed by close()
                self._tell = JsonLines(self._file, now=self._now)
            for note in self._told_before:
                self._tell(note)
        if not isinstance(event, Planning) and not (isinstance(event, StateChanged) and not event.reason):
            self._tell(event)

    def close(self) -> None:
        """No line comes any more."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


class _Writer:
    """A text stream that is flushed after each line; after an error it is left alone."""

    def __init__(self, stream: TextIO) -> None:
        self.encoding: str | None = stream.encoding
        self._stream = stream
        self._gone = False

    def write(self, line: str) -> None:
        if self._gone:
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._gone = True


def _start(started: Started) -> str:
    numbers = {"new": started.new, "done": started.done, "in flight": started.in_flight}
    kinds = summary.kinds(numbers | {"rejected": started.rejected, "failed": started.failed})
    tasks = f"{summary.several(started.total, 'task', 'tasks')}: {kinds}"
    if started.submits is not None and started.submits < started.new:
        tasks += f"; {started.submits:,} of the new ones this time"
    return f"{started.job}: {started.model}, {tasks}; into {started.output}"


def _progress(snapshot: Snapshot) -> str:
    shown = summary.this_time(snapshot)
    at = ", ".join(f"{number:,} {stage}" for stage, number in summary.stages(shown).items())
    parts = (
        f"{snapshot.job}: {summary.clock(snapshot.elapsed)}, {summary.of_all(snapshot)}",
        at,
        ", ".join(summary.pace(snapshot)),
        ", ".join(summary.money(snapshot)),
        f"left: {summary.left(snapshot)}",
        summary.activity(shown),
    )
    return "; ".join(parts)


def _fields(event: Event) -> dict[str, Any]:
    return {item.name: _plain(getattr(event, item.name)) for item in dataclasses.fields(event)}


def _plain(value: Any) -> Any:
    if isinstance(value, Snapshot):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _stamp(moment: float, precision: str) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec=precision).replace("+00:00", "Z")
