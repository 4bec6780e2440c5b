"""`accept`: so many accepted pictures of each group of columns are enough. What the groups have, and which
task is next in each.

Rule: candidates of a group come in the plan's order, spread over its sources: of each source its first, then
of each its second. A replacement has the place of the picture that it replaces.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batcher.ledger.database import meta
from batcher.task import IN_FLIGHT, State

NOTE = "accept"
"""The ledger's note of what its manifest asks for, as JSON; none, or empty: all that is planned."""

TASKS = """
SELECT t.id, r.id, r.columns, r.media, t.images FROM tasks t JOIN tasks r ON r.key = coalesce(t.root, t.key)
WHERE t.plan = ? ORDER BY t.id
"""
RANKED = """
INSERT INTO temp.candidates (grp, rank, task, images)
SELECT grp, dense_rank() OVER (PARTITION BY grp, source ORDER BY root), task, images FROM temp.unranked
"""
ADDED = """
INSERT OR IGNORE INTO temp.candidates (grp, rank, task, images)
SELECT c.grp, c.rank, t.id, t.images FROM tasks t JOIN tasks r ON r.key = t.root
JOIN temp.candidates c ON c.task = r.id WHERE t.id = ?
"""
GROUP_SUMS = f"""
SELECT c.grp, t.state, count(*), max(c.images), total(
  CASE WHEN t.state = 'done' AND c.images > 1
       THEN coalesce(nullif((SELECT count(*) FROM files f WHERE f.task = t.id), 0), c.images)
       ELSE c.images END)
FROM temp.candidates c JOIN tasks t ON t.id = c.task
WHERE t.plan = ? OR t.state IN ({", ".join(f"'{state}'" for state in sorted(IN_FLIGHT))})
GROUP BY c.grp, t.state
"""
NEXT = """
SELECT c.rank, c.task FROM temp.candidates c JOIN tasks t ON t.id = c.task
WHERE c.grp = ? AND (c.rank, c.task) > (?, ?) AND t.state = 'planned' AND t.plan = ? ORDER BY c.rank, c.task
"""
BATCH = 2_000
Place = tuple[int, int]
"""Of a candidate in its group: which of its source it is, and its number."""
BEFORE_ALL: Place = (0, 0)


@dataclass(frozen=True, slots=True)
class AcceptRule:
    """`count` pictures for each value of the columns `per`; sources are told apart by their pictures, else by
    their columns without `axes`."""

    count: int
    per: tuple[str, ...]
    axes: tuple[str, ...] = ()

    def as_text(self) -> str:
        """As a ledger notes it."""
        return json.dumps({"count": self.count, "per": self.per, "axes": self.axes}, ensure_ascii=False)


