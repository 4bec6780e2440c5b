"""What the watchers are told: the ledger's figures and its newest pictures.

Rule: the ledger is read at most once a second, only while somebody watches, only when it changed, and never
for more than a tenth of the time. Each look is one short read transaction beside the run.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.job.manifest import Limits
from batcher.ledger import database, reviews
from batcher.results import period_left, run_control
from batcher.results.report import figures, gallery, status
from batcher.results.report.gallery import Facets, GalleryRow
from batcher.results.report.page import LIVE_ROWS, shown_figures
from batcher.results.report.thumbnails import ThumbnailSource
from batcher.storage import destination, layout, lock
from batcher.storage.destination import Destination

EVERY = 1.0
"""Seconds between two looks, at least."""
REST_FACTOR = 10
"""A look that takes t seconds is followed by at least REST_FACTOR * t seconds of rest."""
JUDGED = """
SELECT t.id FROM json_each(?) k JOIN tasks t ON t.id = json_extract(k.value, '$[0]')
WHERE t.state <> json_extract(k.value, '$[1]') AND (t.state = 'done' OR t.state = 'rejected')
"""
AT_ONCE = 96
"""Newest pictures that one look asks for; where more arrive in a second, the newest are shown."""


READING = "Reading what is there."
NOTHING_YET = "Nothing was run here yet; this page shows the run as soon as it begins."


@dataclass(frozen=True, slots=True)
class Update:
    """What was seen: the figures, the tasks that are new or have more pictures, oldest first; and where
    somebody reviews, the tasks that stand otherwise for that (`TaskToReview.flags`; None: it has no pictures
    any more)."""

    figures: dict[str, Any]
    pictures: tuple[GalleryRow, ...]
    to_review: Mapping[int, int | None]


class LedgerFeed:
    """Looks on behalf of all watchers. `news` counts what changed; `now` is the wall clock (Unix s).
    `reviewing`: they are told how each task stands for a review, and ask for pictures by themselves."""

    def __init__(self, output: Path, *, now: Callable[[], float], reviewing: bool = False) -> None:
        self.output = output
        self.reviewing = reviewing
        self.figures: dict[str, Any] | None = None
        self.trouble = READING if layout.ledger_path(output).exists() else NOTHING_YET
        self.facets = Facets()
        self.news = 0
        self.ended = False
        self._now = now
        self._shown: dict[int, tuple[int, GalleryRow]] = {}
        self._to_review: dict[int, tuple[int, int | None]] = {}
        self._sources: dict[str, ThumbnailSource] = {}
        self._watchers = 0
        self._somebody = asyncio.Event()
        self._changed = asyncio.Condition()
        self._seen: object = None
        self._manifest: tuple[tuple[int, int], Limits | None] = (0, 0), None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While the block runs, somebody watches."""
        self._watchers += 1
        self._somebody.set()
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._somebody.clear()

    async def run(self) -> None:
        """Looks for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._somebody.wait()
            began = clock()
            await self.look()
            await asyncio.sleep(max(EVERY, REST_FACTOR * (clock() - began)))

    async def look(self) -> None:
        """One look, and the news of it if there are any."""
        try:
            look = await asyncio.to_thread(self._look)
        except errors.BatcherError as error:
            self._seen = None
            news, self.trouble = self.trouble != str(error), str(error)
        else:
            news = look is not None
            if look is not None:
                self._take(look)
        if news:
            await self._tell()

    async def end(self) -> None:
        """The last look: who still watches sees how it ended."""
        if self._watchers:
            await self.look()
        self.ended = True
        await self._tell()

    async def changed(self, since: int) -> int:
        """Waits until there is news after number `since`; gives the present number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.news > since)
            return self.news

    def pictures(self, since: int) -> list[GalleryRow]:
        """The tasks told after news number `since`, oldest first, as many as a page keeps."""
        return [shown for number, shown in self._shown.values() if number > since]

    def to_review(self, since: int) -> list[tuple[int, int | None]]:
        """How tasks stand for a review, of those that stand otherwise since news number `since`."""
        return [(task, flags) for task, (number, flags) in self._to_review.items() if number > since]

    def source(self, digest: str) -> ThumbnailSource | None:
        """A picture that some watcher was told of."""
        return self._sources.get(digest)

    # --- in a thread

    def _look(self) -> Update | None:
        """None when there is nothing (new) to see."""
        path = layout.ledger_path(self.output)
        running = lock.holder(layout.lock_path(self.output)) is not None
        state = (running, *map(_touched, (path, path.with_name(f"{path.name}-wal"))))
        if state == self._seen or not path.exists():
            return None
        with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
            connection.execute("BEGIN")
            report = status.of_ledger(connection, self.output, now=self._now(), running=running)
            totals = figures.of_ledger(connection, per_image=report.per_image)
            pictures = destination.open_destination(database.meta(connection, "destination"), self.output)
            newest = [] if self.reviewing else self._newest(connection, pictures)
            to_review = self._otherwise(connection) if self.reviewing else {}
            shown = shown_figures(report, totals)
            limits = self._limits()
            shown["controls"] = run_control.in_force(connection, limits)._asdict()
            budgets = period_left.of_job(connection, path, limits, self._now())
            shown["budgets"] = {one.period: one.as_json() for one in budgets}
        self._seen = state
        return Update(shown, tuple(reversed(newest)), to_review)

    def _limits(self) -> Limits | None:
        """What the manifest says, read again where it is another."""
        touched = _touched(layout.resolved_manifest(self.output))
        if touched != self._manifest[0]:
            self._manifest = touched, run_control.manifest_limits(self.output)
        return self._manifest[1]

    def _newest(self, connection: sqlite3.Connection, pictures: Destination) -> list[GalleryRow]:
        newest = gallery.newest(connection, pictures, AT_ONCE if self._shown else LIVE_ROWS)
        return self._judged_since(connection, pictures) + newest

    def _otherwise(self, connection: sqlite3.Connection) -> dict[int, int | None]:
        """What of the tasks with pictures is otherwise than it was told."""
        told = {task: flags for task, (_, flags) in self._to_review.items()}
        found: dict[int, int | None] = {task.id: task.flags for task in reviews.to_review(connection)}
        gone = {task: None for task, flags in told.items() if flags is not None and task not in found}
        return {task: flags for task, flags in found.items() if told.get(task) != flags} | gone

    def _judged_since(self, connection: sqlite3.Connection, pictures: Destination) -> list[GalleryRow]:
        """The tasks that the page shows and that were rejected, or taken back, since they were told."""
        states = [[task, shown.state] for task, (_, shown) in self._shown.items()]
        return gallery.rows_of(
            connection, pictures, (task for (task,) in connection.execute(JUDGED, (json.dumps(states),)))
        )

    # --- in the loop

    def _take(self, look: Update) -> None:
        self.figures = look.figures
        for shown in look.pictures:
            known = self._shown.get(shown.id)
            if known is not None and (known[1].after, known[1].state) == (shown.after, shown.state):
                continue
            if known is None:
                self.facets.notice(shown)
            elif len(known[1].after) != len(shown.after):
                self._shown.pop(shown.id)
            self._shown[shown.id] = (self.news + 1, shown)
        self._to_review |= {task: (self.news + 1, flags) for task, flags in look.to_review.items()}
        while len(self._shown) > LIVE_ROWS:
            del self._shown[next(iter(self._shown))]
        self._sources = {
            source.digest: source for _, shown in self._shown.values() for source in shown.sources
        }

    async def _tell(self) -> None:
        self.news += 1
        async with self._changed:
            self._changed.notify_all()


def _touched(path: Path) -> tuple[int, int]:
    """What changes with every write."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
