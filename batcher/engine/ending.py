"""After a run: why it ended is kept in the ledger, then the records are written and listeners hear the end.

Rule: why a run ended is known here alone, and kept for every later report.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from batcher import errors
from batcher.engine import accept
from batcher.engine.preparation import Prepared, RunContext
from batcher.engine.stopping import gravest
from batcher.engine.wiring import RunParts, keep_lessons
from batcher.ledger import acceptance, notices, reusable_results, totals
from batcher.ledger.last_run import LastRun
from batcher.progress import Finished, Snapshot
from batcher.results import report
from batcher.results.report import Report
from batcher.storage.workers import Transfers
from batcher.task import IN_FLIGHT, State

SLOWEST = 3
"""So many of the slowest tasks are named at the end."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What only the run itself knows of its end, as `Finished` tells it."""

    snapshot: Snapshot
    slowest: Mapping[str, float]
    reused: int
    results_gone: int
    remedies: tuple[str, ...]
    not_needed: int


def keep_ending(prepared: Prepared, parts: RunParts, snapshot: Snapshot) -> Ending:
    """Closes the run in its ledger, with exit code, causes and balance; `snapshot` is the last one."""
    context, ledger, causes = prepared.context, prepared.ledger, parts.stopping.causes
    if difference := parts.balance.sentence():
        context.warn(difference)
    keep_lessons(prepared, parts)
    groups, planned = ledger.read(acceptance.group_statuses), ledger.counts[State.PLANNED]
    needed = acceptance.to_submit(groups, planned)
    ledger.end_run(needed, held=ledger.holds_doubtful(context.job.retry.doubtful))
    short = accept.shortage(groups, shlex.quote(str(context.folder.path)))
    # A time that was over, or a signal, is the smaller half of why a paused run did nothing.
    paused = (parts.control.reason,) if parts.control.paused and needed else ()
    texts = (*paused, *(cause.text for cause in causes.values()), *([short] if short else []))
    news = ledger.read(notices.count).news
    exit_code = _exit_code(prepared, parts, needed=needed, is_short=bool(short))
    last = LastRun(exit_code, texts, parts.balance.facts(), news, context.now())
    ledger.end_start(last)
    parts.membership.leave(exit_code, texts)
    # What lets the next run submit, where it would wait as this one did.
    resuming = (parts.control.remedy,) if paused else ()
    return Ending(
        snapshot,
        slowest=ledger.read(totals.slowest, ledger.run, context.now() - snapshot.elapsed, SLOWEST),
        reused=ledger.read(reusable_results.images_of_others),
        results_gone=parts.delivery.gone,
        remedies=(*(cause.remedy for cause in causes.values() if cause.remedy), *resuming),
        not_needed=planned - needed,
    )


def _exit_code(prepared: Prepared, parts: RunParts, *, needed: int, is_short: bool) -> int:
    counts = prepared.ledger.counts
    codes = set(parts.stopping.causes)
    if not needed and not any(counts[state] for state in IN_FLIGHT):
        codes -= {130, 143, 10, 4}
    spare = counts[State.PLANNED] - needed
    if counts[State.DONE] + counts[State.REJECTED] + spare == sum(counts.values()):
        codes &= {1}  # whatever stopped the submits, nothing is left to come back for
    if parts.lifecycle.source_changed or prepared.ledger.read(notices.count).failures or is_short:
        codes.add(3)
    if not codes - {3} and (counts[State.READY] or counts[State.SUBMITTED]):
        codes.add(5)
    return gravest(codes)


def report_ending(context: RunContext, ending: Ending, transfers: Transfers) -> Report:
    """Writes the records from the closed ledger, and tells listeners the end."""
    final = report.of_folder(context.folder.path, now=context.now(), running=False)
    try:
        report.write(final, transfers)
    except errors.DiskError as error:
        # All that was paid for is in the ledger: the next run writes the records.
        causes = (*final.causes, f"the records could not be written: {error}")
        final = replace(final, exit_code=gravest({final.exit_code, 5}), causes=causes)
    context.tell(
        Finished(
            final.exit_code,
            final.causes,
            replace(
                ending.snapshot,
                failures=final.failures,
                rejections=final.rejections,
                warned=final.warned,
            ),
            slowest=ending.slowest,
            balance=final.balance,
            left_out=final.left_out,
            news=final.news,
            known_failures=final.known_failures,
            acked=final.acked,
            reused=ending.reused,
            results_gone=ending.results_gone,
            remedies=ending.remedies,
            warnings=final.warnings,
            not_needed=ending.not_needed,
            rejected_images=final.rejected_images,
            is_rehearsal=context.is_sandbox,
        )
    )
    return final
