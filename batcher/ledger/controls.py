"""What a person asks of a job's runs, beside them: `batcher pause`, `resume` and `set`. Notes of its ledger,
so that a pause survives the process and a limit holds for later runs.

Rule: a limit that was set holds until the manifest says another than it said then. What is typed for a run
holds for that one: meanwhile what was set is laid aside.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from batcher.ledger.database import meta, set_meta, transaction

if TYPE_CHECKING:
    from batcher.job.manifest import Limits

PAUSED, LIMITS = "paused", "limits"
"""Their keys among the ledger's notes."""
TYPED, LAID_ASIDE = "limits typed", "limits laid aside"
"""Keys of `limits` that the command line of the last run said, and what was set of them before."""
UNKNOWN = "unknown"
"""In place of what the manifest says, where only the command line's word is known."""
SETTABLE = ("rpm", "max_cost", "in_flight", "max_cost_per.day", "max_cost_per.month")
"""The keys of `limits` that a run takes over while it goes on."""


class SetLimit(NamedTuple):
    """A limit that `batcher set` said, and what the manifest said then (UNKNOWN: what it says next): plain
    values, None for none or auto."""

    value: Any
    manifest: Any


def paused_since(connection: sqlite3.Connection) -> float | None:
    """When the job was paused (Unix s); None: it is not."""
    text = meta(connection, PAUSED)
    return float(text) if text else None


def pause(connection: sqlite3.Connection, now: float) -> bool:
    """No run of the job submits until `resume`; whether it was not paused before."""
    return _turn(connection, str(now))


def resume(connection: sqlite3.Connection) -> bool:
    """Runs submit again; whether it was paused."""
    return _turn(connection, "")


def _turn(connection: sqlite3.Connection, text: str) -> bool:
    with transaction(connection):
        if (paused_since(connection) is None) == (not text):
            return False
        set_meta(connection, PAUSED, text)
    return True


def limits(connection: sqlite3.Connection) -> dict[str, SetLimit]:
    """The limits that were set, by their key in `limits`, without those that are laid aside."""
    return _noted(connection, LIMITS)


def typed(connection: sqlite3.Connection) -> list[str]:
    """Keys of `limits` for which the command line of the last run went before the manifest."""
    return list(json.loads(meta(connection, TYPED) or "[]"))


def limits_ever_set(connection: sqlite3.Connection) -> dict[str, SetLimit]:
    """The same with them."""
    return _noted(connection, LAID_ASIDE) | _noted(connection, LIMITS)


def _noted(connection: sqlite3.Connection, key: str) -> dict[str, SetLimit]:
    noted = json.loads(meta(connection, key) or "{}")
    return {key: SetLimit(*pair) for key, pair in noted.items() if key in SETTABLE}


def set_limits(connection: sqlite3.Connection, changed: Mapping[str, SetLimit]) -> dict[str, SetLimit]:
    """These hold from now on, beside those that were set before, which are returned."""
    with transaction(connection):
        before = limits(connection)
        set_meta(connection, LIMITS, limits_text(before | dict(changed)))
    return before


def limits_text(set_limits: Mapping[str, SetLimit]) -> str:
    """As the ledger keeps them."""
    return json.dumps(dict(set_limits))


def limit_text(key: str, value: Any) -> str:
    """A limit's value in the manifest's words."""
    if value is None:
        return "auto" if key == "in_flight" else "none"
    return f"{value:g}"


def limit_value(limits: Limits, key: str) -> Any:
    """The value of a key in `limits`, dotted where it lies deeper."""
    value: Any = limits
    for step in key.split("."):
        value = getattr(value, step)
    return value


def still_held(limits: Limits, set_limits: Mapping[str, SetLimit]) -> dict[str, SetLimit]:
    """What was set and still holds: where the manifest says of it what it said then."""
    says = {key: limit_value(limits, key) for key in set_limits}
    return {
        key: one._replace(manifest=says[key])
        for key, one in set_limits.items()
        if one.manifest in (UNKNOWN, says[key])
    }
