"""Answers that were not understood, or held no picture, kept in `.batcher/answers/`: whose each is, and
whether a picture is in it after all.

Rule: bytes that decode are the picture that was paid for, whatever was thought of their answer when it came.
"""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from batcher import errors
from batcher.api import wire
from batcher.ledger import adoption
from batcher.ledger.database import meta
from batcher.storage import pictures
from batcher.storage.destination import disk
from batcher.storage.download import OutputFolder
from batcher.task import State

NAME = re.compile(r"([0-9]{1,18})\.txt")
WHOSE = """
SELECT t.id, t.name, t.state, t.plan, s.images FROM submissions s JOIN tasks t ON t.id = s.task WHERE s.id = ?
"""
WITHOUT_A_PICTURE = frozenset({State.PLANNED, State.SUBMITTING, State.DOUBTFUL, State.FAILED})


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer to one submission. `path` is from the output folder; `name` and `state` are its task's;
    `has_picture`: what it holds decodes, and the task has no picture."""

    path: str
    submission: int
    task: int
    name: str
    state: State
    has_picture: bool


def kept(
    connection: sqlite3.Connection, folder: OutputFolder, names: Iterable[str]
) -> Iterator[KeptAnswer | str]:
    """What lies in the folder of answers under these names; the name itself where no submission of the ledger
    has such an answer. Raises DiskError."""
    plan = int(meta(connection, "plan") or 0)
    for name in names:
        number = NAME.fullmatch(name)
        row = None if number is None else connection.execute(WHOSE, (int(number[1]),)).fetchone()
        if number is None or row is None:
            yield name
            continue
        task, task_name, state, in_plan, _ = row
        lacks = State(state) in WITHOUT_A_PICTURE and in_plan == plan
        has_picture = lacks and bool(pictures_in(folder, name))
        path = f".batcher/answers/{name}"
        yield KeptAnswer(path, int(number[1]), task, task_name, State(state), has_picture)


def pictures_in(folder: OutputFolder, name: str) -> Sequence[bytes]:
    """Every picture that an answer holds; none where one of them does not decode. Raises DiskError."""
    path = folder.answers / name
    with disk(path):
        body = path.read_bytes()
    with suppress(wire.Unreadable, errors.InferenceFailed, errors.BadDownload):
        found = [output.data for output in wire.sync_result({}, body).outputs if output.data is not None]
        for data in found:
            pictures.verify(io.BytesIO(data))
        return found
    return ()


def deliver(connection: sqlite3.Connection, folder: OutputFolder, answer: KeptAnswer, now: float) -> bool:
    """The pictures of an answer become its task's result, which the next run delivers; whether they did. They
    are in the spool before the ledger says so. Raises DiskError."""
    found = pictures_in(folder, answer.path.rpartition("/")[2])
    spool = [f"{answer.submission}-{position}.bytes" for position in range(len(found))]
    # The first comes last, as from an answer that just came: a run takes what lies behind it for the whole.
    for data, name in reversed([*zip(found, spool, strict=True)]):
        folder.keep_now(data, name)
    return bool(found) and adoption.adopt(
        connection,
        answer.task,
        answer.submission,
        None,
        None,
        (),
        now,
        spool=spool,
        outcomes=adoption.KNOWN_JOBS,
        told_by=answer.path,
    )
