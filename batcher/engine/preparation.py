"""Before a run: what it is given, and its plan in the ledger.

Rule: nothing is submitted here, and what keeps a run from starting is raised here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import yaml

from batcher import errors
from batcher.api.account import Account
from batcher.engine import accept, manifest_edit, paid_elsewhere, planning, replacements, reuse
from batcher.engine.options import RunOptions
from batcher.engine.reuse import ReusableFolder
from batcher.job import geometry
from batcher.job.catalog import Model
from batcher.job.catalog.provider_list import kept_list, retired_text
from batcher.job.manifest import Manifest
from batcher.ledger import acceptance, last_run, plan_sample, plan_writer
from batcher.ledger.database import SANDBOX_ORIGIN
from batcher.ledger.entries import TaskEntry
from batcher.ledger.kept_plans import KeptPlans
from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import credits
from batcher.progress import Event, Listener, Message, Planning, Started
from batcher.progress.summary import several
from batcher.results import report
from batcher.results.report import record_files
from batcher.storage import destination, user_state
from batcher.storage.download import OutputFolder
from batcher.task import IN_FLIGHT, State

MoveListener = Callable[[TaskEntry, TaskEntry, str], None]
"""Hears that a task moved: the entry before and after it, and why."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run is given; nothing in it changes while the run goes on.

    `manifest` is the job as it was written, `job` the same with this share's part of rate and budget; `price`
    in micro-credits per image; `origin` names the API, `store` the object store that takes the pictures
    (None: the output folder). `listener` is shown the run, `log` keeps what it should say tomorrow; `now`
    gives Unix seconds, `jitter` numbers from 0 to 1, to spread retries.
    """

    manifest: Manifest
    job: Manifest
    model: Model | None
    price: int | None
    options: RunOptions
    account: Account
    origin: str
    folder: OutputFolder
    store: str | None
    listener: Listener
    log: Listener
    now: Callable[[], float]
    jitter: Callable[[], float]

    @property
    def api(self) -> str:
        """v1 or v2."""
        return planning.api_of(self.job, self.model)

    @property
    def is_sandbox(self) -> bool:
        """Whether nothing of it costs money."""
        return self.origin == SANDBOX_ORIGIN

    def tell(self, event: Event) -> None:
        """Tells the listener and the log."""
        self.listener(event)
        self.log(event)

    def warn(self, text: str) -> None:
        """Tells people a sentence."""
        self.tell(Message(text))


class Transitions:
    """Passes each move of a task on to whoever subscribed: the ledger is open before they are there."""

    def __init__(self) -> None:
        self._listeners: list[MoveListener] = []

    def subscribe(self, listener: MoveListener) -> None:
        """From now on `listener` hears of every move."""
        self._listeners.append(listener)

    def __call__(self, before: TaskEntry, after: TaskEntry, reason: str) -> None:
        for listener in self._listeners:
            listener(before, after, reason)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may begin: its plan stands in its ledger, and nobody refused. `sample`: the tasks (by id)
    that it may submit; None: every one of the plan."""

    context: RunContext
    ledger: Ledger
    transitions: Transitions
    sample: frozenset[int] | None


def prepare(context: RunContext, ledger: Ledger, transitions: Transitions) -> Prepared:
    """Plans the job into its open ledger, and starts the run there.

    Raises ManifestError, OtherOrigin, OtherDestination, PaidElsewhere, LedgerError, DiskError, and UsageError
    where the cost was not confirmed.
    """
    ledger.bind_origin(context.origin)
    ledger.bind_destination(context.store)
    with ExitStack() as stack:
        reused: Sequence[ReusableFolder] = ()
        if context.options.replan:
            reused = reuse.open_folders(
                stack, context.job, context.folder.path, origin=context.origin, sandbox=context.is_sandbox
            )
        _plan(context, ledger, reused)
        sample = _sample(context, ledger)
        _start(context, ledger, reused, sample)
    return Prepared(context, ledger, transitions, sample)


def _sample(context: RunContext, ledger: Ledger) -> frozenset[int] | None:
    most = context.options.sample
    if context.options.tasks is not None or most is None:
        return context.options.tasks
    return ledger.read(plan_sample.drawn, ledger.plan_number, most, [*context.job.matrix.axes])


