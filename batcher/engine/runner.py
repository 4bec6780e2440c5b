"""run(): one job from its manifest to its report.

Rule: whatever ends a run, the ledger is whole, the records are written and the reason is said.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypedDict

import anyio
from anyio.abc import TaskGroup

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Client
from batcher.api.pacing import CallKind
from batcher.engine import control, monitor, planning
from batcher.engine.account_membership import AccountMembership
from batcher.engine.ending import Ending, keep_ending, report_ending
from batcher.engine.interruption import interruptible
from batcher.engine.kept_rows import keep_rows
from batcher.engine.options import (
    RunOptions,
    account_for,
    embedded_sandbox,
    open_transfers,
    output_created,
    refuse_checks_elsewhere,
    refuse_without_ledger,
)
from batcher.engine.preparation import Prepared, RunContext, Transitions, prepare
from batcher.engine.stopping import Stopping
from batcher.engine.wiring import RunParts, pacing_of, wire
from batcher.job.manifest import Manifest
from batcher.ledger import database
from batcher.ledger.database import SANDBOX_ORIGIN
from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import micro
from batcher.progress import Listener, Snapshot, closing_text, silent
from batcher.progress.lines import Log
from batcher.results.report import Report
from batcher.storage import destination, layout, lock, ray
from batcher.storage.download import OutputFolder
from batcher.storage.workers import Transfers

OPENING_SECONDS = 2.0
"""So long the first submit waits for the opening balance."""
BALANCE_SECONDS = 30.0
"""The account's balance is worth no longer wait."""
UNUSUAL_KEY = (
    "the API key does not have the form of Segmind's keys, SG_ and 16 hex digits: it may have been cut when "
    "it was copied. The API is asked whether it knows it, before anything is sent"
)
NOT_REACHED = (
    "{api} cannot be reached ({why}): is this machine online? The run goes on trying for 10 minutes; Ctrl-C "
    "leaves, and nothing was sent"
)


class RunArguments(TypedDict, total=False):
    """What `run` takes beside its job; it says of each what it means."""

    listener: Listener | None
    account: Account | None
    base_url: str | None
    sandbox: bool
    output: str | Path | None
    options: RunOptions | None
    now: Callable[[], float]
    jitter: Callable[[], float]


async def run(
    job: Manifest,
    *,
    listener: Listener | None = None,
    account: Account | None = None,
    base_url: str | None = None,
    sandbox: bool = False,
    output: str | Path | None = None,
    options: RunOptions | None = None,
    now: Callable[[], float] = time.time,  # noqa: TID251  # here the wall clock enters
    jitter: Callable[[], float] = random.random,
) -> Report:
    """Runs a job until nothing is left that may be done; running it again goes on where this ended.

    `listener` is called with each event of `batcher.progress`, from the loop's thread; None: a live block in
    a notebook's cell, elsewhere nobody. `account` None: the one that the environment names (`base_url` before
    SEGMIND_BASE_URL); `sandbox`: an embedded local server instead, with its results in `<output>-sandbox`;
    `output`: another folder, whose pictures lie in it, or where its ledger says. `now` gives Unix seconds,
    `jitter` numbers from 0 to 1.

    Raises what keeps a run from starting: ManifestError, MissingKey, Locked, OtherOrigin, OtherDestination,
    LedgerError, DiskError, and UsageError where a folder of delivered pictures has lost its ledger. What ends
    it later is in the report's exit_code and causes. Where it is cancelled the ledger is whole, and the
    CancelledError has a note that says what is in flight; so has the KeyboardInterrupt of a prompt that
    cancels nothing itself.
    """
    if not isinstance(job, Manifest):
        raise TypeError(f"run takes a job as `load` gives it, run(load(...)), not {type(job).__name__}")
    options = options or RunOptions()
    output = None if output is None else Path(output)
    listener = listener or _listener_here()
    if options.on is not None:
        ray.require_installed()
        refuse_checks_elsewhere(job)
    async with AsyncExitStack() as stack:
        notes = stack.enter_context(interruptible())
        origin = None
        if sandbox:
            account = await embedded_sandbox(stack, now)
            origin = SANDBOX_ORIGIN
        elif account is None:
            account = account_for(job, base_url)
        path = layout.output_folder(job.output.dir, output=output, sandbox=sandbox, shard=options.shard)
        named = layout.store_of(job.store, sandbox=sandbox, shard=options.shard)
        store = named if output is None else database.read_meta(layout.ledger_path(path), "destination")
        if store is None and not sandbox:
            refuse_without_ledger(path)
        folder = OutputFolder(path, destination.open_destination(store, path))
        began = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
        stack.enter_context(output_created(folder))
        job_lock = stack.enter_context(lock.hold(layout.lock_path(path), since=began))
        log = stack.enter_context(closing(Log(folder.state / "log.jsonl", now=now)))
        job = keep_rows(job, path)
        model = planning.model_of(job)
        price = planning.price_of(job, model)
        context = RunContext(
            manifest=job,
            job=planning.share_of(job, options.shard),
            model=model,
            price=None if price is None else micro(price),
            options=options,
            account=account,
            origin=origin or account.endpoints.api,
            folder=folder,
            store=store,
            listener=listener,
            log=log,
            now=now,
            jitter=jitter,
        )
        transitions = Transitions()
        with (
            closing(Ledger(layout.ledger_path(path), now=now, lock=job_lock, moved=transitions)) as ledger,
            closing(AccountMembership(context, ledger)) as membership,
        ):
            prepared = prepare(control.with_set_limits(context, ledger), ledger, transitions)
            transfers = await stack.enter_async_context(
                open_transfers(
                    options.on, folder, downloads=context.job.limits.downloads, called=ledger.count_call
                )
            )
            try:
                ending = await _work(prepared, transfers, membership)
            except anyio.get_cancelled_exc_class():
                notes.append(closing_text.cancelled(ledger.counts, is_rehearsal=context.is_sandbox))
                context.warn(notes[-1])
                raise
            except errors.DiskError as error:
                if type(error) is errors.DiskError:  # of the others each says itself what is to be done
                    error.add_line(closing_text.unwritten(ledger.counts, is_rehearsal=context.is_sandbox))
                raise
        return report_ending(context, ending, transfers)


