"""What the watchers are told: the ledger's figures and its newest pictures.

Law: the ledger is read at most once a second, only while somebody watches, only when it changed, and never
for more than a tenth of the time. Each look is one short read transaction beside the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcher import destination, errors, lock, place
from batcher.ledger import store
from batcher.report import figures, gallery, standing
from batcher.report.gallery import Facets, Shown
from batcher.report.page import LIVE_ROWS, shown_figures
from batcher.report.thumbnails import Source

EVERY = 1.0
"""Seconds between two looks, at least."""
SHARE = 10
"""A look that takes t seconds is followed by at least SHARE * t seconds of rest."""
AT_ONCE = 96
"""Newest pictures that one look asks for; where more arrive in a second, the newest are shown."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: the figures, and the tasks that are new or have more pictures, oldest first."""

    figures: dict[str, Any]
    pictures: tuple[Shown, ...]


class Lookout:
    """Looks on behalf of all watchers. `news` counts what changed; `now` is the wall clock (Unix s)."""

    def __init__(self, output: Path, *, now: Callable[[], float]) -> None:
        self.output = output
        self.figures: dict[str, Any] | None = None
        self.trouble = "Waiting for the run to begin: nothing is in the ledger yet."
        self.facets = Facets()
        self.news = 0
        self.ended = False
        self._now = now
        self._shown: dict[int, tuple[int, Shown]] = {}
        self._sources: dict[str, Source] = {}
        self._watchers = 0
        self._somebody = asyncio.Event()
        self._changed = asyncio.Condition()
        self._seen: object = None

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
            await asyncio.sleep(max(EVERY, SHARE * (clock() - began)))

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

    def pictures(self, since: int) -> list[Shown]:
        """The tasks told after news number `since`, oldest first, as many as a page keeps."""
        return [shown for number, shown in self._shown.values() if number > since]

    def source(self, digest: str) -> Source | None:
        """A picture that some watcher was told of."""
        return self._sources.get(digest)

    # --- in a thread

    def _look(self) -> Look | None:
        """None when there is nothing (new) to see."""
        path = place.ledger_of(self.output)
        running = lock.holder(place.lock_of(self.output)) is not None
        state = (running, *map(_touched, (path, path.with_name(f"{path.name}-wal"))))
        if state == self._seen or not path.exists():
            return None
        with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
            connection.execute("BEGIN")
            report = standing.of_ledger(connection, self.output, now=self._now(), running=running)
            found = figures.of_ledger(connection, per_image=report.per_image)
            pictures = destination.at(store.meta(connection, "destination"), self.output)
            newest = gallery.newest(connection, pictures, AT_ONCE if self._shown else LIVE_ROWS)
        self._seen = state
        return Look(shown_figures(report, found), tuple(reversed(newest)))

    # --- in the loop

    def _take(self, look: Look) -> None:
        self.figures = look.figures
        for shown in look.pictures:
            known = self._shown.get(shown.id)
            if known is not None and known[1].after == shown.after:
                continue
            if known is None:
                self.facets.notice(shown)
            self._shown.pop(shown.id, None)
            self._shown[shown.id] = (self.news + 1, shown)
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
