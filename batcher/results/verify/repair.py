"""What was found wrong is mended: set aside, withdrawn, fetched again; submitted again only when told to.

Rule: nothing is deleted and nothing overwritten. A file leaves its place before the ledger says so: a crash
between the two leaves a file that is missing, which the next repair finds. Fetching is a run that submits
nothing; it takes the job's lock itself.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection

from batcher.ledger import database, rejections, repairs, totals
from batcher.ledger.totals import credits
from batcher.progress.summary import several
from batcher.results import report
from batcher.results.report import Report
from batcher.results.verify import kept_answers
from batcher.results.verify.check import (
    CheckResult,
    Finding,
    FindingKind,
    check_output,
    folder_of,
    ledger_in,
    missing,
)
from batcher.storage import layout, lock
from batcher.storage.destination import IMAGES, REJECTED, disk
from batcher.storage.destination.local import Local
from batcher.storage.workers import Workers
from batcher.task import State

Fetch = Callable[[Collection[int]], Awaitable[Report]]
"""A run of the job that submits none but these tasks, by their numbers."""

REFUSED = "could not be fetched again; --repay submits it again"
GONE = "its bytes came inside the answer and are not kept; --repay submits it again"


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What a repair found and what came of it.

    `check` is what it found. `fetched` files are in their place again, `set_aside` were moved to
    .batcher/aside, `repaid` tasks were submitted again for `cost` credits. `remaining` is still wrong.
    `exit_code`: 0 when nothing is, 3, or the code of what stopped the fetching, which `causes` tell.
    """

    check: CheckResult
    remaining: tuple[Finding, ...]
    fetched: int = 0
    set_aside: int = 0
    repaid: int = 0
    cost: float = 0.0
    exit_code: int = 0
    causes: tuple[str, ...] = field(default=())


async def repair_output(
    output: Path,
    *,
    fetcher: Callable[[], Fetch],
    repay: bool,
    warn: Callable[[str], None],
    now: Callable[[], float],
    workers: Workers | None = None,
) -> RepairResult:
    """Mends an output folder. `fetcher` gives the run that fetches; it is asked for before anything is
    changed, and only where something is to be fetched, so what it raises leaves all as it was.

    `workers` read the pictures. Raises Locked, UsageError where nothing was ever run, LedgerError, DiskError,
    and what the run raises.
    """
    return await _Repair(output, warn, now, workers).repair(fetcher, repay=repay)


