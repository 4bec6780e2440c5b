"""The ledger against the provider's statement, request by request.

Rule: every credit is explained, or the difference is named. Pure: the rows come from outside.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from batcher.api.wire import HistoryRow
from batcher.ledger.totals import MICRO, PERHAPS_PAID, credits
from batcher.task import State

SUBMISSIONS = """
SELECT s.id, t.id, t.name, t.state, s.submitted_at, s.request_id, s.outcome, s.cost, s.id = t.submission
FROM submissions s JOIN tasks t ON t.id = s.task
WHERE s.images > 0
ORDER BY s.submitted_at
"""
"""But for what was taken over: that was paid for by another job."""


@dataclass(frozen=True, slots=True)
class AuditedSubmission:
    """One POST as the ledger has it. `cost` in micro-credits, as the provider told it with the result."""

    id: int
    task: int
    name: str
    state: State
    submitted_at: float
    request_id: str | None
    outcome: str
    cost: int | None
    in_force: bool

    @property
    def is_lost_answer(self) -> bool:
        """Whether its answer was lost, perhaps behind the id of its job, and nothing has settled it."""
        settled = self.in_force and self.state is State.FAILED and self.request_id is not None
        return self.outcome in PERHAPS_PAID and not settled

    @property
    def is_waited_for(self) -> bool:
        """Whether its task is held until it is known what became of it."""
        return self.in_force and self.state is State.DOUBTFUL


@dataclass(frozen=True, slots=True)
class Orphan:
    """A billed job of ours whose request_id the ledger never had, or whose task has no picture of it for
    another reason. `cost` in micro-credits."""

    request_id: str
    submission: AuditedSubmission
    cost: int
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One request whose cost is told differently, in micro-credits; None: not at all."""

    request_id: str
    ledger: int | None
    statement: int | None

    @property
    def amount(self) -> int:
        return (self.statement or 0) - (self.ledger or 0)


@dataclass(slots=True)
class Bucket:
    """So many requests for so many micro-credits."""

    requests: int = 0
    micro: int = 0

    def add(self, cost: int) -> None:
        """One request more."""
        self.requests += 1
        self.micro += cost

    def as_json(self, word: str = "requests") -> dict[str, Any]:
        """The object of `audit --json`; `word` names what is counted."""
        return {word: self.requests, "credits": credits(self.micro)}


