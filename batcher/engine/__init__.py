"""The Python API, and the only composition root: opens everything, wires it, runs, closes.

    from batcher import load, run
    report = await run(load("jobs/demo.yaml"))

How a run goes, with the file that has each step:

    run()                                      runner.py
      account, folder, lock                    options.py
      the ledger is opened
      prepare() -> Prepared                    preparation.py, planning.py: the plan goes into the ledger
      wire() -> RunParts                       wiring.py: client, gate, poller, budget, scheduler, ...
      the opening balance
      Scheduler.run(): takes from the ledger what is owed, then what is planned, and gives each task
        Lifecycle.advance(), one coroutine a task, as many side by side as admission/ lets in:
          planned     uploads.py      a body that the API can read
          planned     admission/      room in the budget, and time to fetch what is in flight
          planned     submitting.py   intent on disk, POST, answer on disk
          doubtful    submitting.py   the answer was lost: submitted again, held, or looked up (reconcile.py)
          submitted   fetching.py     asked about when poller.py says so; then the result, on disk
          ready       delivery.py     files downloaded, verified, checked, published under their names
        each move of a task is heard by RunParts.task_moved: it wakes who waits, and tells listeners
      beside it: the poller, the gate, record_appender.py, monitor.py (snapshots, max_duration, signals)
      the closing balance
      keep_ending() -> Ending                  ending.py: exit code, causes and lessons into the ledger
      report_ending() -> Report                ending.py: the records, from the closed ledger

    runner.py            run(): the phases of a run, in their order
    sync_run.py          run_sync(): the same for whoever does not await
    interruption.py      a run that is cancelled, and what is said of it
    repair_run.py        repair(): a run that fetches again what was delivered and is not there any more
    audit_run.py         audit(): the ledger against the provider's statement, and what it adopts
    options.py           what a run is asked for, and the ground it starts from
    kept_rows.py         rows and pictures that Python gave, as files
    preparation.py       what a run is given, and its plan in the ledger
    expansion.py         a manifest's tasks
    planning.py          into the ledger
    plan_outlook.py      what a run would do, looked at
    plan_copy.py         the copy of the ledger that is planned for that
    accept.py            what `accept` needs, and what is likely to be paid for it
    replacements.py      what is made in place of rejected pictures
    file_digests.py      what a file is known by
    only_new.py          rows whose picture has a delivered result are left alone
    manifest_edit.py     which edited value makes delivered pictures anew
    plan_counts.py       what of a plan is done, and what a run would pay for
    paid_elsewhere.py    whether another folder has what a plan would pay for
    reuse.py             what other folders have of a task is taken over
    estimate.py          how long a job takes, as far as is known before its first task
    wiring.py            who is wired to whom
    account_membership.py  this run among the other runs of its account on this machine
    scheduler.py         all tasks: which one is next, and when a run ends
    lifecycle/           one task's way, step by step
    admission/           what a submit must pass: the money, and the expiry guard
    poller.py            who is asked about when
    poll_cost.py         what a status call is worth at this moment
    uploads.py           a file becomes something the API can read
    upload_batches.py    small files travel together
    bytes_in_air.py      how many bytes are on their way there at a time
    submission_ages.py   how old a submission is, by a clock that nobody sets
    history_lookup.py    what the provider's request history can be asked
    calibration.py       how the history tells what we sent, learned from jobs that the ledger knows
    reconcile.py         what the history knows of a POST whose answer was lost
    delivery.py          from a result to files under their final names
    picture_checks.py    what the manifest's checks say of a picture before it has its name
    judge_command.py     a program of the user's that judges it
    delivery_brake.py    submits pause while paid results bring no files
    control.py           what a person asks of a run that goes on: pause, resume, set
    set_limits.py        what `batcher set` said, laid over a manifest
    stopping.py          why a run stops, in good order
    monitor.py           what listeners are shown, and when a run is to stop
    record_appender.py   metadata.jsonl and errors.jsonl, as they grow
    balance_check.py     the account's balance against what the run was told of
    ending.py            why it ended: the exit code; the records anew, and the report

Rule: nothing below knows who it is wired to.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batcher.engine.options import RunOptions, load
from batcher.engine.plan_outlook import Outlook, outlook
from batcher.engine.runner import run
from batcher.engine.sync_run import run_sync

if TYPE_CHECKING:
    from batcher.engine.audit_run import audit
    from batcher.engine.repair_run import repair

__all__ = ["Outlook", "RunOptions", "audit", "load", "outlook", "repair", "run", "run_sync"]


def __getattr__(name: str) -> Any:
    if name in ("audit", "repair"):  # no run needs what they bring
        return getattr(import_module(f"batcher.engine.{name}_run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
