"""run(): one job from its manifest to its report.

Law: whatever ends a run, the ledger is whole, the records are written and the reason is told.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import yaml

from batcher import account as accounts
from batcher import errors, lock, manifest, place, report, retry
from batcher.account import Account
from batcher.admission import Purse, Window
from batcher.asking import Asking
from batcher.client import Client, Endpoints
from batcher.delivery import Delivery
from batcher.doubt import History
from batcher.download import Folder, disk, plain_session
from batcher.ledger.entries import Entry
from batcher.ledger.totals import credits, micro
from batcher.ledger.writer import Ledger
from batcher.lifecycle import Lifecycle, Rules
from batcher.manifest import Manifest
from batcher.pacing import Kind, Pacing, PacingEvent
from batcher.polling import Polling, price_of_call
from batcher.progress import Finished, Listener, Moved, Noted, Planning, Started, silent
from batcher.report import Report
from batcher.run import planning, watching
from batcher.scheduler import Scheduler
from batcher.stopping import FirstFailures, Stopping, gravest
from batcher.task import FINAL, IN_FLIGHT, State
from batcher.uploads import Uploads

SANDBOX_KEY = "SG_0123456789abcdef"
SANDBOX_ORIGIN = "the sandbox"
AUDIT_TOLERANCE = 100
"""Micro-credits: balances are told with few digits."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What this one run is asked to do beyond the manifest.

    `most`: at most so many tasks this time; `same_failures`: so many first failures of one kind stop the run;
    `confirm`: asked with the credits that all planned tasks would cost, False keeps the run from starting;
    `grace`: seconds for what is in flight after a stop signal.
    """

    most: int | None = None
    retry_failed: bool = False
    same_failures: int = 10
    confirm: Callable[[float], bool] | None = None
    grace: float = 30.0
    signals: bool = False


def load(path: str | Path, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest in a file; `overrides` are `dotted.key=value`. Raises ManifestError with every problem of
    it, those of its rows and files included."""
    job, told = manifest.examine(Path(path), overrides)
    if told:
        raise errors.ManifestError(told if job is None else manifest.further(told, planning.problems(job)))
    assert job is not None
    return job


async def run(
    job: Manifest,
    *,
    listener: Listener = silent,
    account: Account | None = None,
    sandbox: bool = False,
    output: Path | None = None,
    wishes: Wishes = Wishes(),
    now: Callable[[], float] = time.time,  # noqa: TID251  # here the wall clock enters
) -> Report:
    """Runs a job until nothing is left that may be done; running it again goes on where this ended.

    `account` None: the one that the environment names; `sandbox`: an embedded local server instead, with
    its results in `<output>-sandbox`. Raises what keeps a run from starting: ManifestError, MissingKey,
    Locked, OtherOrigin, LedgerError, DiskError. What ends it later is in the report's exit_code and causes.
    """
    async with AsyncExitStack() as stack:
        origin = None
        if sandbox:
            account = await _sandboxed(stack, now)
            origin = SANDBOX_ORIGIN
        elif account is None:
            account = accounts.from_environment()
        where = place.output_of(job.path, output=output or job.output.dir, sandbox=sandbox)
        folder = Folder(where)
        with disk(where):
            folder.state.mkdir(parents=True, exist_ok=True)
        began = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
        stack.enter_context(lock.held(place.lock_of(where), since=began))
        return await _Run(job, folder, account, listener, wishes, now).run(origin)


async def _sandboxed(stack: AsyncExitStack, now: Callable[[], float]) -> Account:
    from batcher.sandbox import Options, Sandbox

    server = await stack.enter_async_context(Sandbox(Options(service=2.0), now))
    return Account(Endpoints(server.url, server.url, server.url), SANDBOX_KEY)