@dataclass(slots=True)
class Audit:
    """What came of the comparison.

    `in_flight`: what the next run fetches, or what still runs there; `lost`: paid for, and gone before it
    could be fetched; `no_job` counts the lost answers that were no job, `unknown` those of which the
    statement does not tell whether they were, `unseen` the requests with a request_id that the statement does
    not show (yet) and that cost nothing as far as is known; `missed` has the jobs that the ledger knows, and
    whose pictures the statement names, while their task failed or is to be paid for again; `unbilled` the
    POSTs of which held tasks wait to hear, and whose jobs FAILED, with the ids of these (one that is not
    shown may be late, and is none of them); `matched` the requests that are ours by body and time alone.
    """

    job: str = ""
    statement: Bucket = field(default_factory=Bucket)
    ledger: Bucket = field(default_factory=Bucket)
    delivered: Bucket = field(default_factory=Bucket)
    rejected: Bucket = field(default_factory=Bucket)
    failed: Bucket = field(default_factory=Bucket)
    in_flight: Bucket = field(default_factory=Bucket)
    lost: Bucket = field(default_factory=Bucket)
    orphans: list[Orphan] = field(default_factory=list)
    missed: list[Orphan] = field(default_factory=list)
    unbilled: list[tuple[AuditedSubmission, str]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    no_job: int = 0
    unknown: int = 0
    unseen: int = 0
    matched: set[str] = field(default_factory=set)

    @property
    def unexplained(self) -> int:
        """Micro-credits by which the two sides differ, request by request; two errors do not cancel out."""
        return sum(abs(difference.amount) for difference in self.differences)

    @property
    def exit_code(self) -> int:
        return 3 if self.orphans or self.unexplained else 0

    def as_json(self) -> dict[str, Any]:
        """The one object of `audit --json`, in credits."""
        return {
            "job": self.job,
            "statement": self.statement.as_json(),
            "ledger": self.ledger.as_json("submissions"),
            "delivered": self.delivered.as_json(),
            "rejected": self.rejected.as_json(),
            "failed": self.failed.as_json(),
            "in_flight": self.in_flight.as_json(),
            "lost": self.lost.as_json(),
            "orphans": [
                {
                    "request_id": orphan.request_id,
                    "cost": credits(orphan.cost),
                    "task": orphan.submission.name,
                    "url": orphan.urls[0] if orphan.urls else None,
                }
                for orphan in self.orphans
            ],
            "unbilled": [
                {"request_id": request, "task": submission.name} for submission, request in self.unbilled
            ],
            "differences": [
                {
                    "request_id": difference.request_id,
                    "ledger": _credits(difference.ledger),
                    "statement": _credits(difference.statement),
                }
                for difference in self.differences
            ],
            "unexplained": credits(self.unexplained),
        }


def submissions_of(connection: sqlite3.Connection) -> list[AuditedSubmission]:
    """Every POST of a ledger that could cost money, by time."""
    return [
        AuditedSubmission(number, task, name, State(state), at, request, outcome, cost, bool(in_force))
        for number, task, name, state, at, request, outcome, cost, in_force in connection.execute(SUBMISSIONS)
        if outcome != "refused"
    ]


class MatchRule(Protocol):
    """Whether a row of the statement may be the job that a POST made."""

    def expected(self, submitted_at: float) -> tuple[float, float]:
        """Between which moments (Unix s) the row of a POST of that time has its stamp."""

    def __call__(self, submission: AuditedSubmission, row: HistoryRow) -> bool | None:
        """None where they cannot be compared."""


class UnclaimedRequests:
    """The requests of the statement that no submission of ours names, by the time of their stamp."""

    def __init__(self, requests: Mapping[str, Sequence[HistoryRow]], fits: MatchRule) -> None:
        self._requests = dict(requests)
        self._fits = fits
        self._stamps = sorted(
            (rows[0].created_at, request)
            for request, rows in requests.items()
            if rows[0].created_at is not None
        )

    def job_of(self, submission: AuditedSubmission) -> tuple[Sequence[HistoryRow], bool]:
        """The rows of the job that this POST made, the nearest in time, which is claimed with that; empty
        where there is none. And whether that is certain: every row around it could be compared."""
        earliest, latest = self._fits.expected(submission.submitted_at)
        middle = (earliest + latest) / 2
        certain, found = True, []
        for at in range(bisect_left(self._stamps, (earliest, "")), len(self._stamps)):
            stamp, request = self._stamps[at]
            if stamp > latest:
                break
            if request not in self._requests:
                continue
            fits = self._fits(submission, self._requests[request][0])
            if fits:
                found.append((abs(stamp - middle), request))
            certain = certain and fits is not None
        return (self._requests.pop(min(found)[1]), True) if found else ((), certain)


def compare(
    submissions: Sequence[AuditedSubmission],
    rows: Iterable[HistoryRow],
    fits: MatchRule,
    *,
    running: bool = False,
) -> Audit:
    """The ledger's POSTs against the statement's rows (one per output, each with the whole cost).

    A row that fits no POST of ours is another job's of the account, or a teammate's, and does not count here.
    `running`: a run is at work on the job, whose answers are still to come.
    """
    requests: dict[str, list[HistoryRow]] = defaultdict(list)
    for row in rows:
        requests[row.request_id].append(row)
    audit = Audit()
    ours = {submission.request_id for submission in submissions}
    unclaimed = UnclaimedRequests({key: found for key, found in requests.items() if key not in ours}, fits)
    for submission in submissions:
        audit.ledger.add(submission.cost or 0)
        found = requests.get(submission.request_id or "")
        if found is not None and submission.is_lost_answer:
            _perhaps_paid(audit, submission, found)
        elif found is not None:
            _known(audit, submission, found)
        elif submission.request_id is not None and not submission.is_lost_answer:
            _unseen(audit, submission)
        elif submission.outcome == "completed":
            _without_id(audit, submission, unclaimed)
        elif submission.outcome == "open" and running:
            audit.in_flight.add(0)
        else:
            _lost_answer(audit, submission, unclaimed)
    return audit


def _known(audit: Audit, submission: AuditedSubmission, rows: Sequence[HistoryRow]) -> None:
    """Both sides have the request. Where one of them tells no cost, the other's is the cost; but what the
    ledger has and the statement lacks is a difference."""
    statement, ledger = _cost(rows), submission.cost
    audit.statement.add(statement or 0)
    urls = tuple(row.url for row in rows if row.url)
    if statement and urls and submission.state in (State.FAILED, State.PLANNED):
        audit.missed.append(Orphan(rows[0].request_id, submission, statement, urls))
    if ledger is None and submission.outcome == "failed":
        ledger = 0  # only what completed is billed
    if ledger is None:
        _bucket(audit, submission).add(statement or 0)
        return
    _bucket(audit, submission).add(ledger)
    if ledger != (statement or 0):
        audit.differences.append(Difference(rows[0].request_id, submission.cost, statement))


def _bucket(audit: Audit, submission: AuditedSubmission) -> Bucket:
    """Where a request counts that both sides have."""
    if submission.outcome == "completed":
        if not submission.in_force:
            return audit.delivered
        by_state = {"rejected": audit.rejected, "failed": audit.failed, "ready": audit.in_flight}
        return by_state.get(submission.state.value, audit.delivered)
    if submission.outcome == "open":
        return audit.in_flight
    return audit.lost if submission.outcome == "lost" else audit.failed


def _without_id(audit: Audit, submission: AuditedSubmission, unclaimed: UnclaimedRequests) -> None:
    """A v1 answer without its id: its job is the stranger with its body and time."""
    rows, _ = unclaimed.job_of(submission)
    if rows:
        audit.matched.add(rows[0].request_id)
        _known(audit, submission, rows)
        return
    _bucket(audit, submission).add(submission.cost or 0)
    if submission.cost:
        audit.differences.append(Difference("", submission.cost, None))


def _unseen(audit: Audit, submission: AuditedSubmission) -> None:
    """The statement does not show a request of ours."""
    if submission.outcome == "completed":
        _bucket(audit, submission).add(submission.cost or 0)
    if submission.cost:
        audit.differences.append(Difference(str(submission.request_id), submission.cost, None))
    else:
        audit.unseen += 1


def _lost_answer(audit: Audit, submission: AuditedSubmission, unclaimed: UnclaimedRequests) -> None:
    """The answer to a POST was lost: either it was no job, or its job is an orphan once it is billed."""
    rows, certain = unclaimed.job_of(submission)
    if not rows:
        audit.no_job += certain
        audit.unknown += not certain
        return
    audit.matched.add(rows[0].request_id)
    _perhaps_paid(audit, submission, rows)


def _perhaps_paid(audit: Audit, submission: AuditedSubmission, rows: Sequence[HistoryRow]) -> None:
    """The job of a POST whose answer was lost: an orphan once it is billed."""
    cost = _cost(rows) or 0
    audit.statement.add(cost)
    if cost:
        urls = tuple(row.url for row in rows if row.url)
        audit.orphans.append(Orphan(rows[0].request_id, submission, cost, urls))
    elif rows[0].status in ("FAILED", "COMPLETED"):
        audit.failed.add(0)
        if rows[0].status == "FAILED" and submission.is_waited_for:
            audit.unbilled.append((submission, rows[0].request_id))
    else:
        audit.in_flight.add(0)


def _cost(rows: Sequence[HistoryRow]) -> int | None:
    """Micro-credits; None where no row tells them. Each row of a request has its whole cost."""
    return max((round(row.cost * MICRO) for row in rows if row.cost is not None), default=None)


def _credits(micro: int | None) -> float | None:
    return None if micro is None else credits(micro)
