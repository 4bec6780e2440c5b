"""What a run of a manifest would do, looked at (`plan`, `validate`).

Rule: looking writes nothing in the output folder.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.api.account import Account
from batcher.engine import accept, manifest_edit, paid_elsewhere, plan_counts, reuse
from batcher.engine.accept import AcceptOutlook
from batcher.engine.estimate import estimate
from batcher.engine.plan_copy import planned_copy
from batcher.engine.plan_counts import PlanCounts
from batcher.engine.planning import (
    api_of,
    left_out_text,
    lost_ledger_text,
    model_of,
    price_of,
    share_of,
)
from batcher.engine.set_limits import of_manifest, sentences, with_held
from batcher.job.catalog.provider_list import kept_list, retired_text
from batcher.job.manifest import Limits, Manifest
from batcher.ledger import controls, database, plan_sample, plan_writer
from batcher.ledger.ledger import Ledger
from batcher.ledger.spending import Period
from batcher.results.period_left import PeriodLeft, left_of
from batcher.shard import Shard
from batcher.storage import layout
from batcher.storage.user_state import account_path

SAMPLE = 3
SHOWN_LEFT_OUT = 20
"""Rows left out that an outlook names."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run would do; `seconds` until all is delivered; `in_flight` is how many tasks will be side by
    side, as far as is known before the first; `budgets`: what is left today and this month; `accept`: how the
    groups stand that are to be filled; `limits`: those that hold, and `set_limits`: what `batcher set` has to
    do with them, a sentence each; `left_out`: the first of the `left_out_rows` rows."""

    job: str
    counts: PlanCounts
    calls: int
    seconds: float
    sample: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = field(default=())
    left_out: tuple[errors.Problem, ...] = field(default=())
    in_flight: int = 0
    budgets: tuple[PeriodLeft, ...] = ()
    accept: AcceptOutlook | None = None
    limits: Limits = field(default_factory=Limits)
    set_limits: tuple[str, ...] = ()
    left_out_rows: int = 0

    @property
    def total(self) -> int:
        """Tasks of the plan."""
        return self.counts.total

    @property
    def new(self) -> int:
        """Tasks for which nothing was sent so far."""
        return self.counts.new

    @property
    def done(self) -> int:
        """Tasks that are delivered."""
        return self.counts.done

    @property
    def cost(self) -> float | None:
        """Credits that a run would spend; None: no price is known."""
        return self.counts.cost

    def as_json(self) -> dict[str, Any]:
        """The object of `plan --json`."""
        counts = self.counts
        estimate = {"cost": counts.cost, "calls": self.calls, "seconds": round(self.seconds, 1)}
        return {
            "job": self.job,
            "total": counts.total,
            "new": counts.new,
            "reused": counts.reused,
            "in_flight": counts.in_flight,
            "done": counts.done,
            "rejected": counts.rejected,
            "failed": counts.failed,
            "submits": counts.submits,
            "estimate": estimate,
            **({"budget": {one.period: one.as_json() for one in self.budgets}} if self.budgets else {}),
            **({"accept": self.accept.as_json()} if self.accept is not None else {}),
            "sample": list(self.sample),
            "warnings": list(self.warnings),
        }


def outlook(
    manifest: Manifest,
    output: Path,
    *,
    strict: bool = False,
    shard: Shard | None = None,
    sandbox: bool = False,
    origin: str | None = None,
    pay_again: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    account: Account | None = None,
    now: Callable[[], float] = time.time,  # noqa: TID251  # the wall clock of one look
    keep: bool = False,
) -> Outlook:
    """What `manifest`, or that share of it, would do beside what its ledger already holds; unless `strict`,
    without the rows that would be left out. `sandbox`: nothing of it would be paid for; `origin`: at this
    API, and unless it may `pay_again`, other folders are asked what they have of it; `limit`: at most so many
    tasks this time; `sample`: only so many that stand for the plan, the same each time; `account`: the one
    whose jobs share its budgets of a day and a month; `keep`: the first run in a folder without a ledger may
    take the plan over. Raises ManifestError, LedgerError, DiskError."""
    warnings = [retired] if (retired := retired_text(manifest.model, kept_list())) else []
    if not sandbox and layout.ledger_is_lost(output):
        warnings.append(f"{lost_ledger_text(output)}; `run` refuses that")
    path = layout.ledger_path(output)
    with ExitStack() as stack:
        folders = reuse.open_folders(stack, manifest, output, origin=origin, sandbox=sandbox)
        try:
            copy = stack.enter_context(
                planned_copy(
                    manifest, path, shard=shard, strict=strict, warn=warnings.append, now=now, keep=keep
                )
            )
        except errors.ManifestError as error:
            raise errors.ManifestError(error.problems, warnings) from error
        connection, plan = copy.connection, copy.plan_number
        if origin and not pay_again:
            elsewhere = paid_elsewhere.find_paid_output(
                connection,
                plan,
                manifest,
                output,
                origin=origin,
                reused=folders,
                account=None if sandbox else account,
            )
            if isinstance(elsewhere, paid_elsewhere.LostOutput) and not elsewhere.is_unmounted:
                warnings.append(elsewhere.notice)
            elif elsewhere:
                refusal = paid_elsewhere.refusal(elsewhere, manifest, shard=shard, sandbox=sandbox)
                warnings.append(_refused(*refusal))
        axes = [*manifest.matrix.axes]
        chosen = None if sample is None else plan_sample.drawn(connection, plan, sample, axes)
        shown = _sample(connection, plan, chosen)
        share, limits, set_limits = _as_set(manifest, shard, copy)
        reused = reuse.preview(connection, plan, folders)
        warnings += reused.sentences()
        with database.disk_errors(path):
            budgets = _budgets(share.limits, path, None if shard or sandbox else account, now())
            prices = plan_counts.prices(path, price_of(manifest, model_of(manifest)), share.limits.max_cost)
            groups = accept.accept_outlook(connection, manifest, plan, connection)
            counts = plan_counts.count(
                connection,
                plan,
                reused.ids,
                prices.within({f"max_cost_per.{one.period}": one.left for one in budgets}),
                groups.within(limit) if groups is not None else limit,
                chosen,
            )
        number, left_out = plan_writer.left_out(connection, SHOWN_LEFT_OUT)
        named = shlex.quote(str(output))
        warnings += [groups.shortage(named)] if groups is not None and groups.short else []
        edit = copy.read(manifest_edit.edit_of, manifest, counts.new, plan)
        if edit is not None:
            warnings.append(edit.sentence(counts.cost_of_all and counts.cost_of_all / counts.new))
    if number:
        warnings.append(left_out_text(number, str(left_out[0]), is_run=False))
    model = model_of(manifest)
    known = estimate(share, model, api_of(manifest, model), counts.submits + counts.in_flight)
    return Outlook(
        job=manifest.name,
        counts=counts,
        calls=known.calls,
        seconds=known.seconds,
        sample=shown,
        warnings=tuple(warnings),
        left_out=tuple(left_out),
        in_flight=known.in_flight,
        budgets=budgets,
        accept=groups,
        limits=limits,
        set_limits=set_limits,
        left_out_rows=number,
    )


def _as_set(
    manifest: Manifest, shard: Shard | None, ledger: Ledger
) -> tuple[Manifest, Limits, tuple[str, ...]]:
    """The share's job and the whole one's limits as `batcher set` has them, by the job's own ledger, and what
    is to be said of that."""
    noted = ledger.read(controls.limits_ever_set)
    held = of_manifest(manifest, noted).held
    share = with_held(share_of(manifest, shard), held)
    return share, with_held(manifest, held).limits, tuple(sentences(manifest, noted))


def _budgets(limits: Limits, path: Path, account: Account | None, now: float) -> tuple[PeriodLeft, ...]:
    per = limits.max_cost_per
    bounds: dict[Period, float | None] = {"day": per.day, "month": per.month}
    return left_of(bounds, path, None if account is None else account_path(account.name), now)


def _refused(first: str, *ways: str) -> str:
    listed = "; ".join(" ".join(way.split()) for way in ways)
    return f"`run` refuses this: {first} {listed}"


def problems(manifest: Manifest, *, strict: bool = True) -> tuple[errors.Problem, ...]:
    """What is wrong with rows and files: of a manifest that is wrong already all is told at once."""
    try:
        outlook(manifest, manifest.output.dir, strict=strict)
    except errors.ManifestError as error:
        return error.problems
    return ()


def _sample(
    connection: sqlite3.Connection, plan: int, chosen: Collection[int] | None
) -> tuple[dict[str, Any], ...]:
    query = (
        "SELECT key, name, params FROM tasks WHERE plan = ?3 "
        f"AND {plan_sample.within('?1')} ORDER BY id LIMIT ?2"
    )
    rows = connection.execute(query, (plan_sample.among(chosen), SAMPLE, plan))
    return tuple({"key": key, "name": name, "params": json.loads(params)} for key, name, params in rows)
