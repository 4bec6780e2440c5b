"""The engine's parts, wired to each other for one run.

Rule: this file knows who is wired to whom; the parts do not.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from dataclasses import dataclass
from typing import Any

from batcher.api.client import Client
from batcher.api.pacing import Pacing, PacingEvent
from batcher.api.polling import PollTiming
from batcher.api.signal import Signal
from batcher.engine import accept
from batcher.engine.account_membership import AccountMembership
from batcher.engine.admission import (
    AcceptedGroups,
    Budget,
    ExpiryGuard,
    InFlight,
    InFlightLimit,
    PeriodBudget,
    PeriodLimits,
    in_flight_need,
)
from batcher.engine.balance_check import BalanceCheck
from batcher.engine.control import Control
from batcher.engine.delivery import Delivery
from batcher.engine.delivery_brake import DeliveryBrake
from batcher.engine.history_lookup import RequestHistory, held_or_lost
from batcher.engine.lifecycle import ExpiredRecords, Fetching, Lifecycle, Outcomes, Submitting
from batcher.engine.picture_checks import PictureChecks
from batcher.engine.poll_cost import PollCost
from batcher.engine.poller import Poller
from batcher.engine.preparation import Prepared, RunContext
from batcher.engine.reconcile import Reconciliation
from batcher.engine.record_appender import RecordAppender
from batcher.engine.replacements import Replacements
from batcher.engine.scheduler import Scheduler
from batcher.engine.stopping import FirstFailures, Stopping
from batcher.engine.submission_ages import SubmissionAges
from batcher.engine.uploads import Uploads
from batcher.ledger.entries import TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import micro
from batcher.progress import Message, StateChanged, silent, summary
from batcher.storage.workers import Transfers
from batcher.task import FINAL, State


@dataclass(frozen=True, slots=True)
class RunParts:
    """What moves during a run."""

    context: RunContext
    membership: AccountMembership
    control: Control
    pacing: Pacing
    polling: PollTiming
    budget: Budget
    in_flight: InFlight
    poller: Poller
    uploads: Uploads
    delivery: Delivery
    brake: DeliveryBrake
    lifecycle: Lifecycle
    scheduler: Scheduler
    groups: AcceptedGroups | None
    replacements: Replacements
    records: RecordAppender
    stopping: Stopping
    balance: BalanceCheck
    first_failures: FirstFailures

    async def keep_up(self) -> None:
        """Tells the account's other runs what this one spent and was told, and hears the same of them."""
        self.membership.rpm = self.pacing.own_rpm
        await self.budget.refresh()
        self.pacing.listen()
        self.membership.note_sharing(summary.sharing(self.pacing.rate, self.pacing.other_runs))

    def task_moved(self, before: TaskEntry, after: TaskEntry, reason: str) -> None:
        """Wakes whoever may wait for this move, and passes it on to records and listeners."""
        self.budget.notify()
        self.in_flight.notify()
        self.pacing.notify()
        self.brake.moved(after, reason)
        if self.groups is not None:
            self.groups.moved(before, after)
        if after.state is State.REJECTED:
            self.replacements.after(after)
        if after.state in FINAL:
            self.records.ended(after)
        if after.state in (State.DONE, State.REJECTED):
            self.first_failures.succeeded()
        elif after.state is State.FAILED and self.first_failures.failed(reason):
            number = self.context.options.stop_after
            tasks = "the first task failed" if number == 1 else f"the first {number} tasks failed alike"
            self.stopping.stop(5, f"{tasks}: {reason}")
        if reason or self.context.listener is not silent:
            self.context.tell(
                StateChanged(after.task.name, after.task.key, before.state, after.state, reason)
            )