def noted(connection: sqlite3.Connection) -> AcceptRule | None:
    """What the ledger's manifest asked for at the last start; None: all that is planned."""
    text = meta(connection, NOTE)
    if not text:
        return None
    values = json.loads(text)
    return AcceptRule(values["count"], tuple(values["per"]), tuple(values["axes"]))


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group in numbers of pictures: `accepted` are delivered; `in_flight` may still come, also doubtful
    ones; `rejected` were set aside; `waiting` are tasks that are planned, each of `images` pictures. `values`
    has the columns that make the group."""

    values: Mapping[str, Any]
    count: int
    accepted: int = 0
    in_flight: int = 0
    rejected: int = 0
    failed: int = 0
    waiting: int = 0
    images: int = 1

    @property
    def needed(self) -> int:
        """Tasks that may be submitted now, were there enough: never one too many."""
        return may_submit(self.count, self.accepted, self.in_flight, self.images)

    @property
    def to_submit(self) -> int:
        """Of the tasks that wait, those that may be submitted now."""
        return min(self.needed, self.waiting)

    @property
    def is_short(self) -> bool:
        """Whether the candidates do not suffice, should all be accepted."""
        return self.accepted + self.in_flight + self.to_submit * self.images < self.count

    def expected(self, rejections: float, redo: int) -> int:
        """Tasks that are likely to be submitted until it is full, where this part of the pictures is
        rejected; a replacement that `redo` allows is one more candidate."""
        wanted = int(-(-self.needed // max(1e-9, 1 - rejections))) if self.needed else 0
        return min(wanted, self.waiting * (1 + redo))

    @property
    def name(self) -> str:
        """The group for people: `label=cat, season=winter`."""
        shown = (f"{name}={_spelled(value)}" for name, value in self.values.items())
        return ", ".join(shown) or "all"


@dataclass(frozen=True, slots=True)
class AcceptStatus:
    """The groups of a plan, and the part of the pictures so far that was rejected."""

    rule: AcceptRule
    groups: tuple[GroupStatus, ...]
    rejections: float

    @property
    def short(self) -> int:
        """Groups that cannot be filled."""
        return sum(group.is_short for group in self.groups)

    def shortage(self, job: str) -> str:
        """What to say of groups that cannot be filled; empty: nothing. `job`: as a command line takes it."""
        return shortage_text(self.groups, job)

    def as_json(self) -> dict[str, Any]:
        """As `plan --json` and `status --json` have it; in numbers of pictures, `candidates` in tasks."""
        return {
            "count": self.rule.count,
            "per": list(self.rule.per),
            "rejections": round(self.rejections, 4),
            "groups": [
                {
                    "group": dict(group.values),
                    "accepted": group.accepted,
                    "in_flight": group.in_flight,
                    "rejected": group.rejected,
                    "failed": group.failed,
                    "candidates": group.waiting,
                }
                for group in self.groups
            ],
        }


def may_submit(count: int, accepted: int, in_flight: int, images: int) -> int:
    """How many more tasks of so many pictures each a group may have under way, so that accepted and in
    flight never exceed what it is to have."""
    return max(0, count - accepted - in_flight) // images


class Candidates:
    """The tasks of the plan of this number by their groups, in temporary tables of the ledger's
    connection."""

    def __init__(self, connection: sqlite3.Connection, plan: int, rule: AcceptRule) -> None:
        self._connection = connection
        self._plan = plan
        self.rule = rule
        self.groups: list[tuple[Any, ...]] = []
        self.unknown: frozenset[str] = frozenset(rule.per)
        """Columns of `per` that no task has."""
        self._build()

    def _build(self) -> None:
        run = self._connection.execute
        run("DROP TABLE IF EXISTS temp.unranked")
        run("DROP TABLE IF EXISTS temp.candidates")
        run("CREATE TEMP TABLE unranked (task INTEGER PRIMARY KEY, grp INTEGER, source TEXT, root INTEGER, "
            "images INTEGER)")  # fmt: skip
        run("CREATE TEMP TABLE candidates (grp INTEGER, rank INTEGER, task INTEGER, images INTEGER, "
            "PRIMARY KEY (grp, rank, task)) WITHOUT ROWID")  # fmt: skip
        numbers: dict[str, int] = {}
        batch: list[tuple[Any, ...]] = []
        for task, root, columns, media, images in self._connection.execute(TASKS, (self._plan,)):
            values = json.loads(columns)
            self.unknown -= values.keys()
            group = tuple(values.get(name) for name in self.rule.per)
            text = json.dumps(group, ensure_ascii=False)
            if text not in numbers:
                numbers[text] = len(numbers)
                self.groups.append(group)
            batch.append((task, numbers[text], self._source(values, media), root, images))
            if len(batch) >= BATCH:
                self._insert(batch)
        self._insert(batch)
        run(RANKED)
        run("CREATE UNIQUE INDEX temp.candidate_tasks ON candidates (task)")
        run("DROP TABLE temp.unranked")

    def _insert(self, batch: list[tuple[Any, ...]]) -> None:
        self._connection.executemany("INSERT INTO temp.unranked VALUES (?, ?, ?, ?, ?)", batch)
        batch.clear()

    def _source(self, values: Mapping[str, Any], media: str) -> str:
        if media != "{}":
            return media
        aside = {*self.rule.axes, "repeat", "seed"}
        return json.dumps({name: value for name, value in values.items() if name not in aside})

    def add(self, tasks: Iterable[int]) -> None:
        """These are replacements that were planned since."""
        self._connection.executemany(ADDED, ((task,) for task in tasks))

    def group_of(self, task: int) -> tuple[int, int] | None:
        """The number of a task's group, and how many pictures it gives; None: it is in none."""
        query = "SELECT grp, images FROM temp.candidates WHERE task = ?"
        row = self._connection.execute(query, (task,)).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def planned(self, group: int, after: Place = BEFORE_ALL) -> Iterator[Place]:
        """The planned tasks of a group behind this place, in their order."""
        cursor = self._connection.execute(NEXT, (group, *after, self._plan))
        try:
            yield from cursor
        finally:
            cursor.close()

    def statuses(self) -> list[GroupStatus]:
        """How the groups stand, in the plan's order."""
        sums: list[Counter[str]] = [Counter() for _ in self.groups]
        images = [1] * len(self.groups)
        for group, state, tasks, most, pictures in self._connection.execute(GROUP_SUMS, (self._plan,)):
            images[group] = max(images[group], int(most))
            where = _ROLE[State(state)]
            sums[group][where] += int(tasks if where == "waiting" else pictures)
        return [
            GroupStatus(
                dict(zip(self.rule.per, values, strict=True)), self.rule.count, images=most, **numbers
            )
            for values, numbers, most in zip(self.groups, sums, images, strict=True)
        ]


