"""This run among the other runs of its account on this machine, through the account's file.

Rule: whatever is wrong with the file costs the sharing and one sentence, never the run. A run that cannot be
heard goes on by itself, and looks for the others again.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio

from batcher import errors
from batcher.api.pacing import SharedState, Slot
from batcher.engine.admission.period_budget import Own
from batcher.engine.preparation import RunContext
from batcher.ledger import last_run, spending
from batcher.ledger.account_file import JOB_NOTE, AccountFile, Amounts, copy_log
from batcher.ledger.account_settlement import job_in, job_spending
from batcher.ledger.account_view import AccountView
from batcher.ledger.ledger import Ledger
from batcher.ledger.spending import day_of, month_of
from batcher.progress import Message
from batcher.storage import user_state
from batcher.task import State

LOOK_SECONDS = 1.0
"""Between two signs of life."""
PATIENCE = 5.0
"""A file that is locked for longer is given up..."""
FIRST_AGAIN, LONGEST_AGAIN = 1.0, 30.0
"""...and tried again after so many seconds, twice as many each time."""
RETRY_SECONDS = 0.05
LEAVING_TRIES = 50
"""Of 20 ms each: who leaves does not wait longer for a file that is busy."""

Result = TypeVar("Result")


class AccountMembership:
    """This run's part of the account's file. A run against the sandbox, and a share of a plan, have none, and
    say nothing."""

    def __init__(self, context: RunContext, ledger: Ledger) -> None:
        self._context = context
        self._ledger = ledger
        self._file: AccountFile | None = None
        self._job = ""
        self._entered = False
        self._told = False
        self._again = FIRST_AGAIN
        self._next_try = 0.0
        self._trouble = ""
        self._somebody = False
        self._path: Path | None = None
        self._state = SharedState()
        self._noted = ""
        self._unsent_pause: tuple[float, float | None] | None = None
        self._busy_until = 0.0
        self.rpm = context.job.limits.rpm
        """Calls per minute that this run was told."""
        if not context.is_sandbox and context.options.shard is None:
            self._path = user_state.account_path(context.account.name)

    @property
    def is_shared(self) -> bool:
        """Whether the account's other runs can be heard."""
        return self._file is not None

    @property
    def unheard(self) -> str:
        """Why the runs that were beside this one when they last were seen cannot be heard; empty: they can,
        or nobody was."""
        return self._trouble if self._file is None and self._somebody else ""

    async def enter(self) -> None:
        """The run begins: from now on the others hear of it, and it knows what those have spent that ended
        without a word."""
        self._entered = True
        if self._path is None:
            return
        self._job = self._ledger.meta(JOB_NOTE) or ""
        try:
            self._file = AccountFile(self._path)
        except errors.AccountFileError as error:
            self._unshare(error)
        await self._attempt(self._identify)
        with suppress(errors.DiskError, errors.LedgerError):  # `end_with_ledger` ends the run
            await self._ledger.committed()
        await self._attempt(self._introduce)
        await self._settle_silent()

    def _identify(self, file: AccountFile) -> None:
        """Its id is on the ledger's disk before the others hear of it: they look for it there."""
        self._job = self._job_id(file)

    def _introduce(self, file: AccountFile) -> None:
        file.enter(
            self._job,
            folder=self._context.folder.path,
            name=self._context.manifest.name,
            manifest=os.path.abspath(self._context.manifest.folder / self._context.manifest.path.name),
            at=_clock(),
            now=self._context.now(),
        )
        self._beat(file)
        self._state = file.state(self._job, _clock())
        self._again = FIRST_AGAIN

    def _job_id(self, file: AccountFile) -> str:
        """The id that the ledger notes. A copy of an output folder is a job of its own."""
        noted = self._ledger.meta(JOB_NOTE)
        if noted is not None:
            there = file.folder_of(noted)
            here = self._context.folder.path
            if there in (None, here) or job_in(there) != noted:
                return noted
        new = uuid.uuid4().hex
        self._ledger.set_meta(JOB_NOTE, new)
        return new

    async def run(self, refresh: Callable[[], Awaitable[None]]) -> None:
        """Signs of life until cancelled; `refresh` is what else there is to tell and to hear."""
        while True:
            # Where the job's own ledger refuses, `end_with_ledger` ends the run, once all answers are in.
            with suppress(errors.DiskError, errors.LedgerError):
                await self.look()
                await refresh()
            await anyio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """One sign of life; what runs that ended without a word have left is settled."""
        if self._file is None:
            if self._path is not None and _clock() >= self._next_try:
                await self.enter()
            return
        if not self._file.is_there:
            self._file.close()
            self._file = None
            await self.enter()
        await self._attempt(self._beat)
        if self._file is not None and self._file.has_large_log:
            with suppress(errors.AccountFileError):
                await asyncio.to_thread(copy_log, self._file.path)
        if self._unsent_pause is not None:
            self.pause(*self._unsent_pause)
        await self._settle_silent()

    def _beat(self, file: AccountFile) -> None:
        counts = self._ledger.counts
        file.beat(
            self._job,
            total=sum(counts.values()),
            done=counts[State.DONE],
            spent=self._ledger.money.spent,
            rpm=self.rpm,
            at=_clock(),
            now=self._context.now(),
        )

    async def _settle_silent(self) -> None:
        """What a run that is not heard of has in its ledger is what it spent; where that cannot be read, what
        it said last stays counted."""
        for job, folder, beat in await self._attempt(lambda file: file.silent(_clock())) or ():
            if job != self._job:
                await self._settle(job, folder, beat)

    async def _settle(self, job: str, folder: Path, beat: float) -> None:
        month = month_of(day_of(self._context.now()))
        spent = await asyncio.to_thread(job_spending, job, folder, month)
        if spent is not None:
            await self._attempt(
                lambda file: file.settle(job, beat, spent.days, since=month, over=spent.is_over)
            )

    async def exchange(self, today: int, month: int, own: Own, since: int | None = None) -> None:
        """As `SharedSpending.exchange`."""

        def both(file: AccountFile) -> bool:
            file.exchange(self._job, today=today, month=month, at=_clock(), own=own, since=since)
            return True

        if not await self._attempt(both):
            # Nobody hears what is set aside here; but what the others said may still be read.
            own(self._look(lambda look, at: look.others(today=today, month=month, at=at)))

    def others_by_job(self) -> dict[str, Amounts] | None:
        """What each of the account's other jobs on this machine has, by its id; None: it cannot be known."""
        return self._try(lambda file: file.by_job(self._job))

    # As `SharedSlots`: the limit of the account's calls.

    @property
    def other_runs(self) -> int:
        """As `SharedSlots.other_runs`."""
        return 0 if self._file is None else self._state.other_runs

    def state(self) -> SharedState | None:
        """As `SharedSlots.state`."""
        state = self._try(lambda file: file.state(self._job, _clock()))
        self._state = state or self._state
        return state

    async def take(self, pace: float, late: float, *, spaced: bool) -> Slot | None:
        """As `SharedSlots.take`."""
        slot = await self._attempt(
            lambda file: file.take(self._job, at=_clock(), pace=pace, late=late, spaced=spaced)
        )
        if slot is not None:
            self._state = slot.state
        return slot

    def give_back(self, slot: Slot) -> None:
        """As `SharedSlots.give_back`."""
        self._try(lambda file: file.give_back(slot))

    def refused(self) -> None:
        """As `SharedSlots.refused`."""
        self._try(lambda file: file.count_refused())

    def pause(self, until: float, reset: float | None) -> None:
        """As `SharedSlots.pause`."""
        self._unsent_pause = until, reset

        def send(file: AccountFile) -> None:
            file.pause(self._job, until=until, reset=reset, at=_clock())
            self._unsent_pause = None

        self._try(send)  # what a busy file does not take is told at the next look

    def learn(self, lesson: Mapping[str, Any]) -> None:
        """What 429s taught this run, for those that begin later; that every call counts, all hear."""
        text, all_metered = json.dumps(lesson), lesson.get("found_out") is True
        self._try(lambda file: file.learn(text, all_metered=all_metered))

    def learned(self) -> dict[str, Any] | None:
        """What 429s taught the account's runs; None where that is not known."""
        text = self._try(lambda file: file.learned())
        try:
            lesson = json.loads(text or "null")
        except ValueError:
            return None
        return lesson if isinstance(lesson, dict) else None

    def note_sharing(self, text: str) -> None:
        """Who runs beside, in words, for whoever looks at the job from outside; empty: nobody."""
        if text != self._noted:
            self._noted = text
            self._ledger.note(last_run.SHARING, text)

    def _look(self, use: Callable[[AccountView, float], Result]) -> Result | None:
        """Reads the file where no more can be had; None: not even that."""
        try:
            assert self._path is not None
            with closing(AccountView(self._path, self._job)) as look:
                return use(look, _clock())
        except (AssertionError, errors.AccountFileError):
            return None

    def _try(self, use: Callable[[AccountFile], Result]) -> Result | None:
        """Uses the file at once, or not at all."""
        if self._file is None:
            return None
        try:
            return use(self._file)
        except errors.AccountFileBusy:
            return None
        except errors.AccountFileError as error:
            self._unshare(error)
            return None

    def leave(self, exit_code: int | None, causes: tuple[str, ...]) -> None:
        """The run is over, for this reason; said once. What its ledger has is what stays counted: no longer
        what it had only set aside."""
        file = self._file
        if file is None or not self._entered:
            return
        self._entered = False
        month = month_of(day_of(self._context.now()))
        days = self._days(month)

        def say() -> None:
            self._beat(file)
            file.leave(
                self._job,
                ended_at=self._context.now(),
                exit_code=exit_code,
                why="; ".join(causes),
                days=days,
                since=month,
            )

        text = ""
        for _ in range(LEAVING_TRIES):
            try:
                say()
            except errors.AccountFileBusy as error:
                text = f"`batcher jobs` does not say how this run ended: {error}"
            except errors.AccountFileError as error:
                self._unshare(error)
                return
            else:
                return
        self._context.tell(Message(text, "info"))

    def _days(self, since: int) -> Mapping[int, Amounts] | None:
        """What the ledger has of each day from `since` on; None: it cannot be read."""
        dearest = max(self._context.price or 0, self._ledger.money.dearest)
        try:
            days = self._ledger.count_days(since).days
        except errors.BatcherError:
            return None
        return {day: spending.committed(money, dearest) for day, money in days.items()}

    def close(self) -> None:
        """Lets go of the file; a run that was cancelled is over without having said how."""
        self.leave(None, ())
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _attempt(self, use: Callable[[AccountFile], Result]) -> Result | None:
        """Uses the file, once it is free; None where it cannot be had. Each try holds the loop up, so after
        a busy answer all who wait have the same next one."""
        until = _clock() + PATIENCE
        while self._file is not None:
            if (wait := self._busy_until - _clock()) > 0 and _clock() < until:
                await anyio.sleep(wait)
                continue
            try:
                return use(self._file)
            except errors.AccountFileBusy as error:
                self._busy_until = _clock() + RETRY_SECONDS
                if _clock() >= until:
                    self._unshare(error)
            except errors.AccountFileError as error:
                self._unshare(error)
        return None

    def _unshare(self, error: errors.AccountFileError) -> None:
        self._trouble = str(error)
        seen = self._look(lambda look, at: look.running(at))
        # Whoever keeps it busy is there; else what was seen last holds where it cannot even be read.
        self._somebody = isinstance(error, errors.AccountFileBusy) or bool(
            self._state.other_runs if seen is None else seen
        )
        self._next_try = _clock() + self._again
        self._again = min(LONGEST_AGAIN, 2 * self._again)
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self._told:
            self._told = True
            # Whoever wants only problems has one where a budget of several jobs bounds each of them alone.
            per = self._context.job.limits.max_cost_per
            bounded = per.day is not None or per.month is not None
            self._context.tell(Message(self._trouble_text(), "warning" if bounded else "info"))

    def _trouble_text(self) -> str:
        cannot = f"what this account's jobs on this machine share cannot be used ({self._trouble})"
        per = self._context.job.limits.max_cost_per
        if self.unheard and (per.day is not None or per.month is not None):
            return (
                f"{cannot}: other jobs run beside this one, so it submits nothing until it can be used "
                "again, for up to 5 minutes; else max_cost_per might be exceeded"
            )
        return (
            f"{cannot}: this run goes on by itself, and neither `batcher jobs` nor max_cost_per of other "
            "jobs sees it"
        )


def _clock() -> float:
    """Seconds of the machine's steady clock, which is the loop's."""
    return asyncio.get_running_loop().time()