class _Repair:
    """One repair on its way."""

    def __init__(
        self, output: Path, warn: Callable[[str], None], now: Callable[[], float], workers: Workers | None
    ) -> None:
        self._output = output
        self._workers = workers
        self._warn = warn
        self._now = now
        self._aside = 0
        self._repaid: set[int] = set()
        self._cost = 0.0

    async def repair(self, fetcher: Callable[[], Fetch], *, repay: bool) -> RepairResult:
        ledger_in(self._output)
        with lock.hold(layout.lock_path(self._output), since=self._date()) as held:
            held.cover(layout.ledger_path(self._output))
            with self._ledger() as connection:
                self._folder = folder_of(connection, self._output)
                self._pictures = self._folder.destination
                rejections.end_moves(connection, self._pictures)
            check = await check_output(self._output, alone=lambda: True, workers=self._workers)
            lost = self._wanted(check)
            fetch = fetcher() if lost else None
            self._set_right(check)
        rerun = None if fetch is None else await fetch(())
        lost_still = self._left(lost)
        if fetch is not None and rerun is not None and repay and lost_still and not rerun.causes:
            rerun = await self._repay(fetch, rerun, lost_still)
            lost_still = self._left(lost)
        remaining = (*lost_still, *self._rejected(check), *check.of(FindingKind.UNREADABLE))
        stopped = rerun.causes if rerun else ()
        code = 0 if not remaining else rerun.exit_code if rerun and stopped else 3
        return RepairResult(
            check=check,
            remaining=remaining,
            fetched=len(lost) - len(lost_still),
            set_aside=self._aside,
            repaid=len(self._repaid),
            cost=self._cost,
            exit_code=code,
            causes=stopped,
        )

    # --- without a call to anybody

    def _wanted(self, check: CheckResult) -> list[Finding]:
        """Of what is lost, what a run would fetch. A task that failed, or is to be submitted anyway, may have
        pictures of an earlier submission: of these the ledger is told the truth, and no more; but what lies
        in an answer is to be had."""
        here = {answer.task for answer in check.answers if answer.has_picture}
        with self._ledger() as connection:
            return [
                finding
                for finding in check.of(FindingKind.MISSING, FindingKind.WRONG)
                if finding.task in here
                or repairs.state_and_reason(connection, finding.task)[0] in (State.DONE, State.READY)
            ]

    def _rejected(self, check: CheckResult) -> list[Finding]:
        """What is lost of rejected pictures: nobody waits for it, so it is not fetched."""
        with self._ledger() as connection:
            return [
                replace(
                    finding, why=f"{finding.why}; it is rejected: `batcher keep`, then --repair fetches it"
                )
                for finding in check.of(FindingKind.MISSING, FindingKind.WRONG)
                if repairs.state_and_reason(connection, finding.task)[0] == State.REJECTED
            ]

    def _set_right(self, check: CheckResult) -> None:
        """The folder and the ledger agree when this returns: what is wrong is aside, and not delivered."""
        astray = check.of(FindingKind.WRONG, FindingKind.LEFTOVER)
        if not check.of(FindingKind.MISSING, FindingKind.WRONG, FindingKind.LEFTOVER, FindingKind.RECORD):
            return
        self._set_aside(finding.path for finding in astray)
        with self._ledger() as connection:
            lost = check.of(FindingKind.MISSING, FindingKind.WRONG)
            repairs.withdraw(
                connection,
                (
                    (finding.task, finding.position)
                    for finding in lost
                    if repairs.state_and_reason(connection, finding.task)[0] != State.REJECTED
                ),
            )
            for answer in check.answers:
                if answer.has_picture:
                    kept_answers.deliver(connection, self._folder, answer, self._now())
        self._rebuild()

    def _set_aside(self, paths: Iterable[str]) -> None:
        """Moves each of these to .batcher/aside, under a name that is free there."""
        aside = self._output / ".batcher" / "aside"
        here = Local(self._output)
        for path in paths:
            with disk(aside):
                aside.mkdir(exist_ok=True)
            folder, _, name = path.rpartition("/")
            where = self._pictures if folder in (IMAGES, REJECTED) else here
            self._aside += where.quarantine(path, _free(aside, name))

    def _rebuild(self) -> None:
        """metadata.jsonl, errors.jsonl and report.json anew; how the last run ended stays as it was told."""
        rerun = report.of_folder(self._output, now=self._now(), running=False)
        with disk(self._output):
            report.write(rerun)

    # --- what is still not there

    def _left(self, lost: list[Finding]) -> list[Finding]:
        """Of what was lost, what is not delivered now, with the reason."""
        with self._ledger() as connection:
            owed = {(file.task, file.position): file for file in repairs.undelivered(connection)}
            left = []
            for finding in lost:
                file = owed.get((finding.task, finding.position))
                if file is not None:
                    left.append(replace(missing(file, GONE if file.inside else REFUSED), path=finding.path))
                elif (why := self._elsewhere(connection, finding.task)) is not None:
                    left.append(replace(finding, kind=FindingKind.MISSING, why=why))
        return left

    def _elsewhere(self, connection: Connection, task: int) -> str | None:
        """Why a file is not there although nobody fetches it; None: it is there."""
        state, reason = repairs.state_and_reason(connection, task)
        if state == State.DONE:
            return None
        if state == State.FAILED:
            return f"its task failed: {reason}"
        if state == State.PLANNED:
            return "its task is planned: `batcher run` submits it again"
        return f"its task is {state}: `batcher run` goes on with it"

    # --- with money

    async def _repay(self, fetch: Fetch, before: Report, left: list[Finding]) -> Report:
        """Submits the tasks that the files in `left` belong to once more, and no other task."""
        with lock.hold(layout.lock_path(self._output), since=self._date()) as held:
            held.cover(layout.ledger_path(self._output))
            with self._ledger() as connection:
                tasks = [task for task in sorted({f.task for f in left}) if self._payable(connection, task)]
                if not tasks:
                    self._warn(
                        "nothing is submitted again: these tasks failed, or are not in the manifest any more"
                    )
                    return before
                self._plan_again(connection, tasks)
                self._warn(self._price(connection, tasks))
            self._rebuild()
        after = await fetch(tasks)
        with self._ledger() as connection:
            self._repaid = {
                task for task in tasks if repairs.state_and_reason(connection, task)[0] != State.PLANNED
            }
        self._cost = round(after.cost["spent"] - before.cost["spent"], 6)
        return after

    def _payable(self, connection: Connection, task: int) -> bool:
        state, _ = repairs.state_and_reason(connection, task)
        return state in (State.READY, State.PLANNED) and repairs.in_present_plan(connection, task)

    def _plan_again(self, connection: Connection, tasks: list[int]) -> None:
        """A new submission gives all pictures of its task: those of the old one that are whole go aside, so
        that no task has pictures of two."""
        whole = [file for task in tasks for file in repairs.delivered_of(connection, task)]
        self._set_aside(file.path for file in whole)
        repairs.withdraw(connection, ((file.task, file.position) for file in whole))
        repairs.plan_again(connection, tasks)

    def _price(self, connection: Connection, tasks: list[int]) -> str:
        price = totals.price(connection)
        images = repairs.images_of(connection, tasks)
        cost = "at a price nobody told" if price is None else f"for about {credits(images * price):g} credits"
        anew = several(len(tasks), "task is", "tasks are")
        return f"{anew} to be submitted again {cost}; what was paid before stays spent"

    # --- shared

    @contextmanager
    def _ledger(self) -> Iterator[Connection]:
        path = layout.ledger_path(self._output)
        with database.disk_errors(path), closing(database.open_file(path)) as connection:
            yield connection

    def _date(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")


def _free(folder: Path, name: str) -> Path:
    """A path in `folder` that nothing has: `name`, or with a number before its suffix."""
    stem, suffix = os.path.splitext(name)
    target, number = folder / name, 0
    while os.path.lexists(target):
        number += 1
        target = folder / f"{stem}-{number}{suffix}"
    return target
