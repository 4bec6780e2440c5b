"""A job planned as its next run would plan it, in a copy of its ledger, for whoever looks.

Rule: nothing is written in the output folder. What is planned for a folder without a ledger is kept in the
user's cache, where it is wanted, and its first run takes that over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from batcher import errors
from batcher.engine import planning, replacements
from batcher.job.diagnostics import Warn
from batcher.job.manifest import Manifest
from batcher.ledger import database, kept_plans
from batcher.ledger.corrected_labels import CorrectedLabels
from batcher.ledger.kept_plans import KeptPlans
from batcher.ledger.ledger import Ledger
from batcher.shard import Shard
from batcher.storage import user_state


@contextmanager
def planned_copy(
    manifest: Manifest,
    path: Path,
    *,
    shard: Shard | None,
    strict: bool,
    warn: Warn,
    now: Callable[[], float],
    keep: bool,
) -> Iterator[Ledger]:
    """The copy of the ledger at `path`, or a new one where there is none, with the manifest's plan in it;
    whoever looks at that may write to its temporary tables alone. Raises ManifestError, LedgerError,
    DiskError."""
    plans = KeptPlans(user_state.kept_plans(), now)
    with plans.scratch() as made:
        name = None
        with _told_as(path, made), closing(_copied(path, made, shard, now)) as ledger:
            _plan(ledger, manifest, shard, strict, warn, plans)
            found = ledger.meta("fingerprint")
            if keep and found and shard is None and not path.exists():
                name = planning.name_of_kept(manifest, found)
            yield ledger
        if name is not None and not plans.has(name):
            plans.keep(made, name)


def _copied(path: Path, made: Path, shard: Shard | None, now: Callable[[], float]) -> Ledger:
    copied = False
    if path.exists():
        with database.disk_errors(path), closing(database.open_for_reading(path, checked=False)) as own:
            # Into a ledger that holds another share, or the whole, nothing of this plan enters.
            if copied := (database.meta(own, "shard") or "") == str(shard or ""):
                kept_plans.copy_of(own, path, made)
    ledger = Ledger(made / kept_plans.LEDGER, now=now, checked=copied)
    for pragma in ("journal_mode=DELETE", "synchronous=OFF"):  # one file, which no power cut need spare
        ledger.connection.execute(f"PRAGMA {pragma}")
    if ledger.meta("fingerprint") and ledger.meta(planning.WARNINGS_NOTE) is None:
        # Of an earlier version: what there is to tell of its plan is learned by planning.
        database.set_meta(ledger.connection, "fingerprint", "")
    return ledger


def _plan(
    ledger: Ledger, manifest: Manifest, shard: Shard | None, strict: bool, warn: Warn, plans: KeptPlans
) -> None:
    planned = planning.plan_into(
        ledger,
        manifest,
        warn=warn,
        progress=lambda tasks: None,
        shard=shard,
        strict=strict,
        check=lambda connection, number: None,
        kept_plans=plans,
        patient=False,
    )
    if planned is not None:
        return
    for sentence in planning.noted_warnings(ledger):
        warn(sentence)
    labels = CorrectedLabels()
    with database.disk_errors(ledger.path), database.transaction(ledger.connection):
        replacements.plan_due(ledger.connection, manifest, ledger.plan_number, warn, anew=False)
        planning.correct_labels(ledger.connection, manifest, ledger.plan_number, labels)
    ledger.recount()
    if sentence := labels.sentence():
        warn(sentence)


@contextmanager
def _told_as(path: Path, made: Path) -> Iterator[None]:
    """What is wrong with the copy is wrong with the ledger itself."""
    try:
        yield
    except errors.LedgerError as error:
        text = str(error).replace(str(made / kept_plans.LEDGER), str(path))
        raise errors.LedgerError(text) from error
