"""What the provider's history knows of a POST whose answer was lost.

Rule: nothing is guessed. A job is adopted when its body, model and time fit, no other task has it, and it is
confirmed by its id as one of ours. That there is none is believed only when it is proven: the days were read
to their end, each of their rows could be compared, the provider had time to show it, and the same reading
shows jobs that this ledger knows as they were sent. Else the task stays doubtful, and the next run looks
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import anyio

from batcher import errors
from batcher.api.wire import HistoryRow
from batcher.engine.calibration import Calibration, KnownJob, calibrated
from batcher.engine.history_lookup import HistoryWindow, NoAnswer, RequestHistory
from batcher.engine.stopping import Stopping
from batcher.engine.submission_ages import SubmissionAges
from batcher.engine.uploads import Uploads
from batcher.ledger import repairs
from batcher.ledger.entries import TaskEntry, current_submission
from batcher.ledger.ledger import Ledger

LOOKS = (5.0, 30.0, 90.0)
"""Seconds after the POST at which its job is looked for, before its absence can prove anything."""
SHOWN_SECONDS = 180.0
SHOWN_TIMES = 3.0
"""So long, and so many times a job's typical time, the provider has to show a job."""
LATER_LOOKS = (1.0, 30.0, 90.0, 210.0, 420.0, 600.0)
"""Seconds after that at which it is looked for again while something is missing that may still come."""
ZONES = 14 * 3600.0
"""Stamps may be told in local time: so far around the POST the days are read."""
NEIGHBOURS = 900.0
"""Completed jobs of ours that were submitted within so many seconds of the POST must be shown, too."""
ROWS_TO_ASK = 50
"""So many rows of one look are asked about by their id at most."""
SHARED = 2.0
"""Seconds: a reading that began so shortly before a look serves it, too."""


class Proof(Enum):
    """What one look proves, where it finds no job."""

    NO_JOB = "no such job"
    NOT_YET = "something is missing that may still come"
    NEVER = "this history proves nothing"


@dataclass(frozen=True, slots=True)
class _Post:
    """A POST whose answer was lost. `posted_at` is the loop's time of it."""

    entry: TaskEntry
    body: Mapping[str, Any]
    posted_at: float
    contested: Callable[[], bool]

    @property
    def submitted_at(self) -> float:
        return current_submission(self.entry).submitted_at