_ROLE = dict.fromkeys(IN_FLIGHT, "in_flight") | {
    State.DONE: "accepted",
    State.REJECTED: "rejected",
    State.FAILED: "failed",
    State.PLANNED: "waiting",
}


def group_statuses(connection: sqlite3.Connection) -> list[GroupStatus] | None:
    """How the groups of the present plan stand; None: the manifest asks for all that is planned."""
    rule = noted(connection)
    if rule is None:
        return None
    return Candidates(connection, int(meta(connection, "plan") or 0), rule).statuses()


def accept_status(connection: sqlite3.Connection) -> AcceptStatus | None:
    """The same with what was asked for. It looks at every task: only for whoever asks once."""
    rule, groups = noted(connection), group_statuses(connection)
    if rule is None or groups is None:
        return None
    return AcceptStatus(rule, tuple(groups), rejection_rate(connection))


def needed(connection: sqlite3.Connection, planned: int, asked: int = 0) -> int:
    """Of so many planned tasks of the present plan, and replacements that are `asked` for, those that a run
    would submit."""
    groups = group_statuses(connection) if planned or asked else None
    wanted = asked if groups is None else min(asked, sum(group.needed for group in groups))
    return to_submit(groups, planned) + wanted


def to_submit(groups: Sequence[GroupStatus] | None, planned: int) -> int:
    """The same where it is known how the groups stand (None: the manifest asks for all)."""
    return planned if groups is None else sum(group.to_submit for group in groups)


def rejection_rate(connection: sqlite3.Connection) -> float:
    """The part of the pictures of this ledger that was set aside so far; 0: none, or nothing is known."""
    counts = dict(
        connection.execute(
            "SELECT state, count(*) FROM tasks WHERE state IN ('done', 'rejected') GROUP BY state"
        ).fetchall()
    )
    rejected, done = counts.get("rejected", 0), counts.get("done", 0)
    return rejected / (rejected + done) if rejected else 0.0


SHOWN = 3


def shortage_text(groups: Sequence[GroupStatus], job: str) -> str:
    """Groups that their candidates cannot fill, and what helps, in a sentence; empty: there are none."""
    short = [group for group in groups if group.is_short]
    if not short:
        return ""
    shown = "; ".join(f"{group.name}: {group.accepted} of {group.count}" for group in short[:SHOWN])
    more = f"; and {len(short) - SHOWN:,} more" if len(short) > SHOWN else ""
    whole = f"{len(short):,} of {len(groups):,} groups" if len(groups) > 1 else "the only group"
    uneven = next((group for group in short if group.count % group.images), None)
    if uneven is not None and uneven.waiting:
        helps = f"each task gives {uneven.images} pictures: a `count` that this divides can be reached"
    else:
        helps = "more candidates (rows, axes, a higher `repeat`) or a higher `redo` help"
        if any(group.failed for group in short):
            helps += f", and `batcher retry {job}` plans what failed again"
    return f"`accept` has no more candidates for {whole} ({shown}{more}); {helps}"


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
