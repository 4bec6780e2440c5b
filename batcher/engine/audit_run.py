"""audit(): a job's ledger against the provider's statement; and what it finds billed without us is adopted.

Rule: it reads, and pays for nothing. A job is ours by its id; by its body and time alone only where the
history finds it by its id for this key: a teammate's may look the same. `adopt` writes what the statement
proves, while the job's lock is held.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Client
from batcher.api.pacing import Pacing
from batcher.api.wire import HistoryRow
from batcher.engine.calibration import Calibration, KnownJob, calibrated
from batcher.engine.history_lookup import DAY, NoAnswer, RequestHistory, day_of
from batcher.engine.options import account_for, load
from batcher.engine.stopping import Stopping
from batcher.engine.submission_ages import FILES_END
from batcher.engine.uploads import filled
from batcher.ledger import adoption, database
from batcher.ledger.database import SANDBOX_ORIGIN
from batcher.ledger.reads import LedgerReads
from batcher.results.audit import Audit, AuditedSubmission, Orphan, compare, submissions_of
from batcher.storage import layout, lock

WINDOW_DAYS = 31
"""The longest window that the history takes."""
MARGIN = DAY
"""Seconds around the job's own time span that are read too: clocks differ, stamps may be in local time."""
PATIENCE = 60.0
"""Seconds for which a page that is not answered is asked for again."""
CALIBRATING_JOBS = 50
"""So many jobs that both sides know teach how the statement tells what was sent."""
MOST_ASKED = 200
"""So many requests that the list does not show are asked for by their id."""
SHOWN_LATE = 900.0
"""Seconds after a POST within which its request may not be shown yet."""
LATE_LOOKS = (5.0, 25.0, 60.0)
"""Pauses, in seconds, before requests that may be shown late are looked for again."""


async def audit(
    output: Path,
    *,
    adopt: bool = False,
    warn: Callable[[str], None],
    account: Account | None = None,
    base_url: str | None = None,
    now: Callable[[], float] = time.time,  # noqa: TID251  # here the wall clock enters
) -> tuple[Audit, list[Orphan]]:
    """The audit of the job in an output folder, and the orphans that were adopted.

    The statement is read for the job's own time span alone. `adopt`: the results of orphans whose task is
    planned, doubtful or failed become that task's, so that the next run fetches them instead of paying; so
    do those that a failed task missed in another way. Files older than they are kept are left. `warn` gets a
    sentence now and then where the account is big. Raises UsageError where nothing was ever run or the job
    is a sandbox's, LedgerError, DiskError, MissingKey, Locked (adopt alone), and NoStatement where the
    statement cannot be had.
    """
    path = layout.ledger_path(output)
    if not path.exists():
        raise errors.UsageError(f"nothing was run yet in {output}")
    if database.read_meta(path, "origin") == SANDBOX_ORIGIN:
        raise errors.UsageError(
            f"{output} was made on an embedded sandbox, whose account ended with its run: there is no "
            "statement to compare with, and nothing was paid. An audit wants a run with your key"
        )
    if account is None:
        account = account_for(load(output / ".batcher" / "manifest.yaml"), base_url)
    running = lock.holder(layout.lock_path(output)) is not None
    with closing(database.open_for_reading(path)) as connection:
        statement = _Statement(LedgerReads(path, connection), submissions_of(connection), warn, now)
        found = await statement.compared(account, running=running)
        found.job = database.meta(connection, "job") or output.name
        found.unbilled = [one for one in found.unbilled if one[1] not in statement.unconfirmed]
        orphans, found.missed = (
            [one for one in some if statement.is_adoptable(one)] for some in (found.orphans, found.missed)
        )
    return found, _adopted(output, orphans, found.missed, now) if adopt and (orphans or found.missed) else []


def _adopted(
    output: Path, orphans: Sequence[Orphan], missed: Sequence[Orphan], now: Callable[[], float]
) -> list[Orphan]:
    """Those that became their task's result."""
    began = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
    with (
        lock.hold(layout.lock_path(output), since=began),
        closing(database.open_file(layout.ledger_path(output))) as connection,
    ):
        return [
            orphan
            for orphan in (*orphans, *missed)
            if adoption.adopt(
                connection,
                orphan.submission.task,
                orphan.submission.id,
                orphan.request_id,
                orphan.cost,
                orphan.urls,
                now(),
                outcomes=adoption.KNOWN_JOBS if orphan in missed else adoption.LOST_ANSWERS,
            )
        ]