def wire(
    prepared: Prepared,
    client: Client,
    transfers: Transfers,
    stopping: Stopping,
    membership: AccountMembership,
) -> RunParts:
    """The parts of a prepared run, which calls through `client` and its gate, moves bytes by `transfers`, and
    shares by `membership`. From here on they hear of every move of a task."""
    context, ledger, pacing = prepared.context, prepared.ledger, client.pacing
    job, warn, jitter = context.job, context.warn, context.jitter
    room = Signal()
    polling = _polling_of(prepared)
    limit = InFlightLimit(job.result_ttl, in_flight_need.most_of(job.limits.in_flight, context.api))
    budget = _budget_of(prepared, membership)
    uploads = Uploads(client, ledger, pacing, transfers, mode=job.uploads)
    in_flight = InFlight(
        job.limits.in_flight,
        guess=polling.spread((0.9,))[0] + (job.poll.every or job.poll.delay or 0.0),
        limit=limit,
        budget=budget,
        pacing=pacing,
        upload=lambda: uploads.seconds,
        changed=room.notify,
    )
    rule = accept.rule_of(job)
    groups = None if rule is None else AcceptedGroups(ledger, rule)
    price = PollCost(
        ledger, pacing, polling, in_flight, to_come=None if groups is None else lambda: groups.to_come
    )
    poller = Poller(
        polling,
        price=price.seconds,
        free_for_good=price.is_free_for_good,
        now=asyncio.get_running_loop().time,
    )
    if context.api == "v2":
        pacing.hold_submits_while(ExpiryGuard(ledger, pacing, poller, limit).holds)
    ages = SubmissionAges(ledger.now)
    delivery = Delivery(
        ledger,
        context.folder,
        transfers,
        PictureChecks(job, ledger, context.folder),
        ages=ages,
        changed=room,
    )
    brake = DeliveryBrake(ledger, stopping)
    outcomes = Outcomes(job, ledger, delivery, uploads, warn=warn, jitter=jitter)
    named = shlex.quote(str(context.folder.path))
    history = RequestHistory(
        client,
        pacing,
        stopping,
        model=job.model,
        warn=warn,
        jitter=jitter,
        consequence=held_or_lost(named),
    )
    expired = ExpiredRecords(outcomes, history, ledger=ledger, ages=ages, warn=warn)
    submitting = Submitting(
        job,
        context.api,
        outcomes,
        ledger=ledger,
        client=client,
        delivery=delivery,
        uploads=uploads,
        pacing=pacing,
        budget=budget,
        in_flight=in_flight,
        ages=ages,
        reconciliation=Reconciliation(
            history,
            ledger,
            uploads,
            stopping,
            ages=ages,
            model=job.model,
            typical=lambda: polling.typical,
            skew=lambda: client.skew.seconds,
            warn=warn,
            job=named,
        ),
        expired=expired,
        brake=brake,
        stopping=stopping,
        warn=warn,
    )
    fetching = Fetching(
        job,
        outcomes,
        expired,
        ledger=ledger,
        client=client,
        delivery=delivery,
        brake=brake,
        pacing=pacing,
        poller=poller,
        limit=limit,
        in_flight=in_flight,
        ages=ages,
        warn=warn,
        jitter=jitter,
    )
    lifecycle = Lifecycle(ledger, submitting, fetching, in_flight, ages, stopping)
    control = Control(context, ledger, pacing, budget, in_flight, changed=room.notify)
    scheduler = Scheduler(
        ledger=ledger,
        lifecycle=lifecycle,
        delivery=delivery,
        in_flight=in_flight,
        stopping=stopping,
        changed=room,
        max_tasks=context.options.limit,
        sample=prepared.sample,
        paused=lambda: control.paused,
        groups=groups,
    )
    parts = RunParts(
        context=context,
        membership=membership,
        control=control,
        pacing=pacing,
        polling=polling,
        budget=budget,
        in_flight=in_flight,
        poller=poller,
        uploads=uploads,
        delivery=delivery,
        brake=brake,
        lifecycle=lifecycle,
        scheduler=scheduler,
        groups=groups,
        replacements=Replacements(job, ledger, warn, scheduler.added),
        records=RecordAppender(context.folder, ledger),
        balance=BalanceCheck(ledger, context.price, membership.others_by_job),
        stopping=stopping,
        first_failures=FirstFailures(context.options.stop_after),
    )
    prepared.transitions.subscribe(parts.task_moved)
    return parts


def _budget_of(prepared: Prepared, membership: AccountMembership) -> Budget:
    context, limits = prepared.context, prepared.context.job.limits
    periods = PeriodBudget(
        prepared.ledger,
        membership,
        limits=PeriodLimits.of_credits(limits.max_cost_per.day, limits.max_cost_per.month),
        price=context.price,
        now=context.now,
        clock=asyncio.get_running_loop().time,
    )
    most = None if limits.max_cost is None else micro(limits.max_cost)
    return Budget(prepared.ledger, limit=most, price=context.price, periods=periods)


PACING_NOTE = "pacing"
"""What 429s taught, among the ledger's notes."""


def pacing_of(prepared: Prepared, stopping: Stopping, membership: AccountMembership) -> Pacing:
    """The gate of a run's calls, which goes on from what earlier runs learned of the limit; one that stays
    closed longer than the user waits stops the run."""
    context, ledger = prepared.context, prepared.ledger

    def tell(event: PacingEvent) -> None:
        if event.what == "exhausted":
            stopping.stop(5, event.text)
        if event.learned is not None:
            # At once: a kill does not lose the lesson.
            ledger.note(PACING_NOTE, json.dumps(event.learned))
            membership.learn(event.learned)
            context.tell(Message(event.text, "info"))
        elif event.what == "shared":
            context.tell(Message(event.text))

    return Pacing(
        rpm=context.job.limits.rpm,
        metered=context.job.limits.metered,
        patience=context.job.limits.patience,
        now=context.now,
        learned=_latest(_remembered(ledger, PACING_NOTE), membership.learned()),
        tell=tell,
        shared=membership,
    )


def _latest(own: dict[str, Any] | None, shared: dict[str, Any] | None) -> dict[str, Any] | None:
    """Of two lessons, this job's and the account's, the newer one."""

    def at(lesson: dict[str, Any]) -> float:
        moment = lesson.get("at")
        return float(moment) if isinstance(moment, int | float) else 0.0

    return max((lesson for lesson in (own, shared) if lesson is not None), key=at, default=None)


def _polling_of(prepared: Prepared) -> PollTiming:
    job, model = prepared.context.job, prepared.context.model
    return PollTiming.restore(
        _remembered(prepared.ledger, f"polling:{job.model}") or {},
        delay=job.poll.delay or 1.0,
        every=job.poll.every,
        typical=model.seconds if model else None,
    )


def keep_lessons(prepared: Prepared, parts: RunParts) -> None:
    """What this run learned of the limit and of the model's times, for the next one."""
    model = prepared.context.job.model
    prepared.ledger.set_meta(PACING_NOTE, json.dumps(parts.pacing.snapshot()))
    prepared.ledger.set_meta(f"polling:{model}", json.dumps(parts.polling.snapshot()))


def _remembered(ledger: Ledger, key: str) -> dict[str, Any] | None:
    """What an earlier run learned; nothing where it cannot be read."""
    try:
        learned = json.loads(ledger.meta(key) or "null")
    except ValueError:
        return None
    return learned if isinstance(learned, dict) else None
