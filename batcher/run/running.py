"""run(): one job from its manifest to its report.

Law: whatever ends a run, the ledger is whole, the records are written and the reason is told.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import yaml

from batcher import destination, distribute, errors, geometry, lock, place, report
from batcher.account import Account
from batcher.client import Client
from batcher.download import Folder
from batcher.ledger import ending
from batcher.ledger.ending import Ending
from batcher.ledger.entries import Entry
from batcher.ledger.totals import credits, micro
from batcher.ledger.writer import Ledger
from batcher.manifest import Manifest
from batcher.pacing import Kind, Pacing, PacingEvent
from batcher.polling import Polling
from batcher.progress import Finished, Listener, Moved, Noted, Planning, Started, both, silent
from batcher.progress.lines import Log
from batcher.report import Report
from batcher.run import planning, watching
from batcher.run.engine import Engine, wired
from batcher.run.starting import (
    SANDBOX_ORIGIN,
    Wishes,
    account_for,
    carried,
    embedded_sandbox,
    noted_destination,
    opened,
    refuse_without_ledger,
)
from batcher.run.telling import Records, audited
from batcher.stopping import FirstFailures, Stopping, gravest
from batcher.task import FINAL, IN_FLIGHT, State

BALANCE_SECONDS = 30.0
"""The account's balance is worth no longer wait."""
SLOWEST = 3
"""So many of the slowest tasks are named at the end."""


async def run(
    job: Manifest,
    *,
    listener: Listener = silent,
    account: Account | None = None,
    base_url: str | None = None,
    sandbox: bool = False,
    output: Path | None = None,
    wishes: Wishes | None = None,
    now: Callable[[], float] = time.time,  # noqa: TID251  # here the wall clock enters
    luck: Callable[[], float] = random.random,
) -> Report:
    """Runs a job until nothing is left that may be done; running it again goes on where this ended.

    `account` None: the one that the environment names (`base_url` before SEGMIND_BASE_URL); `sandbox`: an
    embedded local server instead, with its results in `<output>-sandbox`; `output`: another folder, whose
    pictures lie in it, or where its ledger says. Raises what keeps a run from starting: ManifestError,
    MissingKey, Locked, OtherOrigin, OtherDestination, LedgerError, DiskError, and UsageError where a folder
    of delivered pictures has lost its ledger. What ends it later is in the report's exit_code and causes.
    """
    wishes = wishes or Wishes()
    if wishes.on is not None:
        distribute.installed()
    async with AsyncExitStack() as stack:
        origin = None
        if sandbox:
            account = await embedded_sandbox(stack, now)
            origin = SANDBOX_ORIGIN
        elif account is None:
            account = account_for(job, base_url)
        path = place.output_in(job.output.dir, output=output, sandbox=sandbox, shard=wishes.shard)
        named = place.store_of(job.store, sandbox=sandbox, shard=wishes.shard)
        where = named if output is None else noted_destination(path)
        if where is None and not sandbox:
            refuse_without_ledger(path)
        folder = Folder(path, destination.at(where, path))
        began = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
        stack.enter_context(opened(folder))
        stack.enter_context(lock.held(place.lock_of(path), since=began))
        return await _Run(job, folder, account, listener, wishes, now, luck).run(origin, where)


