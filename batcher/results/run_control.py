"""A job's runs are talked to: `batcher pause`, `resume` and `set`, and the buttons of the live page.

Rule: what is asked is written to the ledger, and nothing else is done here; a run takes it over within a
second, and without one it holds for the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from batcher import errors
from batcher.ledger import controls, database
from batcher.ledger.controls import SetLimit, limit_text, limit_value, still_held
from batcher.storage import layout

if TYPE_CHECKING:
    from batcher.job.manifest import Limits
    from batcher.results.period_left import PeriodLeft


class LimitChange(NamedTuple):
    """What a limit was, and what it is now: plain values, None for none or auto."""

    before: Any
    after: Any


def pause(output: Path, now: float) -> bool:
    """No run of the job submits until `resume`; whether it was not paused before. Raises UsageError where
    nothing was run, LedgerError, DiskError."""
    with _opened(output) as connection:
        return controls.pause(connection, now)


def resume(output: Path) -> bool:
    """Runs submit again; whether it was paused. Raises as `pause`."""
    with _opened(output) as connection:
        return controls.resume(connection)


def set_limits(output: Path, texts: Sequence[str]) -> dict[str, LimitChange]:
    """Limits are changed (`limits.rpm=120`), all of them or none; what each was and is, by its key in
    `limits`. Raises UsageError for what cannot be set, ManifestError for a value that no manifest could have,
    and as `pause`."""
    from batcher.job import manifest

    can = [f"limits.{name}" for name in controls.SETTABLE]
    keys = [text.partition("=")[0].strip() for text in texts]
    for text, key in zip(texts, keys, strict=True):
        if "=" not in text or key not in can:
            raise errors.UsageError(f"{text}: what can be set is {', '.join(can)}, as in `limits.rpm=120`")
    with _opened(output) as connection:
        resolved = layout.resolved_manifest(output)
        before, _ = manifest.examine(resolved)
        after, problems = manifest.examine(resolved, texts)
        if before is None or after is None or problems:
            raise errors.ManifestError(problems)
        names = dict.fromkeys(key.partition(".")[2] for key in keys)
        says = {name: limit_value(before.limits, name) for name in names}
        unknown = dict.fromkeys(controls.typed(connection), controls.UNKNOWN)
        changed = {
            name: SetLimit(limit_value(after.limits, name), unknown.get(name, says[name])) for name in names
        }
        # None but these: another may set others at the same time.
        held = still_held(before.limits, controls.set_limits(connection, changed))
    return {
        name: LimitChange(held[name].value if name in held else says[name], one.value)
        for name, one in changed.items()
    }


class Controls(NamedTuple):
    """What was asked of a job's runs: since when it is paused (Unix s; None: it is not), and what each limit
    that can be set is now, in the manifest's words; none where the manifest cannot be read."""

    paused: float | None
    limits: dict[str, str]


def manifest_limits(output: Path) -> Limits | None:
    """The limits that the manifest of the last run says; None where it cannot be read."""
    from batcher.job import manifest

    says, _ = manifest.examine(layout.resolved_manifest(output))
    return None if says is None else says.limits


def in_force(connection: sqlite3.Connection, limits: Limits | None) -> Controls:
    """What holds, by a ledger that is open; `limits` are the manifest's."""
    since = controls.paused_since(connection)
    if limits is None:
        return Controls(since, {})
    held = still_held(limits, controls.limits(connection))
    now = {key: held[key].value if key in held else limit_value(limits, key) for key in controls.SETTABLE}
    return Controls(since, {key: limit_text(key, value) for key, value in now.items()})


def budgets(output: Path, now: float) -> tuple[PeriodLeft, ...]:
    """What is left of the budgets of a day and a month that the job has. Raises LedgerError, DiskError."""
    path = layout.ledger_path(output)
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        if not _may_have_budgets(connection, output):
            return ()  # nothing more is loaded for it
        from batcher.results import period_left

        return period_left.of_job(connection, path, manifest_limits(output), now)


def _may_have_budgets(connection: sqlite3.Connection, output: Path) -> bool:
    try:
        resolved = layout.resolved_manifest(output).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    was_set = any(key.startswith("max_cost_per.") for key in controls.limits(connection))
    return was_set or "max_cost_per: {}" not in resolved


@contextmanager
def _opened(output: Path) -> Iterator[sqlite3.Connection]:
    path = layout.ledger_path(output)
    if not path.exists():
        raise errors.UsageError(layout.nothing_run_text(output))
    with database.disk_errors(path), closing(database.open_file(path)) as connection:
        yield connection
