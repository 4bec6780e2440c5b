"""What the checks said of each picture, kept before it gets its final name.

Rule: a content is judged once: whoever finds it judged already, after a crash or a repair, goes by that. What
was looked at in the loop stays there, so that of two equal pictures exactly one is the earlier.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from batcher.storage import look

PERSON = "person"
"""Who rejected a picture that no check did."""
MOST_ALIKE = 64
"""So many earlier pictures are compared of those that have one band in common: a job may hold thousands that
are all alike."""

EQUAL = """
SELECT t.name FROM picture_checks c JOIN tasks t ON t.id = c.task
WHERE c.sha256 = ?3 AND c.is_compared AND (c.task <> ?1 OR c.position <> ?2) ORDER BY c.id LIMIT 1
"""
OF_A_BAND = f"""
SELECT * FROM (
  SELECT id FROM picture_checks
  WHERE band{{n}} = ?{{value}} AND is_compared AND (task <> ?1 OR position <> ?2)
  ORDER BY id LIMIT {MOST_ALIKE}
)
"""
# A search of its own for each band: each is answered by its index and ends at its limit.
ALIKE = f"""
SELECT c.cells, t.name FROM picture_checks c JOIN tasks t ON t.id = c.task
WHERE c.id IN ({" UNION ".join(OF_A_BAND.format(n=n, value=n + 3) for n in range(look.BANDS))})
ORDER BY c.id
"""
JUDGED = """
SELECT warnings, rejected_by, reason, duplicate_of FROM picture_checks
WHERE task = ? AND position = ? AND sha256 = ?
"""
KEEP = f"""
INSERT OR REPLACE INTO picture_checks
(task, position, sha256, is_compared, cells, {", ".join(f"band{n}" for n in range(look.BANDS))},
 warnings, rejected_by, reason, duplicate_of)
VALUES (?, ?, ?, ?, ?, {", ".join("?" * look.BANDS)}, ?, ?, ?, ?)
"""
REJECTION = """
SELECT rejected_by, reason FROM picture_checks WHERE task = ? AND rejected_by IS NOT NULL ORDER BY position
"""
FORGIVEN = "UPDATE picture_checks SET rejected_by = NULL, reason = NULL WHERE task = ?"
WARNINGS = """
SELECT w.value, count(*) FROM picture_checks c JOIN tasks t ON t.id = c.task, json_each(c.warnings) w
WHERE c.warnings IS NOT NULL AND t.plan = ? AND t.state = 'done' GROUP BY w.value ORDER BY 2 DESC, 1 LIMIT 100
"""
WARNED = """
SELECT count(*) FROM picture_checks c JOIN tasks t ON t.id = c.task
WHERE c.warnings IS NOT NULL AND t.plan = ? AND t.state = 'done'
"""


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """Of one picture: `warnings` as sentences, each begun with its check's name; `rejected_by` a check, with
    the `reason`, or empty; `duplicate_of` names the task whose picture it is like."""

    warnings: tuple[str, ...] = ()
    rejected_by: str = ""
    reason: str = ""
    duplicate_of: str | None = None


def judged(connection: sqlite3.Connection, task: int, position: int, sha256: str) -> CheckVerdict | None:
    """What was said of this very content before."""
    row = connection.execute(JUDGED, (task, position, sha256)).fetchone()
    if row is None:
        return None
    warnings, rejected_by, reason, duplicate_of = row
    return CheckVerdict(tuple(json.loads(warnings or "[]")), rejected_by or "", reason or "", duplicate_of)


def row_of(
    task: int, position: int, sha256: str, cells: bytes, verdict: CheckVerdict, *, is_compared: bool
) -> tuple[object, ...]:
    """The values of `KEEP`; `is_compared`: later pictures are compared with this one."""
    hashed: Sequence[int | None] = look.bands(cells) if is_compared and cells else [None] * look.BANDS
    return (
        task,
        position,
        sha256,
        int(is_compared),
        cells if is_compared else None,
        *hashed,
        json.dumps(verdict.warnings, ensure_ascii=False) if verdict.warnings else None,
        verdict.rejected_by or None,
        verdict.reason or None,
        verdict.duplicate_of,
    )


def like(connection: sqlite3.Connection, task: int, position: int, sha256: str, cells: bytes) -> str | None:
    """The task that has an equal or nearly equal picture, of those that came before; None: no other has."""
    if not cells:
        return None  # too small for anything to be seen: such pictures are all alike
    equal = connection.execute(EQUAL, (task, position, sha256)).fetchone()
    if equal is not None:
        return str(equal[0])
    near = connection.execute(ALIKE, (task, position, *look.bands(cells)))
    return next((str(name) for other, name in near if look.are_near(cells, other)), None)


def rejection(connection: sqlite3.Connection, task: int) -> tuple[str, str] | None:
    """The check that rejected a picture of this task, the first one, and why; None: none did."""
    row = connection.execute(REJECTION, (task,)).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def warned(connection: sqlite3.Connection) -> int:
    """How many delivered pictures of the present plan have a warning."""
    from batcher.ledger.database import columns, meta

    if not columns(connection, "picture_checks"):
        return 0  # a ledger of an older schema that is only read
    (number,) = connection.execute(WARNED, (int(meta(connection, "plan") or 0),)).fetchone()
    return int(number)


def warnings(connection: sqlite3.Connection) -> dict[str, int]:
    """How many delivered pictures of the present plan each warning marks, the most frequent first."""
    from batcher.ledger.database import columns, meta

    if not columns(connection, "picture_checks"):
        return {}  # a ledger of an older schema that is only read
    return dict(connection.execute(WARNINGS, (int(meta(connection, "plan") or 0),)).fetchall())
