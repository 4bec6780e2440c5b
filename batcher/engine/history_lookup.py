"""What the provider's request history can be asked: one request by its id, and every request of some days.

Rule: an answer that cannot be believed is told, and believed in nothing. What the history does not know, that
there is none, and that it does not answer now are three things.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from itertools import count
from typing import TypeVar

import anyio

from batcher import errors
from batcher.api import retry
from batcher.api.client import Client
from batcher.api.http import TooLarge
from batcher.api.pacing import CallKind, Pacing
from batcher.api.wire import CutOff, HistoryPage, HistoryRow, Output, Unreadable
from batcher.engine.stopping import Stopping

AT_ONCE = 8
"""So many calls to the history are under way at the same time."""
PATIENCE = 600.0
"""Seconds for which a question that got no answer is put again: so long an API may be down."""
SHORT_PATIENCE = 20.0
"""Seconds, where another run can ask as well, or a question before came to nothing."""
UNBELIEVABLE_TRIES = 3
"""So many answers that cannot be believed end a question."""
UNBELIEVABLE_FOR_GOOD = 9
"""So many of them in a row, and the history is not asked any more in this run."""
ROWS_A_PAGE = 100
MOST_PAGES = 10_000
MOST_WITHOUT_NEWS = 10
"""After so many pages in a row of rows that are known already no end is to be hoped for."""
PAGES_TOLD = 20
"""After each so many pages of a reading people can be told where it is."""
DAY = 86_400.0

Answer = TypeVar("Answer")


def held_or_lost(job: str) -> str:
    """What follows for a run where the history is of no use; `job`: as a command line takes it."""
    return (
        f"doubtful tasks are held (`batcher retry {job} --doubtful` submits them again), and results whose "
        "record is gone count as lost"
    )


class NoAnswer(Enum):
    """What the history says when it names no request."""

    NOT_FOUND = "the history knows no such request"
    UNAVAILABLE = "there is no history that can be believed"
    UNANSWERED = "the history does not answer now"


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """Every row of the days from `first` to `last`. `began_at` is the loop's time at which reading began;
    `complete`: it was read to its end, and each of its rows can be believed."""

    first: str
    last: str
    began_at: float
    rows: tuple[HistoryRow, ...]
    complete: bool


class RequestHistory:
    """Asks the history, a bounded number of questions at once. `warn` is told once when it cannot be asked,
    and once when it says what cannot be true, with what follows from that, `consequence`; `model`: of this
    model's requests alone, of all where it is empty; `patience`: seconds for which a question that gets no
    answer is put again; `jitter` draws numbers in [0, 1)."""

    def __init__(
        self,
        client: Client,
        pacing: Pacing,
        stopping: Stopping,
        *,
        model: str,
        warn: Callable[[str], None],
        jitter: Callable[[], float],
        consequence: str,
        patience: float = PATIENCE,
    ) -> None:
        self._client = client
        self._pacing = pacing
        self._stopping = stopping
        self._model = model
        self._warn = warn
        self._jitter = jitter
        self._consequence = consequence
        self._patience = patience
        self._room = asyncio.Semaphore(AT_ONCE)
        self._reading = asyncio.Lock()
        self._windows: list[HistoryWindow] = []
        self._warned: set[str] = set()
        self._unbelievable = 0
        self._silent = False
        self._refused: set[str] = set()
        self._off = False

    async def row_of(self, request_id: str, *, patience: float = math.inf) -> HistoryRow | NoAnswer:
        """This request, of whatever age, if it is one of this key's own; asked for so many seconds while no
        answer comes."""
        return await self._asked("request", partial(self._client.history_of, request_id), patience)

    async def window(self, first: float, last: float, *, since: float) -> HistoryWindow | NoAnswer:
        """The rows of the days from `first` to `last` (Unix s, the provider's clock), as they are told at the
        loop's time `since` or later: whoever waits for the same days shares one reading."""
        days = day_of(first), day_of(last)
        async with self._reading:
            for window in self._windows:
                if window.began_at >= since and window.first <= days[0] and days[1] <= window.last:
                    return window
            window_or_lookup = await self.read(*days)
            if isinstance(window_or_lookup, HistoryWindow):
                self._windows = [window_or_lookup]
            return window_or_lookup

    async def read(
        self,
        first: str,
        last: str,
        *,
        keep: Callable[[HistoryRow], bool] = lambda row: True,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> HistoryWindow | NoAnswer:
        """All rows of the days from `first` to `last` that are to be kept, page by page; `progress` is told
        now and then how many were read."""
        began_at = asyncio.get_running_loop().time()
        seen: set[tuple[str, str | None]] = set()
        rows: list[HistoryRow] = []
        end = _End()
        async for number, page in self._pages(first, last):
            if isinstance(page, NoAnswer):
                return page
            if page.nonsense:
                end.believable = False
                self._warn_once("nonsense", f"the request history says what cannot be true: {page.nonsense}")
            fresh = [row for row in page.rows if (row.request_id, row.url) not in seen]
            seen.update((row.request_id, row.url) for row in fresh)
            rows += (row for row in fresh if keep(row))
            if number % PAGES_TOLD == 0:
                progress(len(seen))
            if end.reached(page, brings_rows=bool(fresh)):
                break
        return HistoryWindow(first, last, began_at, tuple(rows), end.complete)

    async def _pages(self, first: str, last: str) -> AsyncIterator[tuple[int, HistoryPage | NoAnswer]]:
        """The pages by their numbers. Behind the last one some servers answer 404: an empty page."""
        for number in range(1, MOST_PAGES + 1):
            call = partial(
                self._client.history,
                model=self._model,
                first=first,
                last=last,
                page=number,
                per_page=ROWS_A_PAGE,
            )
            page = await self._asked("listing", call, self._patience)
            if page is NoAnswer.NOT_FOUND:
                yield number, HistoryPage(()) if number > 1 else NoAnswer.UNAVAILABLE
            else:
                yield number, page

    async def _asked(
        self, what: str, call: Callable[[float], Awaitable[Answer]], patience: float
    ) -> Answer | NoAnswer:
        """The answer to one question, put again while none comes. What it refuses is asked no more: a refused
        listing says nothing about single requests."""
        clock = asyncio.get_running_loop().time
        until = clock() + min(patience, SHORT_PATIENCE if self._silent else self._patience)
        unbelievable = 0
        for failures in count():
            if self._off or what in self._refused:
                return NoAnswer.UNAVAILABLE
            try:
                async with self._room:
                    answer = await call(await self._pacing.acquire(CallKind.HISTORY))
                self._unbelievable, self._silent = 0, False
                return answer
            except errors.RecordGone as error:
                if "request" not in error.message.lower():
                    self._not_there(error)
                return NoAnswer.NOT_FOUND
            except (errors.Rejected, errors.FatalForRun) as error:
                self._refused.add(what)
                self._off = self._off or isinstance(error, errors.FatalForRun)
                self._warn_once("off", f"the request history cannot be asked ({error.message})")
                return NoAnswer.UNAVAILABLE
            except errors.AnswerLost as error:
                if _makes_no_sense(error):
                    unbelievable += 1
                    if self._cannot_be_believed(error) or unbelievable >= UNBELIEVABLE_TRIES:
                        return NoAnswer.UNAVAILABLE
            except errors.ApiError:
                pass
            if self._stopping.requested or clock() >= until:
                self._silent = True
                return NoAnswer.UNANSWERED
            await anyio.sleep(retry.read_backoff(failures, jitter=self._jitter()))
        raise AssertionError("counting has no end")

    def _not_there(self, error: errors.ApiError) -> None:
        """A 404 that names no request may be that of an address that knows no history at all."""
        self._warn_once("not there", f"the request history answers HTTP {error.status}: {error.message}")
        self._unbelievable += 1
        self._off = self._unbelievable >= UNBELIEVABLE_TRIES

    def _cannot_be_believed(self, error: errors.AnswerLost) -> bool:
        """Told; whether the history is given up in this run."""
        self._warn_once("nonsense", f"the request history says what cannot be believed: {error.message}")
        self._unbelievable += 1
        self._off = self._unbelievable >= UNBELIEVABLE_FOR_GOOD
        return self._off

    def _warn_once(self, kind: str, sentence: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(f"{sentence}; {self._consequence}")


def _makes_no_sense(error: errors.AnswerLost) -> bool:
    """Whether an answer came, whole, and cannot be believed."""
    if isinstance(error, TooLarge):
        return True
    return isinstance(error.__cause__, Unreadable) and not isinstance(error.__cause__, CutOff)


class _End:
    """Where a reading ends: at a page without rows (a short one proves nothing, its size may be capped), or
    at the last page told again. Rows that were known already prove nothing either: newer ones push them from
    page to page. `complete`: it was read to its end, and each row could be believed."""

    def __init__(self) -> None:
        self.believable = True
        self.complete = False
        self._pages = 0
        self._nothing_new = 0
        self._previous: tuple[HistoryRow, ...] = ()

    def reached(self, page: HistoryPage, *, brings_rows: bool) -> bool:
        """Whether this page is the end."""
        self._pages += 1
        self._nothing_new = 0 if brings_rows else self._nothing_new + 1
        again = not brings_rows and page.rows == self._previous
        self._previous = page.rows
        if not page.rows and not page.nonsense:
            self.complete = self.believable
        elif again:
            # The first page again may be a server that knows no pages.
            self.complete = self.believable and self._pages > 2
        else:
            return self._nothing_new >= MOST_WITHOUT_NEWS
        return True


def outputs_of(row: HistoryRow, listed: Iterable[HistoryRow]) -> tuple[Output, ...]:
    """The outputs of a request, each once: its own row's first, then those of the list (newest first)."""
    urls = [row.url, *(one.url for one in reversed([*listed]) if one.request_id == row.request_id)]
    return tuple(Output(url=url) for url in dict.fromkeys(urls) if url is not None)


def day_of(moment: float) -> str:
    """The day (YYYY-MM-DD, UTC) of a moment (Unix s)."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