class Reconciliation:
    """Looks for the jobs of lost answers. `typical` gives the typical seconds of a job, `skew` how far the
    provider's clock is ahead of ours; `warn` is told once why tasks are held."""

    def __init__(
        self,
        history: RequestHistory,
        ledger: Ledger,
        uploads: Uploads,
        stopping: Stopping,
        *,
        ages: SubmissionAges,
        model: str,
        typical: Callable[[], float],
        skew: Callable[[], float],
        warn: Callable[[str], None],
        job: str,
    ) -> None:
        self._history = history
        self._job = job
        self._ledger = ledger
        self._uploads = uploads
        self._stopping = stopping
        self._ages = ages
        self._model = model
        self._typical = typical
        self._skew = skew
        self._warn = warn
        self._warned = False
        self._taken: set[str] = set()
        self._foreign: set[str] = set()
        self._finds_by_id = False

    async def job_of(
        self, entry: TaskEntry, body: Mapping[str, Any], *, contested: Callable[[], bool]
    ) -> list[HistoryRow] | NoAnswer:
        """The rows (one per output) of the job that the task's POST made of `body`, its own row first;
        NOT_FOUND where it is proven that there is none. While it is `contested`, what is found may be the job
        of a POST whose answer is still to come: then it is looked again."""
        clock = asyncio.get_running_loop().time
        posted_at = clock() - self._ages.of(entry)
        post = _Post(entry, body, posted_at, contested)
        shown_by = posted_at + self._shown_seconds
        looks = [posted_at + wait for wait in LOOKS] + [shown_by + wait for wait in LATER_LOOKS]
        coming = [at for at in looks if at > clock()]
        if len(coming) < len(looks):
            coming.insert(0, clock())
        if not coming[1:]:
            coming += [clock() + wait for wait in LATER_LOOKS]
        for at in coming:
            with self._stopping.cancelled_by_stop():
                await anyio.sleep(max(0.0, at - clock()))
            if self._stopping.requested:
                return NoAnswer.UNANSWERED
            outcome = await self._look(post)
            if isinstance(outcome, list | NoAnswer):
                return outcome
            if outcome is Proof.NO_JOB:
                return NoAnswer.NOT_FOUND
            if outcome is Proof.NEVER:
                break
        self._warn_held()
        return NoAnswer.UNANSWERED

    @property
    def _shown_seconds(self) -> float:
        return max(SHOWN_SECONDS, SHOWN_TIMES * self._typical())

    def _warn_held(self) -> None:
        if not self._warned:
            self._warned = True
            self._warn(
                "the request history does not prove what became of submits whose answers were lost: doubtful "
                f"tasks are held, and the next run looks again; `batcher retry {self._job} --doubtful` "
                "submits them again"
            )

    async def _look(self, post: _Post) -> list[HistoryRow] | NoAnswer | Proof:
        now = asyncio.get_running_loop().time()
        middle = post.submitted_at + self._skew()
        window = await self._history.window(middle - ZONES, middle + ZONES, since=now - SHARED)
        if isinstance(window, NoAnswer):
            return window
        known = self._ledger.requests_near(current_submission(post.entry))
        calibration = calibrated(self._model, await self._shown(window, known))
        skew = self._skew()
        plain = Calibration(frozenset({self._model}), offsets=(skew, skew))
        verdict = await self._own_job(post, window, calibration or plain)
        if verdict is not Proof.NO_JOB:
            return verdict
        return self._proof(post, window, known, calibration)

    def _proof(
        self,
        post: _Post,
        window: HistoryWindow,
        known: Sequence[TaskEntry],
        calibration: Calibration | None,
    ) -> Proof:
        """What it proves that no row is that of the job."""
        if not self._ledger.read(repairs.in_present_plan, post.entry.id):
            return Proof.NEVER  # the history was asked for another model, perhaps
        if not window.complete:
            return Proof.NOT_YET
        if calibration is None:
            return Proof.NOT_YET if known or self._ledger.in_the_air() else Proof.NEVER
        earliest, latest = calibration.expected(post.submitted_at)
        middle = post.submitted_at + self._skew()
        if earliest < middle - ZONES or latest > middle + ZONES:
            return Proof.NEVER
        if window.began_at < post.posted_at + self._shown_seconds:
            return Proof.NOT_YET
        shown = {row.request_id for row in window.rows}
        for entry in known:
            neighbour = current_submission(entry)
            near = abs(neighbour.submitted_at - post.submitted_at) <= NEIGHBOURS
            if near and neighbour.outcome == "completed" and neighbour.request_id not in shown:
                return Proof.NOT_YET
        return Proof.NO_JOB

    async def _shown(self, window: HistoryWindow, known: Sequence[TaskEntry]) -> list[KnownJob]:
        """The jobs of this ledger that the window shows, with what was sent."""
        rows = {row.request_id: row for row in window.rows}
        jobs = []
        for entry in known:
            submission = current_submission(entry)
            row = rows.get(submission.request_id or "")
            if row is None:
                continue
            try:
                body = await self._uploads.body_as_sent(entry.task, submission.submitted_at)
            except errors.TaskError:
                continue
            if body is not None:
                jobs.append(KnownJob(row, body, submission.submitted_at))
        return jobs

    async def _own_job(
        self, post: _Post, window: HistoryWindow, calibration: Calibration
    ) -> list[HistoryRow] | NoAnswer | Proof:
        """The rows of its job, confirmed by its id; NO_JOB where no row is, NOT_YET where one may be."""
        expected = sum(calibration.offsets) / 2 + post.submitted_at
        in_time = {row.request_id: row for row in window.rows if calibration.may_be(row, post.submitted_at)}
        matches = {row.request_id: calibration.matches(row, post.body) for row in in_time.values()}
        # A job of ours with this very body that no task has, of another time: a clock may have been set.
        strays = [
            row
            for row in window.rows
            if row.request_id not in in_time
            and calibration.is_of(row)
            and calibration.matches(row, post.body)
        ]
        open_rows = [row for row in in_time.values() if matches[row.request_id] is not False] + strays
        asked = [row for row in open_rows if not self._is_anothers(row)]
        asked.sort(key=lambda row: abs((row.created_at or expected) - expected))
        open_questions = len(asked) > ROWS_TO_ASK
        for row in asked[:ROWS_TO_ASK]:
            if self._is_anothers(row):
                continue
            self._taken.add(row.request_id)
            own = await self._confirmed(row.request_id)
            if isinstance(own, HistoryRow) and matches.get(row.request_id) and not post.contested():
                return [own, *(one for one in window.rows if one.request_id == own.request_id)]
            self._taken.discard(row.request_id)
            if own is NoAnswer.NOT_FOUND:
                self._foreign.add(row.request_id)
            elif own is NoAnswer.UNAVAILABLE:
                return own
            else:
                open_questions = True
        return Proof.NOT_YET if open_questions else Proof.NO_JOB

    def _is_anothers(self, row: HistoryRow) -> bool:
        """Whether a row is that of a job whose task is known, or of a teammate."""
        return (
            row.request_id in self._taken
            or row.request_id in self._foreign
            or self._ledger.knows(row.request_id)
        )

    async def _confirmed(self, request_id: str) -> HistoryRow | NoAnswer:
        """The job by its id: one of this key's own. That it is not is believed only of a history that finds
        a job by its id which is known to be ours."""
        own = await self._history.row_of(request_id)
        if isinstance(own, HistoryRow):
            self._finds_by_id = True
        if own is not NoAnswer.NOT_FOUND or self._finds_by_id:
            return own
        for entry in self._ledger.requests_near(None):
            if isinstance(await self._history.row_of(current_submission(entry).request_id or ""), HistoryRow):
                self._finds_by_id = True
                return own
            break
        return NoAnswer.UNANSWERED
