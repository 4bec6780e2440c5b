"""The engine's parts, wired to each other for one run.

Law: this file knows who is wired to whom; the parts do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batcher import retry
from batcher.admission import Purse, Window
from batcher.asking import Asking
from batcher.carrying import Carrier
from batcher.client import Client
from batcher.delivery import Delivery
from batcher.doubt import History
from batcher.download import Folder
from batcher.ledger.totals import micro
from batcher.ledger.writer import Ledger
from batcher.lifecycle import Endings, Fetching, Lifecycle, Rules, Submitting
from batcher.manifest import Manifest
from batcher.pacing import Pacing
from batcher.polling import Polling, price_of_call
from batcher.scheduler import Scheduler
from batcher.stopping import Stopping
from batcher.task import State
from batcher.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Engine:
    """What moves during a run."""

    asking: Asking
    delivery: Delivery
    lifecycle: Lifecycle
    purse: Purse
    scheduler: Scheduler
    uploads: Uploads
    window: Window


def wired(
    job: Manifest,
    *,
    api: str,
    price: int | None,
    ledger: Ledger,
    folder: Folder,
    client: Client,
    carrier: Carrier,
    pacing: Pacing,
    polling: Polling,
    stopping: Stopping,
    most: int | None,
    warn: Callable[[str], None],
    luck: Callable[[], float],
) -> Engine:
    """The parts of a run of `job`; `price` in micro-credits per image, `warn` takes sentences to tell, `luck`
    gives numbers from 0 to 1, to spread retries."""
    limits = job.limits
    window = Window(job.result_ttl, limits.in_flight)
    purse = Purse(ledger, limit=None if limits.max_cost is None else micro(limits.max_cost), price=price)
    delivery = Delivery(ledger, folder, carrier, changed=lambda: scheduler.look())
    asking = Asking(
        polling,
        price=_price_of_a_call(ledger, pacing, polling, window),
        ending=_ending(ledger, pacing),
        now=ledger.now,
    )
    if api == "v2":
        pacing.hold_submits_while(_guard(ledger, pacing, asking, window))
    rules = _rules(job, api)
    uploads = Uploads(client, ledger, pacing, carrier, mode=job.uploads)
    endings = Endings(rules, ledger, delivery, uploads, luck=luck)
    submitting = Submitting(
        rules,
        endings,
        ledger=ledger,
        client=client,
        uploads=uploads,
        pacing=pacing,
        purse=purse,
        history=History(
            client, ledger, pacing, stopped=lambda: stopping.requested, model=job.model, tell=warn
        ),
        stopping=stopping,
    )
    fetching = Fetching(
        rules,
        endings,
        ledger=ledger,
        client=client,
        delivery=delivery,
        pacing=pacing,
        asking=asking,
        window=window,
        warn=warn,
        luck=luck,
    )
    lifecycle = Lifecycle(ledger, submitting, fetching, stopping)
    scheduler = Scheduler(
        ledger=ledger, lifecycle=lifecycle, delivery=delivery, window=window, stopping=stopping, most=most
    )
    return Engine(asking, delivery, lifecycle, purse, scheduler, uploads, window)


def _price_of_a_call(ledger: Ledger, pacing: Pacing, polling: Polling, window: Window) -> Callable[[], float]:
    """Calls have a price while submits wait for the budget, and only then."""

    def price() -> float:
        rate = pacing.rate
        if not pacing.scarce or rate is None:
            return 0.0
        waiting = sum(pacing.waiting.values())
        return price_of_call(waiting, ledger.counts[State.PLANNED], rate / 60, polling.mean, window.size)

    return price


def _ending(ledger: Ledger, pacing: Pacing) -> Callable[[], bool]:
    """Whether no more will be submitted, and asking more often costs nothing."""

    def ending() -> bool:
        return pacing.free and not ledger.counts[State.PLANNED] and not ledger.counts[State.SUBMITTING]

    return ending


def _guard(ledger: Ledger, pacing: Pacing, asking: Asking, window: Window) -> Callable[[], bool]:
    """Whether another submit would take a call that something in flight needs to be fetched in time."""

    def holds() -> bool:
        rate = pacing.rate
        return rate is not None and not window.in_time(
            asking.submitted_at, ledger.counts[State.SUBMITTING], rate=rate / 60, now=ledger.now()
        )

    return holds


def _rules(job: Manifest, api: str) -> Rules:
    policy = job.retry
    return Rules(
        model=job.model,
        api=api,
        result_ttl=job.result_ttl,
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
