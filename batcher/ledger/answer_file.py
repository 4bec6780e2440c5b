"""Answers that the ledger could not take, kept beside it: `.batcher/answers.jsonl`.

Rule: an answer is paid for. Room for it is reserved before the first POST leaves, so that a disk that fills
up meanwhile has it; and once a ledger refuses, it is on disk here before the process ends. The next run
records what it finds.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from batcher.api.wire import Accepted, Output, Result
from batcher.ledger.entries import Submission, TaskEntry

NAME = "answers.jsonl"
RESERVED = 1 << 20
"""Bytes: answers to some 2,500 POSTs."""
UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""A file system that reserves nothing by itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a POST, and of which one: the job that it began, or its result (then `spool` names, by
    output, the bytes that came inside it)."""

    key: str
    task: int
    submission: int
    accepted: Accepted | None = None
    result: Result | None = None
    spool: tuple[str | None, ...] = ()

    @classmethod
    def to(cls, entry: TaskEntry, submission: Submission, **answer: Any) -> Answer:
        """An answer to the POST of this task."""
        return cls(entry.task.key, entry.id, submission.id, **answer)

    @property
    def request_id(self) -> str | None:
        """The job's, where it is known."""
        answer = self.accepted or self.result
        return None if answer is None else answer.request_id

    def as_line(self) -> bytes:
        """One line of JSON. Bytes of pictures are in the spool."""
        facts: dict[str, Any] = {"key": self.key, "task": self.task, "submission": self.submission}
        if self.accepted is not None:
            facts["accepted"] = self.accepted._asdict()
        if self.result is not None:
            outputs = tuple(replace(output, data=None) for output in self.result.outputs)
            result = asdict(replace(self.result, outputs=outputs))
            # The whole answer is of use only where no picture is in it, and those are no results to keep.
            del result["answer"]
            facts |= {"result": result, "spool": self.spool}
        return json.dumps(facts).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Answer:
        """Reads one. Raises ValueError, LookupError, TypeError where it was torn."""
        facts = json.loads(line)
        accepted, result = facts.pop("accepted", None), facts.pop("result", None)
        if accepted is not None:
            facts["accepted"] = Accepted(**accepted)
        if result is not None:
            result["outputs"] = tuple(Output(**output) for output in result["outputs"])
            facts |= {"result": Result(**result), "spool": tuple(facts["spool"])}
        return cls(**facts)


class AnswerFile:
    """The file of one ledger. Everything raises OSError."""

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name(NAME)
        self._handle: int | None = None
        self._end = 0
        self._kept = False

    def reserve(self) -> None:
        """Room for answers is on the disk when this returns; asked for again, it does nothing."""
        if self._handle is None:
            self._open()

    def _open(self) -> int:
        """The file, with its room; made anew where it was taken away."""
        if self._handle is not None and not self._is_there():
            os.close(self._handle)
            self._handle = None
        if self._handle is None:
            self._end = len(self._content())
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _allocate(handle, self._end + RESERVED)
            except BaseException:
                os.close(handle)
                if not self._end:
                    self.remove()
                raise
            self._handle = handle
        return self._handle

    def keep(self, answers: Sequence[Answer]) -> None:
        """These are on disk when this returns."""
        handle = self._open()
        lines = b"".join(answer.as_line() for answer in answers)
        # The last line of an earlier process may have been torn.
        written = os.pwrite(handle, b"\n" + lines, self._end)
        if written <= len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        os.fsync(handle)
        self._end += written
        self._kept = True

    def read(self) -> list[Answer]:
        """What an earlier process kept; a last line that was torn is none."""
        answers = []
        for line in self._content().split(b"\n"):
            try:
                answers.append(Answer.from_line(line))
            except (ValueError, LookupError, TypeError, AttributeError):
                continue
        return answers

    def remove(self) -> None:
        """What was kept is recorded now."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """The room is given back; what was kept stays."""
        if self._handle is None:
            return
        if self._kept:
            os.ftruncate(self._handle, self._end)
        elif self._is_there():
            self.remove()
        os.close(self._handle)
        self._handle = None

    def _content(self) -> bytes:
        """Without the room behind it."""
        try:
            return self.path.read_bytes().rstrip(b"\0")
        except FileNotFoundError:
            return b""

    def _is_there(self) -> bool:
        """Whether the file at its place is the one that is open."""
        assert self._handle is not None
        try:
            there, ours = os.stat(self.path), os.fstat(self._handle)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _allocate(handle: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
            return
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
    there = os.fstat(handle).st_size
    os.pwrite(handle, bytes(max(0, size - there)), there)