class _Run:
    """One run's parts, wired."""

    def __init__(
        self,
        job: Manifest,
        folder: Folder,
        account: Account,
        listener: Listener,
        wishes: Wishes,
        now: Callable[[], float],
    ) -> None:
        self.job = job
        self.folder = folder
        self.account = account
        self.tell = listener
        self.wishes = wishes
        self.now = now
        self.model = planning.model_of(job)
        price = planning.price_of(job, self.model)
        self.price = None if price is None else micro(price)
        self.stopping = Stopping()
        self.audit: dict[str, float] | None = None
        self.failures = FirstFailures(wishes.same_failures)
        self.records: _Records | None = None

    async def run(self, origin: str | None) -> Report:
        self.ledger = Ledger(place.ledger_of(self.folder.path), now=self.now, moved=self._moved)
        try:
            self.ledger.claim_origin(origin or self.account.endpoints.api)
            self._plan()
            await self._work(forget=origin == SANDBOX_ORIGIN)
        finally:
            if self.records is not None:
                self.records.close()
            self.ledger.close()
        return self._ended()

    # --- before

    def _plan(self) -> None:
        planned = planning.into(
            self.ledger,
            self.job,
            note=lambda text: self.tell(Noted(text)),
            noticed=lambda tasks: self.tell(Planning(tasks)),
        )
        self.folder.prepare()
        facts = {"job": self.job.name, "model": self.job.model, "price": self.price}
        for key, value in facts.items():
            if value is not None:
                self.ledger.note(key, str(value))
        resolved = yaml.safe_dump(self.job.resolved(), sort_keys=False, allow_unicode=True)
        report.replace(self.folder.state / "manifest.yaml", [resolved])
        total = sum(self.ledger.counts.values())
        new = planned.new if planned else 0
        self.tell(Started(self.job.name, self.job.model, str(self.folder.path), total, new))

    def _confirm(self) -> None:
        """Asks before money is spent, where asking is wanted and a price is known."""
        if self.wishes.confirm is None or self.price is None:
            return
        cost = credits(self.ledger.planned_images() * self.price)
        if not self.wishes.confirm(cost):
            raise errors.UsageError(f"about {cost:g} credits were not confirmed; nothing was submitted")

    # --- during

    async def _work(self, *, forget: bool) -> None:
        ledger, limits, poll = self.ledger, self.job.limits, self.job.poll
        doubted = ledger.doubt_the_interrupted()
        if doubted:
            self.tell(Noted(f"{doubted} tasks were cut off before their answer: perhaps paid, now in doubt"))
        ledger.start_run()
        self._confirm()
        if forget:
            ledger.forget_in_flight("the sandbox that worked on it has ended")
        if self.wishes.retry_failed:
            ledger.retry_failed()
        async with AsyncExitStack() as stack:
            pacing = self.pacing = Pacing(
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
            client = await stack.enter_async_context(
                Client(
                    self.account.endpoints,
                    self.account.key,
                    pacing=pacing,
                    now=self.now,
                    called=ledger.called,
                )
            )
            files = await stack.enter_async_context(plain_session())
            await self._wired(client, files, pacing, polling)
            self._audit()
            ledger.note("pacing", json.dumps(pacing.snapshot()))
            ledger.note(f"polling:{self.job.model}", json.dumps(polling.snapshot()))
            ledger.end_run()

    async def _wired(self, client: Client, files: Any, pacing: Pacing, polling: Polling) -> None:
        ledger, limits = self.ledger, self.job.limits
        window = Window(self.job.result_ttl, limits.in_flight)
        purse = Purse(
            ledger, limit=None if limits.max_cost is None else micro(limits.max_cost), price=self.price
        )
        delivery = Delivery(
            ledger,
            self.folder,
            files,
            downloads=limits.downloads,
            called=ledger.called,
            changed=lambda: scheduler.look(),
        )

        def price() -> float:
            """Calls have a price while submits wait for the budget, and only then."""
            rate = pacing.rate
            if not pacing.scarce or rate is None:
                return 0.0
            waiting = sum(pacing.waiting.values())
            planned = ledger.counts[State.PLANNED]
            return price_of_call(waiting, planned, rate / 60, polling.mean, window.size)

        asking = Asking(polling, price=price, now=self.now)
        lifecycle = Lifecycle(
            rules=self._rules(),
            ledger=ledger,
            client=client,
            uploads=Uploads(client, ledger, pacing, mode=self.job.uploads),
            delivery=delivery,
            pacing=pacing,
            asking=asking,
            purse=purse,
            window=window,
            history=History(
                client,
                ledger,
                pacing,
                model=self.job.model,
                tell=lambda text: self.tell(Noted(text)),
            ),
            stopping=self.stopping,
            luck=random.random,
        )
        scheduler = Scheduler(
            ledger=ledger,
            lifecycle=lifecycle,
            delivery=delivery,
            window=window,
            stopping=self.stopping,
            most=self.wishes.most,
        )
        self.purse = purse
        self.scheduler = scheduler
        self.records = _Records(self.folder, ledger)
        self.watch = watching.Watch(
            job=self.job.name,
            model=self.job.model,
            told=limits.rpm,
            price=self.price,
            ledger=ledger,
            lifecycle=lifecycle,
            scheduler=scheduler,
            delivery=delivery,
            pacing=pacing,
            polling=polling,
            window=window,
            stopping=self.stopping,
        )
        async with anyio.create_task_group() as beside:
            beside.start_soon(pacing.run)
            beside.start_soon(asking.run)
            beside.start_soon(self.watch.notice_others)
            if self.tell is not silent:
                beside.start_soon(self.watch.tell, self.tell)
            if limits.max_duration is not None:
                beside.start_soon(self.watch.end_after, limits.max_duration)
            with anyio.CancelScope() as tasks:
                if self.wishes.signals:
                    beside.start_soon(
                        watching.heed_signals,
                        self.stopping,
                        tasks,
                        self.wishes.grace,
                        lambda text: self.tell(Noted(text)),
                    )
                await self._balance(client, pacing, "opening")
                await scheduler.run()
            if not tasks.cancel_called:
                await self._balance(client, pacing, "closing")
            beside.cancel_scope.cancel()
        self.last = self.watch.snapshot()

    def _rules(self) -> Rules:
        policy = self.job.retry
        return Rules(
            model=self.job.model,
            api=planning.api_of(self.job, self.model),
            result_ttl=self.job.result_ttl,
            retry=retry.Policy(
                attempts=policy.attempts,
                statuses=policy.statuses,
                first=policy.backoff.first,
                longest=policy.backoff.max,
                failed=policy.failed,
            ),
            doubtful=policy.doubtful,
            expired=policy.expired,
        )

    async def _balance(self, client: Client, pacing: Pacing, which: str) -> None:
        """The account's credits before and after; a key that is refused here stops the run at once."""
        try:
            with anyio.move_on_after(10):
                turn = await pacing.turn(Kind.CREDITS)
                self.ledger.balance(which, await client.credits(turn))
        except errors.BadKey as error:
            self.stopping.for_error(error)
        except errors.ApiError:
            return

    def _audit(self) -> None:
        """Opening balance less what was spent less closing balance: told where it does not add up."""
        sums = self.ledger.audit()
        if sums is None:
            return
        opening, spent, closing = sums
        difference = opening - spent - closing
        self.audit = {
            "opening": credits(opening),
            "spent": credits(spent),
            "closing": credits(closing),
            "difference": credits(difference),
        }
        if abs(difference) >= AUDIT_TOLERANCE:
            self.tell(
                Noted(
                    f"the balance went from {credits(opening):g} to {credits(closing):g}, this run was told of "
                    f"{credits(spent):g}: {credits(difference):+g} credits are not accounted for (other use of "
                    "the account, or jobs whose answer was lost)"
                )
            )

    # --- what is heard on the way

    def _moved(self, before: Entry, after: Entry, reason: str) -> None:
        self.purse.look_again()
        self.scheduler.look()
        if self.records is not None and after.state in FINAL:
            self.records.ended(after)
        if after.state is State.DONE:
            self.failures.succeeded()
        elif after.state is State.FAILED and self.failures.failed(reason):
            self.stopping.stop(5, f"the first {self.wishes.same_failures} tasks failed alike: {reason}")
        self.tell(Moved(after.task.name, after.task.key, before.state, after.state, reason))

    def _paced(self, event: PacingEvent) -> None:
        """What was learned of the limit is kept at once: a kill does not lose the lesson."""
        if event.what != "paused":
            self.ledger.note("pacing", json.dumps(self.pacing.snapshot()))
            self.tell(Noted(event.text, "info"))

    # --- after

    def _ended(self) -> Report:
        counts = self.ledger.counts
        codes = set(self.stopping.causes)
        work_left = any(counts[state] for state in (State.PLANNED, *IN_FLIGHT))
        if not work_left:
            codes -= {130, 143, 10, 4}
        if counts[State.FAILED] or counts[State.DOUBTFUL]:
            codes.add(3)
        if not codes - {3} and (counts[State.READY] or counts[State.SUBMITTED]):
            codes.add(5)
        code = gravest(codes)
        told = report.of_folder(self.folder.path, now=self.now(), running=False)
        told = replace(told, exit_code=code, causes=tuple(self.stopping.causes.values()), audit=self.audit)
        report.write(told)
        self.tell(Finished(code, told.causes, self.last))
        return told


class _Records:
    """metadata.jsonl and errors.jsonl grow during the run; at its end they are written anew."""

    def __init__(self, folder: Folder, ledger: Ledger) -> None:
        self._ledger = ledger
        with disk(folder.path):
            self._metadata = open(folder.path / "metadata.jsonl", "a", encoding="utf-8")  # noqa: SIM115
            self._errors = open(folder.path / "errors.jsonl", "a", encoding="utf-8")  # noqa: SIM115

    def ended(self, entry: Entry) -> None:
        """One task was delivered or failed."""
        if entry.state is State.DONE:
            self._metadata.writelines(map(report.line, self._ledger.metadata(entry)))
            self._metadata.flush()
        else:
            self._errors.writelines(map(report.line, self._ledger.missed(entry)))
            self._errors.flush()

    def close(self) -> None:
        self._metadata.close()
        self._errors.close()


def _remembered(text: str | None) -> dict[str, Any] | None:
    """What an earlier run learned; nothing where it cannot be read."""
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