def _plan(context: RunContext, ledger: Ledger, reused: Sequence[ReusableFolder]) -> None:
    job, options, folder = context.job, context.options, context.folder
    accept.refuse_share(job, options.shard)
    ledger.end_run(held=ledger.holds_doubtful(job.retry.doubtful))
    if options.replan:
        ledger.bind_share(options.shard)

        def check(connection: sqlite3.Connection, number: int) -> None:
            if not options.pay_again:
                paid_elsewhere.refuse(
                    connection,
                    number,
                    job,
                    folder.path,
                    origin=context.origin,
                    reused=reused,
                    shard=options.shard,
                    sandbox=context.is_sandbox,
                    warn=context.warn,
                    account=None if context.is_sandbox else context.account,
                )

        if retired := retired_text(job.model, kept_list()):
            context.warn(retired)
        planning.plan_into(
            ledger,
            job,
            warn=context.warn,
            progress=lambda tasks: context.tell(Planning(tasks)),
            shard=options.shard,
            strict=options.strict,
            check=check,
            kept_plans=KeptPlans(user_state.kept_plans(), context.now, once=not context.is_sandbox),
        )
    replacements.plan_at_start(job, ledger, context.warn)
    rule = accept.rule_of(job)
    ledger.set_meta(acceptance.NOTE, "" if rule is None else rule.as_text())
    left_out, first = ledger.read(plan_writer.left_out, 1)
    if left_out:
        context.warn(planning.left_out_text(left_out, str(first[0])))
    folder.prepare()
    ledger.set_model(job.model, geometry.as_text(context.model.geometry if context.model else None))
    for key, value in {"job": job.name, "price": context.price, "result_ttl": job.result_ttl}.items():
        if value is not None:
            ledger.set_meta(key, str(value))
    resolved = yaml.safe_dump(context.manifest.resolved(), sort_keys=False, allow_unicode=True)
    destination.replace(folder.state / "manifest.yaml", [resolved])
    if folder.destination.remote:
        # Whoever may not write there learns it before anything is paid for.
        record_files.begin(report.of_folder(folder.path, now=context.now(), running=True))


def _start(
    context: RunContext, ledger: Ledger, reused: Sequence[ReusableFolder], sample: frozenset[int] | None
) -> None:
    recovered = ledger.recover_answers()
    if recovered:
        answers = several(recovered, "answer", "answers")
        context.warn(f"{answers} that the ledger could not take last time: recorded now, and not paid again")
    interrupted = ledger.mark_interrupted()
    if interrupted:
        tasks = several(interrupted, "task was", "tasks were")
        context.warn(f"{tasks} cut off before the answer came: perhaps paid, now in doubt")
    ledger.end_moves(context.folder.destination)
    ledger.start_run()
    if context.is_sandbox:
        ledger.forget_in_flight("the sandbox that worked on it has ended")
    if context.options.retry_failed:
        ledger.retry_failed()
    for sentence in reuse.take_over(ledger, context.folder, reused).sentences():
        context.warn(sentence)
    submits = _to_submit(context, ledger, sample)
    _tell_started(context, ledger, submits)
    _confirm(context, ledger, sample, submits)
    for key, value in manifest_edit.notes(context.manifest, ledger.plan_number).items():
        ledger.set_meta(key, value)
    ledger.set_meta(last_run.KEY, last_run.STILL_RUNNING)


def _tell_edit(context: RunContext, ledger: Ledger, per_image: float | None) -> int:
    """Tells which edited values make how many delivered pictures anew; that number."""
    planned = ledger.counts[State.PLANNED]
    edit = ledger.read(manifest_edit.edit_of, context.manifest, planned, ledger.plan_number)
    if edit is None:
        return 0
    each = None if per_image is None else credits(ledger.planned_images(planned) / planned * per_image)
    context.warn(edit.sentence(each))
    return edit.anew


def _to_submit(context: RunContext, ledger: Ledger, sample: frozenset[int] | None) -> int:
    """How many planned tasks this run is likely to submit, were there money for all."""
    limit, planned = context.options.limit, ledger.planned_tasks(sample)
    wanted = ledger.read(accept.accept_outlook, context.job, ledger.plan_number, ledger.connection)
    planned = planned if wanted is None else min(planned, wanted.tasks)
    return planned if limit is None else min(planned, limit)


def _tell_started(context: RunContext, ledger: Ledger, submits: int) -> None:
    """Once it is known what earlier runs have left: a task that is to be made again is new, as in `plan`."""
    counts = ledger.counts
    context.tell(
        Started(
            context.job.name,
            context.job.model,
            context.folder.destination.where,
            total=sum(counts.values()),
            new=counts[State.PLANNED],
            done=counts[State.DONE],
            in_flight=sum(counts[state] for state in IN_FLIGHT),
            rejected=counts[State.REJECTED],
            failed=counts[State.FAILED],
            submits=submits,
        )
    )


def _confirm(context: RunContext, ledger: Ledger, sample: frozenset[int] | None, new: int) -> None:
    """Asks about what this run is about to submit, what is doubtful and may be sent again included. Raises
    UsageError where the answer is no."""
    confirm = context.options.confirm
    again, images = (0, 0) if context.job.retry.doubtful == "hold" else ledger.doubtful_images()
    tasks = new + again
    per_image = ledger.money.known_per_image(context.price)
    anew = _tell_edit(context, ledger, per_image)
    if (confirm is None and not anew) or not tasks or per_image == 0:
        return
    cost = None if per_image is None else credits((ledger.planned_images(new, sample) + images) * per_image)
    if cost is not None and context.job.limits.max_cost is not None:
        spent = ledger.money_of_run().in_credits(context.price)
        cost = min(cost, max(0.0, context.job.limits.max_cost - sum(spent.values())))
    if anew and context.options.confirm_edit is not None:
        confirm = partial(context.options.confirm_edit, anew)
    if confirm is not None and not confirm(cost, tasks):
        cost_text = "a run whose cost is not known was" if cost is None else f"about {cost:g} credits were"
        raise errors.UsageError(f"{cost_text} not confirmed (-y confirms); nothing was submitted")