def _listener_here() -> Listener:
    """What shows a run for which no listener was given. What draws is loaded only where somebody looks."""
    if "IPython" not in sys.modules:
        return silent
    from batcher.progress import notebook

    return notebook.listener() or silent


async def _work(prepared: Prepared, transfers: Transfers, membership: AccountMembership) -> Ending:
    """Everything that calls the API, from the opening balance to the closing one."""
    await membership.enter()
    context, ledger, stopping = prepared.context, prepared.ledger, Stopping()
    pacing = pacing_of(prepared, stopping, membership)
    endpoints, key = context.account.endpoints, context.account.key
    async with Client(endpoints, key, pacing=pacing, now=context.now, called=ledger.count_call) as client:
        parts = wire(prepared, client, transfers, stopping, membership)
        with closing(parts.records):
            snapshot = await _run_tasks(context, ledger, parts, client)
        await parts.budget.refresh()
    return keep_ending(prepared, parts, snapshot)


async def _run_tasks(context: RunContext, ledger: Ledger, parts: RunParts, client: Client) -> Snapshot:
    run_monitor = monitor.RunMonitor(ledger, parts)
    async with anyio.create_task_group() as beside:
        beside.start_soon(parts.pacing.run)
        beside.start_soon(parts.poller.run)
        beside.start_soon(parts.in_flight.run)
        beside.start_soon(parts.membership.run, parts.keep_up)
        beside.start_soon(parts.records.run)
        beside.start_soon(run_monitor.notice_other_processes)
        beside.start_soon(run_monitor.send_snapshots, context.log, monitor.LOGGED_SECONDS)
        if context.listener is not silent:
            beside.start_soon(run_monitor.send_snapshots, context.listener, monitor.SNAPSHOT_SECONDS)
        with anyio.CancelScope() as tasks:
            pending_posts, grace = parts.lifecycle.pending_posts, context.options.grace
            if (seconds := context.job.limits.max_duration) is not None:
                beside.start_soon(run_monitor.end_after, seconds, tasks, grace, pending_posts)
            beside.start_soon(monitor.end_with_ledger, ledger, pending_posts, parts.stopping, tasks)
            if context.options.signals:
                beside.start_soon(monitor.handle_signals, parts.stopping, tasks, grace, context.warn)
            await _opening_balance(beside, parts, client)
            await parts.scheduler.run()
            await _balance(parts, client, "closing")
        beside.cancel_scope.cancel()
    return run_monitor.snapshot()


async def _opening_balance(beside: TaskGroup, parts: RunParts, client: Client) -> None:
    """Waits shortly: a balance that comes late says nothing of the beginning, but a key that it refuses is
    still learned of. Where its form is not the documented one, the API's word is waited for longer: before
    anything is uploaded."""
    seconds = OPENING_SECONDS
    if not parts.context.account.has_usual_key:
        parts.context.warn(UNUSUAL_KEY)
        seconds = BALANCE_SECONDS
    received = anyio.Event()

    async def ask() -> None:
        await _balance(parts, client, "opening", in_time=lambda: not late.cancelled_caught)
        received.set()

    with anyio.move_on_after(seconds) as late:
        beside.start_soon(ask)
        await received.wait()


async def _balance(
    parts: RunParts,
    client: Client,
    which: Literal["opening", "closing"],
    in_time: Callable[[], bool] = lambda: True,
) -> None:
    """The account's credits before and after; a key that is refused here stops the run at once."""
    try:
        with anyio.move_on_after(BALANCE_SECONDS):
            sent_at = await parts.pacing.acquire(CallKind.CREDITS)
            balance = await client.credits(sent_at)
            if in_time():
                parts.balance.observe(which, balance)
    except errors.BadKey as error:
        parts.stopping.for_error(error)
    except errors.Unreachable as error:
        if which == "opening":
            parts.context.warn(NOT_REACHED.format(api=parts.context.account.endpoints.api, why=error.message))
    except errors.ApiError:
        return
