"""The picture files that the present plan is made of, as it found them: a file beside the ledger, which the
ledger knows by its hash. With them a folder that has only grown is told from one in which something changed.

    a line for each file: its path, its size and its time of change, in the plan's order
    behind them eight bytes for each task: what it sends, so that a new one that sends the same is noticed

Rule: it is believed only where its hash stands in the ledger, and written in step with the transaction of the
plan: a crash between the two leaves a file of another hash. When in doubt everything is planned.
"""

from __future__ import annotations

import json
import os
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from batcher.job.inputs import NewFiles
from batcher.job.sources.globs import ListedFile
from batcher.ledger.database import disk_errors, meta, set_meta

NOTE = "planned_files"
"""What the ledger notes of the file, as JSON; empty: there is none."""
MOST_NEW = 20_000
"""New files that are held; where there are more, everything is planned."""
MOST_TASKS = 250_000
"""The same of their tasks."""
MOST_WARNINGS = 100
"""Sentences of a plan that are kept: with more of them it is made anew as a whole."""
CHUNK = 1 << 16


class NotGrown(Exception):
    """More has changed than that there are new files: everything is to be planned."""


class PlanNote(NamedTuple):
    """What the ledger knows of the file: its hash, the bytes of its lines, the hash of all else that the plan
    hangs on, and what the plan told."""

    digest: str
    listed: int
    rest: str
    warnings: list[str]