class _Run:
    """One run: before, during, and after."""

    def __init__(
        self,
        job: Manifest,
        folder: Folder,
        account: Account,
        listener: Listener,
        wishes: Wishes,
        now: Callable[[], float],
        luck: Callable[[], float],
    ) -> None:
        self.whole = job
        self.job = planning.share_of(job, wishes.shard)
        self.folder = folder
        self.account = account
        self.listener = listener
        self.log = Log(folder.state / "log.jsonl", now=now)
        self.tell = both(listener, self.log)
        self.wishes = wishes
        self.now = now
        self.luck = luck
        self.model = planning.model_of(job)
        price = planning.price_of(job, self.model)
        self.price = None if price is None else micro(price)
        self.stopping = Stopping()
        self.failures = FirstFailures(wishes.same_failures)

    async def run(self, origin: str | None, where: str | None) -> Report:
        async with AsyncExitStack() as stack:
            stack.callback(self.log.close)
            self.ledger = Ledger(place.ledger_of(self.folder.path), now=self.now, moved=self._moved)
            try:
                self.ledger.claim_origin(origin or self.account.endpoints.api)
                self.ledger.claim_destination(where)
                self._plan()
                self._start(forget=origin == SANDBOX_ORIGIN)
                downloads, called = self.job.limits.downloads, self.ledger.called
                bytes_ = carried(self.wishes.on, self.folder, downloads=downloads, called=called)
                self.carrier = await stack.enter_async_context(bytes_)
                await self._work()
                self._keep_ending()
            finally:
                self.ledger.close()
            return self._ended()

    # --- before

    def _plan(self) -> None:
        self.ledger.end_run(held=self.job.retry.doubtful == "hold")
        planned = None
        if self.wishes.replan:
            self.ledger.claim_share(self.wishes.shard)
            planned = planning.into(
                self.ledger,
                self.job,
                note=self._warn,
                noticed=lambda tasks: self.tell(Planning(tasks)),
                shard=self.wishes.shard,
                strict=self.wishes.strict,
            )
        left_out, first = self.ledger.left_out()
        if first is not None:
            self._warn(planning.told_left_out(left_out, str(first)))
        self.folder.prepare()
        rule = geometry.as_text(self.model.geometry if self.model else None)
        self.ledger.made_with(self.job.model, rule)
        for key, value in {"job": self.job.name, "price": self.price}.items():
            if value is not None:
                self.ledger.note(key, str(value))
        resolved = yaml.safe_dump(self.whole.resolved(), sort_keys=False, allow_unicode=True)
        destination.replace(self.folder.state / "manifest.yaml", [resolved])
        if self.folder.destination.remote:
            # Whoever may not write there learns it before anything is paid for.
            report.begin(report.of_folder(self.folder.path, now=self.now(), running=True))
        total = sum(self.ledger.counts.values())
        new = planned.new if planned else 0
        self.tell(Started(self.job.name, self.job.model, self.folder.destination.where, total, new))

    def _start(self, *, forget: bool) -> None:
        doubted = self.ledger.doubt_the_interrupted()
        if doubted:
            self._warn(f"{doubted} tasks were cut off before their answer: perhaps paid, now in doubt")
        self.ledger.start_run()
        if forget:
            self.ledger.forget_in_flight("the sandbox that worked on it has ended")
        if self.wishes.retry_failed:
            self.ledger.retry_failed()
        each = self.ledger.money.per_image(self.price)
        if self.wishes.confirm is not None and each:
            cost = credits(self.ledger.planned_images() * each)
            if not self.wishes.confirm(cost, self.ledger.counts[State.PLANNED]):
                raise errors.UsageError(
                    f"about {cost:g} credits were not confirmed (-y confirms); nothing was submitted"
                )
        self.ledger.note(ending.NOTE, ending.NOT_YET)

    # --- during

    async def _work(self) -> None:
        ledger, limits, poll = self.ledger, self.job.limits, self.job.poll
        self.pacing = pacing = Pacing(
            rpm=limits.rpm,
            metered=limits.metered,
            now=self.now,
            learned=_remembered(ledger.meta("pacing")),
            tell=self._paced,
        )
        polling = Polling.restore(
            _remembered(ledger.meta(f"polling:{self.job.model}")) or {},
            delay=poll.delay or 1.0,
            every=poll.every,
            typical=self.model.seconds if self.model else None,
        )
        endpoints, key = self.account.endpoints, self.account.key
        async with Client(endpoints, key, pacing=pacing, now=self.now, called=ledger.called) as client:
            self.engine = wired(
                self.job,
                api=planning.api_of(self.job, self.model),
                price=self.price,
                ledger=ledger,
                folder=self.folder,
                client=client,
                carrier=self.carrier,
                pacing=pacing,
                polling=polling,
                stopping=self.stopping,
                most=self.wishes.most,
                warn=self._warn,
                luck=self.luck,
            )
            self.watch = watching.Watch(
                self.job, self.price, ledger, self.engine, pacing, polling, self.stopping
            )
            self.records = Records(self.folder, ledger)
            try:
                await self._run_tasks(self.engine, client, pacing)
            finally:
                self.records.close()
        self.audit, difference = audited(ledger)
        if difference:
            self._warn(difference)
        ledger.note("pacing", json.dumps(pacing.snapshot()))
        ledger.note(f"polling:{self.job.model}", json.dumps(polling.snapshot()))
        ledger.end_run(held=self.job.retry.doubtful == "hold")

    async def _run_tasks(self, engine: Engine, client: Client, pacing: Pacing) -> None:
        async with anyio.create_task_group() as beside:
            beside.start_soon(pacing.run)
            beside.start_soon(engine.asking.run)
            beside.start_soon(self.watch.notice_others)
            beside.start_soon(self.records.run)
            beside.start_soon(self.watch.tell, self.log, watching.LOGGED_SECONDS)
            if self.listener is not silent:
                beside.start_soon(self.watch.tell, self.listener, watching.SNAPSHOT_SECONDS)
            if self.job.limits.max_duration is not None:
                beside.start_soon(self.watch.end_after, self.job.limits.max_duration)
            with anyio.CancelScope() as tasks:
                if self.wishes.signals:
                    beside.start_soon(
                        watching.heed_signals, self.stopping, tasks, self.wishes.grace, self._warn
                    )
                await self._balance(client, pacing, "opening")
                await engine.scheduler.run()
                await self._balance(client, pacing, "closing")
            beside.cancel_scope.cancel()
        self.last = self.watch.snapshot()

    async def _balance(self, client: Client, pacing: Pacing, which: str) -> None:
        """The account's credits before and after; a key that is refused here stops the run at once."""
        try:
            with anyio.move_on_after(BALANCE_SECONDS):
                turn = await pacing.turn(Kind.CREDITS)
                self.ledger.balance(which, await client.credits(turn))
        except errors.BadKey as error:
            self.stopping.for_error(error)
        except errors.ApiError:
            return

    # --- what is heard on the way

    def _moved(self, before: Entry, after: Entry, reason: str) -> None:
        self.engine.purse.look_again()
        self.engine.scheduler.look()
        self.pacing.look()
        if after.state in FINAL:
            self.records.ended(after)
        if after.state is State.DONE:
            self.failures.succeeded()
        elif after.state is State.FAILED and self.failures.failed(reason):
            self.stopping.stop(5, f"the first {self.wishes.same_failures} tasks failed alike: {reason}")
        if reason or self.listener is not silent:
            self.tell(Moved(after.task.name, after.task.key, before.state, after.state, reason))

    def _paced(self, event: PacingEvent) -> None:
        """What was learned of the limit is kept at once: a kill does not lose the lesson."""
        if event.what != "paused":
            self.ledger.note("pacing", json.dumps(self.pacing.snapshot()))
            self.tell(Noted(event.text, "info"))

    def _warn(self, text: str) -> None:
        self.tell(Noted(text))

    # --- after

    def _keep_ending(self) -> None:
        """Why it ended is known here alone: kept for every later report."""
        counts = self.ledger.counts
        codes = set(self.stopping.causes)
        if not any(counts[state] for state in (State.PLANNED, *IN_FLIGHT)):
            codes -= {130, 143, 10, 4}
        left_out, _ = self.ledger.left_out()
        if counts[State.FAILED] or counts[State.DOUBTFUL] or left_out:
            codes.add(3)
        if not codes - {3} and (counts[State.READY] or counts[State.SUBMITTED]):
            codes.add(5)
        causes = tuple(self.stopping.causes.values())
        self.ledger.note(ending.NOTE, Ending(gravest(codes), causes, self.audit).as_text())
        self.slowest = self.ledger.slowest(SLOWEST)

    def _ended(self) -> Report:
        told = report.of_folder(self.folder.path, now=self.now(), running=False)
        try:
            report.write(told, self.carrier)
        except errors.DiskError as error:
            # All that was paid for is in the ledger: the next run writes the records.
            causes = (*told.causes, f"the records could not be written: {error}")
            told = replace(told, exit_code=gravest({told.exit_code, 5}), causes=causes)
        gone = self.engine.delivery.gone
        self.tell(
            Finished(told.exit_code, told.causes, self.last, self.slowest, told.audit, told.left_out, gone)
        )
        return told


def _remembered(text: str | None) -> dict[str, Any] | None:
    """What an earlier run learned; nothing where it cannot be read."""
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