class _Statement:
    """The provider's statement for the time span of one job. `unconfirmed`: requests that look like ours, of
    which the history does not say whether they are."""

    def __init__(
        self,
        reads: LedgerReads,
        submissions: Sequence[AuditedSubmission],
        warn: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self._reads = reads
        self._submissions = submissions
        self._warn = warn
        self._now = now
        self._rows: list[HistoryRow] = []
        self.unconfirmed: set[str] = set()

    async def compared(self, account: Account, *, running: bool) -> Audit:
        """Raises NoStatement."""
        if not self._submissions:
            return Audit()
        troubles: list[str] = []
        async with _history(account, troubles.append, self._now) as history:
            whole = await self._read(history)
            found = await self._confirmed(history, running=running) if whole else Audit()
        if not whole:
            raise errors.NoStatement(" and ".join(troubles) or "the request history does not answer")
        for trouble in troubles:
            self._warn(trouble)
        self._warn_of_late_rows(found)
        if self.unconfirmed:
            self._warn(
                f"of {len(self.unconfirmed):,} requests with a body and time of this job's the history does "
                "not say whether they are yours or a teammate's: they count as yours, and --adopt leaves them"
            )
        return found

    def is_adoptable(self, orphan: Orphan) -> bool:
        """Whether its pictures are sure to be ours, are likely to be there still, and never came by these
        links."""
        submission = orphan.submission
        return (
            bool(orphan.urls)
            and orphan.request_id not in self.unconfirmed
            and submission.submitted_at > self._now() - FILES_END
            and not self._reads.read(adoption.has_links, submission.task, submission.id, orphan.urls)
        )

    async def _read(self, history: RequestHistory) -> bool:
        """Whether the statement of the job's days could be had; and what the list lacks, by its id."""
        own = {one.request_id for one in self._submissions if one.request_id is not None}
        without = [one for one in self._submissions if one.request_id is None or one.is_lost_answer]
        keep = _Near(own, [one.submitted_at for one in without])
        first, last = self._submissions[0].submitted_at, self._submissions[-1].submitted_at
        for days in windows(first - MARGIN, last + MARGIN):

            def progress(rows: int, days: tuple[str, str] = days) -> None:
                self._warn(f"{rows:,} rows of the request history from {days[0]} to {days[1]} are read")

            window = await history.read(*days, keep=keep, progress=progress)
            if isinstance(window, NoAnswer):
                return False
            if not window.complete:
                self._warn(
                    f"the request history from {days[0]} to {days[1]} could not be read to its end: requests "
                    "may be missing here"
                )
            self._rows += window.rows
        await self._fill_in(history)
        return True

    async def _fill_in(self, history: RequestHistory) -> None:
        """What the list lacks is asked for by its id; of the youngest requests more than once, for a row is
        written some time after the output."""
        for pause in (0.0, *LATE_LOOKS):
            whole = {row.request_id for row in self._rows if row.status == "FAILED" or row.cost is not None}
            missing = [one for one in self._submissions if one.request_id and one.request_id not in whole]
            if pause:
                missing = [one for one in missing if self._may_come(one)]
                if not missing:
                    return
                if pause == LATE_LOOKS[0]:
                    self._warn(
                        f"{len(missing):,} requests of the last minutes are not shown with their cost yet: "
                        f"they are looked for again for {sum(LATE_LOOKS):.0f} s"
                    )
                await anyio.sleep(pause)
            asked = [one.request_id for one in missing[-MOST_ASKED:] if one.request_id is not None]
            answers = await _by_id(history, asked)
            told = {row.request_id: row for row in answers.values() if isinstance(row, HistoryRow)}
            # The list has a row for each output: the one that was asked for stands for its own alone.
            older = [one for one in self._rows if not _same_output(one, told.get(one.request_id))]
            self._rows = [*older, *told.values()]

    def _may_come(self, submission: AuditedSubmission) -> bool:
        """Whether a row that is known to be owed may only be late."""
        return submission.outcome == "completed" and submission.submitted_at > self._now() - SHOWN_LATE

    async def _confirmed(self, history: RequestHistory, *, running: bool) -> Audit:
        """Compared again and again, until each request that is ours by its looks is so by its id."""
        fits = _Looks(self._reads, self._rows, self._submissions)
        own: set[str] = set()
        while True:
            found = compare(self._submissions, self._rows, fits, running=running)
            asked = found.matched - own - self.unconfirmed
            if not asked:
                return found
            answers = await _by_id(history, asked)
            absent = {one for one, row in answers.items() if row is NoAnswer.NOT_FOUND}
            own |= {one for one, row in answers.items() if isinstance(row, HistoryRow)}
            self.unconfirmed |= asked - own - absent
            if absent and not await self._finds_by_id(history, own):
                self.unconfirmed |= absent
            else:
                self._rows = [row for row in self._rows if row.request_id not in absent]

    async def _finds_by_id(self, history: RequestHistory, own: Iterable[str]) -> bool:
        """Whether the history finds by its id a request that is known to be ours: else what it does not find
        proves nothing."""
        if any(own):
            return True
        shown = {row.request_id for row in self._rows}
        known = next((one.request_id for one in self._submissions if one.request_id in shown), None)
        return known is not None and isinstance(await history.row_of(known), HistoryRow)

    def _warn_of_late_rows(self, found: Audit) -> None:
        at = {one.request_id: one.submitted_at for one in self._submissions}
        late = [
            one
            for one in found.differences
            if one.statement is None and at.get(one.request_id, 0.0) > self._now() - SHOWN_LATE
        ]
        if late:
            self._warn(
                f"{len(late):,} requests of the last {SHOWN_LATE / 60:.0f} minutes are not shown with their "
                "cost yet: the same command tells more in some minutes"
            )


@asynccontextmanager
async def _history(
    account: Account, warn: Callable[[str], None], now: Callable[[], float]
) -> AsyncIterator[RequestHistory]:
    pacing = Pacing(rpm=None, now=now)
    async with (
        Client(account.endpoints, account.key, pacing=pacing, now=now, called=lambda kind: None) as client,
        anyio.create_task_group() as beside,
    ):
        beside.start_soon(pacing.run)
        yield RequestHistory(
            client,
            pacing,
            Stopping(),
            model="",
            warn=warn,
            jitter=random.random,
            consequence="what it does not tell is not compared",
            patience=PATIENCE,
        )
        beside.cancel_scope.cancel()


async def _by_id(history: RequestHistory, requests: Iterable[str]) -> dict[str, HistoryRow | NoAnswer]:
    """What the history knows of each, asked side by side."""
    answers: dict[str, HistoryRow | NoAnswer] = {}

    async def ask(request_id: str) -> None:
        answers[request_id] = await history.row_of(request_id)

    async with anyio.create_task_group() as tasks:
        for request_id in requests:
            tasks.start_soon(ask, request_id)
    return answers


def _same_output(row: HistoryRow, newer: HistoryRow | None) -> bool:
    return newer is not None and row.url in (None, newer.url)


@dataclass(slots=True)
class _Near:
    """Which rows of a big account are kept: those of our requests, and those around POSTs without an answer,
    at the moments `without` (Unix s, ascending)."""

    own: set[str]
    without: list[float]

    def __call__(self, row: HistoryRow) -> bool:
        if row.request_id in self.own:
            return True
        if row.created_at is None:
            return False
        at = bisect_left(self.without, row.created_at - MARGIN)
        return at < len(self.without) and self.without[at] <= row.created_at + MARGIN


class _Looks:
    """Whether a row looks like the job of a POST, as the jobs teach that both sides know."""

    def __init__(
        self, reads: LedgerReads, rows: Iterable[HistoryRow], submissions: Sequence[AuditedSubmission]
    ) -> None:
        self._reads = reads
        shown = {row.request_id: row for row in rows}
        known = [one for one in submissions if one.request_id in shown]
        jobs = []
        for one in known[:: max(1, len(known) // CALIBRATING_JOBS)]:
            body = self._body(one)
            if body is not None:
                jobs.append(KnownJob(shown[one.request_id or ""], body, one.submitted_at))
        model = reads.meta("model") or ""
        learned = calibrated(model, jobs) or Calibration(frozenset({model}))
        # A job may have had more than one model.
        models = {shown[one.request_id or ""].model for one in known}
        self._calibration = replace(learned, models=learned.models | models)

    def expected(self, submitted_at: float) -> tuple[float, float]:
        return self._calibration.expected(submitted_at)

    def __call__(self, submission: AuditedSubmission, row: HistoryRow) -> bool | None:
        if not self._calibration.may_be(row, submission.submitted_at):
            return False
        body = self._body(submission)
        return None if body is None else self._calibration.matches(row, body)

    def _body(self, submission: AuditedSubmission) -> Mapping[str, Any] | None:
        """None where a file was uploaded anew since, and its URL of then is not known any more."""
        task = self._reads.entry(submission.task).task
        urls = {}
        for place, digest in task.media.items():
            known = self._reads.uploaded(digest)
            if known is None or known[1] > submission.submitted_at:
                return None
            urls[place] = known[0]
        return filled(task.params, urls)


def windows(earliest: float, latest: float) -> list[tuple[str, str]]:
    """Days (YYYY-MM-DD, UTC) from and to, at most 31 in each, without a gap."""
    spans = []
    while earliest <= latest:
        end = min(latest, earliest + (WINDOW_DAYS - 1) * DAY)
        spans.append((day_of(earliest), day_of(end)))
        earliest = end + DAY
    return spans
