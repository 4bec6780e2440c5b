"""An output folder against its ledger.

Rule: looking writes nothing and works beside a run. What a run may be changing at this moment (parts, spool,
files on their way, lines still to be written) is judged only when there is none.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import anyio

from batcher import errors
from batcher.ledger import database, rejections, repairs, stale_records
from batcher.ledger.repairs import DeliveredFile, UndeliveredFile
from batcher.results.verify.kept_answers import KeptAnswer, kept
from batcher.results.verify.metadata_check import contradictions, disagreements
from batcher.storage import destination, layout, lock, pictures
from batcher.storage.destination import IMAGES, REJECTED, Destination, disk
from batcher.storage.download import TORN, OutputFolder
from batcher.storage.workers import Threads, Workers

AT_ONCE = 32
"""Files that one thread, or one worker, looks at in one go."""
PART = re.compile(r"([0-9]{1,18})-[0-9]+\.part")
SPOOLED = re.compile(r"(?:reused-)?([0-9]{1,18})-[0-9]+\.bytes")


class FindingKind(StrEnum):
    """What can be wrong."""

    MISSING = "missing"
    """Paid for and not in its place."""
    WRONG = "wrong"
    """In its place with other bytes than those delivered."""
    UNREADABLE = "unreadable"
    """The very bytes that were delivered, but no picture is read from them here (a codec is missing)."""
    LEFTOVER = "leftover"
    """Named by nothing in the ledger, needed by nothing."""
    RECORD = "record"
    """metadata.jsonl or rejected.jsonl says otherwise than the ledger."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: `path` from the output folder, `why` in words, whose file it is (-1: nobody's)."""

    kind: FindingKind
    path: str
    why: str
    task: int = -1
    position: int = -1


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one look saw. `is_running`: a run went on, and what it may be changing was not judged. `answers`
    were not understood when they came, and are kept."""

    checked: int
    findings: tuple[Finding, ...]
    is_running: bool = False
    answers: tuple[KeptAnswer, ...] = ()

    def of(self, *kinds: FindingKind) -> list[Finding]:
        """The findings of these kinds."""
        return [finding for finding in self.findings if finding.kind in kinds]


async def check_output(
    output: Path, *, alone: Callable[[], bool] | None = None, workers: Workers | None = None
) -> CheckResult:
    """Looks at an output folder; `alone` tells whether no run works in it (default: asked of the lock);
    `workers` read the pictures.

    Raises UsageError when nothing was ever run there, LedgerError, DiskError.
    """
    path = ledger_in(output)
    if alone is None:

        def alone() -> bool:
            return lock.holder(layout.lock_path(output)) is None

    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        folder = folder_of(connection, output)
        leftovers = sorted(_unnamed(connection, folder.destination), key=lambda finding: finding.path)
        checked, findings = await _checked(connection, folder, workers or Threads())
        findings += leftovers
        idle = alone()
        if idle:
            settled = list(_settled(connection, folder, findings))
            answers = list(kept(connection, folder, sorted(_listed(folder.answers))))
            idle = alone()
        if idle:
            findings += settled
            findings += _in_answers(answers)
        else:
            answers = []
            findings += _records(contradictions(connection, folder.destination))
    known = tuple(answer for answer in answers if isinstance(answer, KeptAnswer))
    return CheckResult(checked, tuple(findings), is_running=not idle, answers=known)


def folder_of(connection: sqlite3.Connection, output: Path) -> OutputFolder:
    """An output folder, and where its pictures lie. Raises MissingExtra."""
    return OutputFolder(
        output, destination.open_destination(database.meta(connection, "destination"), output)
    )


def ledger_in(output: Path) -> Path:
    """The ledger that is there. Raises UsageError when there is none."""
    path = layout.ledger_path(output)
    if not path.exists():
        raise errors.UsageError(layout.nothing_run_text(output))
    return path


async def _checked(
    connection: sqlite3.Connection, folder: OutputFolder, workers: Workers
) -> tuple[int, list[Finding]]:
    """Every delivered file, hashed and decoded; memory holds one page and what is wrong."""
    checked = 0
    findings: list[Finding] = []

    async def check_batch(files: Sequence[DeliveredFile]) -> None:
        findings.extend(await workers.run(_wrong_ones, folder.destination.where, files))

    for page in repairs.delivered(connection):
        async with anyio.create_task_group() as each:
            for first in range(0, len(page), AT_ONCE):
                each.start_soon(check_batch, page[first : first + AT_ONCE])
        checked += len(page)
    return checked, sorted(findings, key=lambda finding: (finding.task, finding.position))


def _wrong_ones(lie: str, files: Sequence[DeliveredFile]) -> list[Finding]:
    """What is wrong with these files, which lie in the folder or store `lie`; anywhere."""
    where, found = destination.reopen(lie), []
    for file in files:
        verdict = _verdict(where, file.path, file.sha256)
        if verdict is not None and file.moved_from is not None:
            # On its way to or from rejected/, or left there by a crash: then `_settled` tells it.
            verdict = verdict and _verdict(where, file.moved_from, file.sha256)
        if verdict is not None:
            kind, why = verdict
            found.append(Finding(kind, file.path, why, file.task, file.position))
    return found


def _verdict(where: Destination, path: str, sha256: str) -> tuple[FindingKind, str] | None:
    """What is wrong with a delivered file; None: nothing."""
    try:
        with where.open(path) as file:
            digest = pictures.digest(file)
            file.seek(0)
            try:
                pictures.verify(file)
                damage = ""
            except errors.BadDownload as error:
                damage = error.message
    except FileNotFoundError:
        return FindingKind.MISSING, "is not there"
    except OSError as error:
        return FindingKind.WRONG, f"cannot be read: {error.strerror or error}"
    if digest != sha256:
        return (
            FindingKind.WRONG,
            damage or f"is another picture (sha256 {digest[:12]}, delivered was {sha256[:12]})",
        )
    return (FindingKind.UNREADABLE, damage) if damage else None


def _unnamed(connection: sqlite3.Connection, where: Destination) -> Iterator[Finding]:
    """Whatever in images/ and rejected/ no row names. A name is in the ledger before the file has it, so a
    file that a run delivers meanwhile is known. Hidden files are the system's own; no picture's name begins
    with a dot."""
    for folder in (IMAGES, REJECTED):
        for name in where.pictures(folder):
            if not name.startswith(".") and not repairs.has_name(connection, name, folder):
                yield Finding(FindingKind.LEFTOVER, f"{folder}/{name}", "is named by nothing in the ledger")


def _settled(
    connection: sqlite3.Connection, folder: OutputFolder, found: Sequence[Finding]
) -> Iterator[Finding]:
    """What can be judged while nobody works here; `found`: the pictures that are missing or wrong."""
    lost = {(finding.task, finding.position) for finding in found}
    for file in repairs.undelivered(connection):
        yield missing(file, "is paid for and not fetched yet")
    for move in rejections.moves(connection):
        why = f"was to be moved there from {move.moved_from}, and that was cut off"
        if (move.task, move.position) not in lost:
            yield Finding(FindingKind.MISSING, move.path, why, move.task, move.position)
    for name in sorted(_gathering(folder.parts)):
        part = PART.fullmatch(name)
        if part is None or not repairs.is_ready(connection, int(part[1])):
            yield Finding(
                FindingKind.LEFTOVER, f".batcher/parts/{name}", "is part of a download that nobody waits for"
            )
    for name in sorted(_listed(folder.spool)):
        kept = SPOOLED.fullmatch(name)
        if kept is None and name.endswith(TORN):
            yield Finding(
                FindingKind.LEFTOVER, f".batcher/spool/{name}", "was being written when its process ended"
            )
        elif kept is None or not repairs.needs_spool(connection, name, int(kept[1]), lost):
            yield Finding(FindingKind.LEFTOVER, f".batcher/spool/{name}", "are bytes that nobody waits for")
    told = True
    for finding in _records(disagreements(connection, folder.destination)):
        told = False
        yield finding
    if told and stale_records.last_unwritten(connection):
        yield Finding(FindingKind.RECORD, "rejected.jsonl", "does not tell of the last decision")


def _in_answers(answers: Sequence[KeptAnswer | str]) -> Iterator[Finding]:
    """Pictures that lie in kept answers, and answers that are nobody's."""
    for answer in answers:
        if isinstance(answer, str):
            path = f".batcher/answers/{answer}"
            yield Finding(FindingKind.LEFTOVER, path, "is the answer to nothing in the ledger")
        elif answer.has_picture:
            why = f"its picture lies in {answer.path}, an answer that was not understood when it came"
            yield Finding(FindingKind.MISSING, f"{IMAGES}/{answer.name}", why, answer.task, 0)


def missing(file: UndeliveredFile, why: str) -> Finding:
    """A file that is paid for and cannot be shown."""
    return Finding(FindingKind.MISSING, f"images/{file.name}", why, file.task, file.position)


def _records(sentences: Iterator[str]) -> Iterator[Finding]:
    return (Finding(FindingKind.RECORD, "metadata.jsonl", sentence) for sentence in sentences)


def _gathering(parts: Path) -> Iterator[str]:
    """The files in the folder of what is being fetched, and in those that it holds for workers' own."""
    for name in _listed(parts):
        inside = parts / name
        if inside.is_dir():
            yield from (f"{name}/{part}" for part in _listed(inside))
        else:
            yield name


def _listed(folder: Path) -> Iterator[str]:
    with disk(folder):
        try:
            entries = os.scandir(folder)
        except FileNotFoundError:
            return
        with entries:
            yield from (entry.name for entry in entries)
