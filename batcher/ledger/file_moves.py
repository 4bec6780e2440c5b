"""What becomes of the files of a ready task: where they are to be had, what the checks say, and their names.

Rule: a name is in the ledger before the file has it, and a delivery after the file stands there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from batcher.api.wire import Output
from batcher.ledger import check_verdicts
from batcher.ledger.check_verdicts import CheckVerdict
from batcher.ledger.entries import TaskEntry, current_submission
from batcher.ledger.group_commit import GroupCommit
from batcher.ledger.reads import LedgerReads
from batcher.storage.destination import IMAGES


class FileMoves(LedgerReads):
    """What is written of the files of tasks. It is on disk with its group's commit."""

    group: GroupCommit
    now: Callable[[], float]

    def relinked(self, entry: TaskEntry, links: Mapping[int, str]) -> None:
        """Fresh links for files of a ready task, by position; one that has a link needs no bytes of the
        spool."""
        for position, url in links.items():
            self.group.write(
                "UPDATE files SET url = ?, spool = NULL WHERE task = ? AND position = ?",
                (url, entry.id, position),
            )

    def relisted(self, entry: TaskEntry, outputs: Sequence[Output], *, keep: int = 0) -> None:
        """The files of a ready task, none of which was delivered yet, are these; the first `keep` are as they
        were."""
        self.group.write("DELETE FROM files WHERE task = ? AND position >= ?", (entry.id, keep))
        more = [(output, None) for output in outputs[keep:]]
        self.list_files(entry, current_submission(entry).id, more, first=keep)

    def list_files(
        self,
        entry: TaskEntry,
        submission: int,
        outputs: Sequence[tuple[Output, str | None]],
        *,
        first: int = 0,
    ) -> None:
        """The files of a result, by position from `first` on: each at its link, or in the spool under this
        name."""
        for position, (output, spool) in enumerate(outputs, first):
            self.group.write(
                "INSERT INTO files (task, position, submission, url, spool) VALUES (?, ?, ?, ?, ?)",
                (entry.id, position, submission, output.url, spool),
            )

    def spooled(self, entry: TaskEntry, position: int, name: str) -> None:
        """The bytes of one file of a ready task lie in the spool, under this name."""
        self.group.write(
            "UPDATE files SET spool = ? WHERE task = ? AND position = ?", (name, entry.id, position)
        )

    def without(self, entry: TaskEntry, positions: Sequence[int]) -> None:
        """The result of a ready task has no pictures at these positions: what came there is none."""
        for position in positions:
            query = "DELETE FROM files WHERE task = ? AND position = ? AND delivered_at IS NULL"
            self.group.write(query, (entry.id, position))

    def judged(
        self,
        entry: TaskEntry,
        position: int,
        sha256: str,
        cells: bytes,
        verdict: CheckVerdict,
        *,
        is_compared: bool,
    ) -> None:
        """What the checks say of a picture, before it has a name; `cells` is its look."""
        row = check_verdicts.row_of(entry.id, position, sha256, cells, verdict, is_compared=is_compared)
        self.group.write(check_verdicts.KEEP, row)

    def named(self, entry: TaskEntry, position: int, name: str, sha256: str, *, folder: str = IMAGES) -> None:
        """What a file is about to be called, and in which folder, before it is: a crash after the rename
        finds its own file again. Raises ValueError when another task's file has the name."""
        try:
            self.group.write(
                "UPDATE files SET name = ?, sha256 = ?, folder = ? WHERE task = ? AND position = ?",
                (name, sha256, folder, entry.id, position),
            )
        except sqlite3.IntegrityError as error:
            raise ValueError(name) from error

    def delivered(self, entry: TaskEntry, position: int, *, size: int, width: int, height: int) -> None:
        """One file stands under its final name; said twice, it counts once."""
        updated = self.group.write(
            "UPDATE files SET bytes = ?, width = ?, height = ?, delivered_at = ? "
            "WHERE task = ? AND position = ? AND delivered_at IS NULL",
            (size, width, height, self.now(), entry.id, position),
        )
        self.images += updated.rowcount