class PlannedFiles:
    """The files of the plan that is being made, beside those of the last one; a context manager, and the
    `FileSink` of a fingerprint. `path` is the file (None: nothing is compared or kept)."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._path = path
        self._noted = _noted(connection) if path is not None else None
        self._old = _Reader(path, self._noted.listed) if path is not None and self._noted else None
        self._new: _Writer | None = None
        self._matched = 0
        self._listed = 0
        self._source = -1
        self._added: dict[int, list[ListedFile]] = {}
        self._warnings: list[str] = []
        self._is_sure = path is not None
        self._tasks = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            self._old.close()
        if self._new is not None:
            self._new.close()

    @property
    def _is_kept(self) -> bool:
        """Whether the next plan will be told of the files: there are some, and it is sure which."""
        return self._is_sure and self._source >= 0

    # --- the files, as a fingerprint lists them

    def add(self, source: int, files: Sequence[ListedFile], lines: Sequence[str], text: bytes) -> None:
        """As `FileSink.add`. Raises DiskError."""
        if not self._is_sure:
            return
        if text.count(b"\n") != len(lines):  # a name with a line's end in it
            self.unsure()
            return
        if source != self._source:
            self._source = source
            begin = f"\0{source}\n".encode()
            if self._old is not None and not self._old.takes(begin):
                self._give_up()
            self._keep(begin)
        if self._old is not None and not self._old.takes(text):
            self._begin()
            self._compare(source, files, lines)
        self._keep(text)

    def unsure(self) -> None:
        """As `FileSink.unsure`."""
        self._is_sure = False
        self._give_up()

    def warn(self, sentence: str) -> None:
        """As `FileSink.warn`."""
        self._warnings.append(sentence)

    def _compare(self, source: int, files: Sequence[ListedFile], lines: Sequence[str]) -> None:
        """Line by line; those that do not come next in the old file are new."""
        assert self._old is not None
        added = self._added.setdefault(source, [])
        for file, line in zip(files, lines, strict=True):
            if not self._old.takes(line.encode(errors="surrogatepass")):
                added.append(file)
        if len(added) > MOST_NEW:
            self._give_up()

    def _give_up(self) -> None:
        """The folder has not only grown; the files are kept for the next plan all the same."""
        self._begin()
        if self._old is not None:
            self._old.close()
        self._old = None
        self._added.clear()

    def _keep(self, text: bytes) -> None:
        if self._old is not None and self._new is None:
            self._matched += len(text)  # as long as all is as it was nothing is written
            return
        self._begin()
        assert self._new is not None
        self._new.write(text)

    def _begin(self) -> None:
        """A new file, with as much of the old one as was found in it again."""
        if self._new is None and self._path is not None:
            self._new = _Writer(self._path)
            with disk_errors(self._path):
                if self._matched:
                    with self._path.open("rb") as old:
                        for size in _sizes(self._matched):
                            self._new.write(old.read(size))

    # --- have they only grown?

    def grown(self, rest: str) -> dict[int, NewFiles] | None:
        """The source that has new files, and these, where that is all that has changed; `rest` is the hash of
        everything else. None: it is not, or nobody can say."""
        if self._old is None or self._noted is None or not self._is_kept or not self._old.at_end:
            return None
        added = {source: files for source, files in self._added.items() if files}
        if self._noted.rest != rest or len(added) != 1:
            return None
        ((source, files),) = added.items()
        if any(not os.path.splitext(file.path)[1] for file in files):
            return None  # whether it is a picture only a look into it tells, and what is none is counted
        return {source: NewFiles(files, self._warnings)}

    def take_over(self, warnings: Sequence[str]) -> None:
        """What the last plan's tasks send is kept beside what those of the new files send. Raises NotGrown
        where a new one sends the same as an old one, where the last plan told something that this one has not
        told, or the old file is not the one that the ledger knows."""
        assert self._old is not None
        assert self._noted is not None
        if Counter(self._noted.warnings) - Counter(warnings):
            raise NotGrown
        mine = frozenset(_numbers(self._tasks))
        if not all(mine.isdisjoint(_numbers(chunk)) for chunk in self._old.tasks()):
            raise NotGrown
        if self._old.digest != self._noted.digest:
            raise NotGrown
        self._end_lines()
        assert self._new is not None
        for chunk in self._old.tasks():
            self._new.write(chunk)

    # --- what its tasks send

    def noted(self, duplicates: Callable[[bytes], int], *, most: int | None = None) -> Callable[[bytes], int]:
        """The counter of tasks that send the same, which notes what they send; more than `most` of them raise
        NotGrown."""
        if not self._is_kept:
            return duplicates
        self._tasks.clear()

        def counted(identity: bytes) -> int:
            self._tasks += identity[:8]
            if most is None:
                self._flush()
            elif len(self._tasks) > 8 * most:
                raise NotGrown
            return duplicates(identity)

        return counted

    def _end_lines(self) -> None:
        """From here on it is tasks."""
        self._begin()
        assert self._new is not None
        self._listed = self._listed or self._new.size

    def _flush(self) -> None:
        if len(self._tasks) >= CHUNK:
            self._end_lines()
            assert self._new is not None
            self._new.write(bytes(self._tasks))
            self._tasks.clear()

    # --- in step with the plan's transaction

    def finish(self, rest: str, warnings: Sequence[str], *, settled: bool) -> None:
        """Puts the file in place, inside the plan's transaction; none where not all is `settled`. Raises
        DiskError."""
        if not self._is_kept or not settled or len(warnings) > MOST_WARNINGS:
            if self._noted is not None and self._path is not None:
                with disk_errors(self._path):
                    self._path.unlink(missing_ok=True)
            if meta(self._connection, NOTE) is not None:
                set_meta(self._connection, NOTE, "")
            return
        self._end_lines()
        assert self._new is not None
        self._new.write(bytes(self._tasks))
        noted = PlanNote(self._new.digest, self._listed, rest, list(warnings))
        self._new.publish()
        set_meta(self._connection, NOTE, json.dumps(noted._asdict(), ensure_ascii=False))


class _Reader:
    """The old file: what comes next in it. It has so many bytes of lines; one that cannot be read has none of
    those that are looked for."""

    def __init__(self, path: Path, listed: int) -> None:
        self._path = path
        self._left = self._listed = listed
        self.digest = ""
        """The hash (hex) of the whole, once its tasks were read to the end."""
        self._hash = blake2b(digest_size=16)
        self._ahead = b""
        self._at = 0
        try:
            self._file: IO[bytes] | None = path.open("rb")
        except OSError:
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def takes(self, text: bytes) -> bool:
        """Whether these whole lines come next; they are behind us then."""
        if len(self._ahead) - self._at < len(text):
            self._read(max(len(text), CHUNK))
        if not self._ahead.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    @property
    def at_end(self) -> bool:
        """Whether every line is behind us."""
        return self._file is not None and not self._left and self._at == len(self._ahead)

    def tasks(self) -> Iterator[bytes]:
        """What stands behind the lines, once more each time. Raises DiskError."""
        assert self._file is not None
        whole = self._hash.copy()
        with disk_errors(self._path):
            self._file.seek(self._listed)
            while chunk := self._file.read(CHUNK):
                whole.update(chunk)
                yield chunk
        self.digest = whole.hexdigest()

    def _read(self, size: int) -> None:
        if self._file is None or not self._left:
            return
        try:
            more = self._file.read(min(size, self._left))
        except OSError:
            more = b""
        self._left -= len(more)
        self._hash.update(more)
        self._ahead = self._ahead[self._at :] + more
        self._at = 0


class _Writer:
    """The new file, under another name until it is put in place. Raises DiskError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished: Path | None = path.with_name(f"{path.name}.new")
        self._hash = blake2b(digest_size=16)
        self.size = 0
        with disk_errors(path):
            self._file = self._unfinished.open("wb")

    @property
    def digest(self) -> str:
        """The hash (hex) of what was written."""
        return self._hash.hexdigest()

    def write(self, text: bytes) -> None:
        with disk_errors(self._path):
            self._file.write(text)
        self._hash.update(text)
        self.size += len(text)

    def publish(self) -> None:
        """Under its name."""
        assert self._unfinished is not None
        with disk_errors(self._path):
            self._file.close()
            os.replace(self._unfinished, self._path)
        self._unfinished = None

    def close(self) -> None:
        """What was not put in place goes."""
        self._file.close()
        if self._unfinished is not None:
            self._unfinished.unlink(missing_ok=True)


def _noted(connection: sqlite3.Connection) -> PlanNote | None:
    text = meta(connection, NOTE)
    if not text:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
        return PlanNote(**found)
    except (TypeError, ValueError):
        return None  # of another version


def _numbers(text: bytes | bytearray) -> array[int]:
    return array("q", bytes(text[: len(text) // 8 * 8]))


def _sizes(total: int) -> Iterator[int]:
    """A number of bytes, a piece at a time."""
    while total:
        size = min(total, CHUNK)
        yield size
        total -= size
