"""What of a plan is done, and what a run would pay for: the numbers of `batcher plan`.

Rule: they add up. A task of the plan is new (nothing was sent for it), taken over, in flight, done, rejected
or failed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from batcher.ledger import database, plan_sample, totals
from batcher.task import IN_FLIGHT, State

LEFT = "plan = ?1 AND id NOT IN (SELECT id FROM temp.reused)"
OF_STATE = f"SELECT state, count(*) FROM tasks WHERE {LEFT} GROUP BY state"
WAITING = f"state = 'planned' AND {LEFT} AND {plan_sample.within('?2')}"
NEXT = f"SELECT count(*), total(images) FROM (SELECT images FROM tasks WHERE {WAITING} ORDER BY id LIMIT ?3)"
WITHIN = f"""
SELECT count(*) FROM
  (SELECT sum(images) OVER (ORDER BY id) AS so_far FROM tasks WHERE {WAITING} LIMIT ?3)
WHERE so_far <= ?4
"""
EVERY = -1


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """Tasks of a plan. `submits`: so many of the new ones a run would send this time, for `cost` credits; all
    of them are for `cost_of_all` (None: not known). `held_by`: the key of `limits` that leaves no money for a
    single one; empty: none does."""

    total: int
    new: int
    reused: int
    in_flight: int
    done: int
    rejected: int
    failed: int
    submits: int
    cost: float | None
    cost_of_all: float | None
    held_by: str = ""


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of the money of a job. Credits: what an image costs (None: not known), and what each
    limit on money (its key in `limits`) leaves for a next start."""

    per_image: float | None
    left: Mapping[str, float] = field(default_factory=dict)

    @property
    def budget(self) -> float | None:
        """What all of them leave; None: there is none."""
        return min(self.left.values(), default=None)

    @property
    def narrowest(self) -> str:
        """The one that leaves least; empty: there is none."""
        return min(self.left, key=lambda key: self.left[key], default="")

    def within(self, further: Mapping[str, float]) -> Prices:
        """The same under further limits."""
        return replace(self, left={**self.left, **further})


def count(
    connection: sqlite3.Connection,
    plan: int,
    reused: Collection[int],
    prices: Prices,
    limit: int | None,
    sample: Collection[int] | None = None,
) -> PlanCounts:
    """Counts the plan of this number in `connection`, whose temporary tables it writes to. `reused`: tasks
    (by number) that would be taken over; `limit`: at most so many tasks this time; `sample`: none but
    these."""
    connection.execute("DROP TABLE IF EXISTS temp.reused")
    connection.execute("CREATE TEMP TABLE reused (id INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO temp.reused VALUES (?)", ((task,) for task in reused))
    states = dict(connection.execute(OF_STATE, (plan,)).fetchall())
    each = prices.per_image
    chosen = plan_sample.among(sample)
    submits, cost = _next(connection, plan, EVERY if limit is None else limit, each, chosen)
    wanted, budget = submits, prices.budget
    if budget is not None and budget <= 0:
        submits, cost = 0, 0.0  # a request without a known price is not sent either
    elif cost is not None and budget is not None and cost > budget:
        assert each
        affordable = int(round(budget / each, 6))
        (within,) = connection.execute(WITHIN, (plan, chosen, submits, affordable)).fetchone()
        submits, cost = _next(connection, plan, within, each, chosen)
    return PlanCounts(
        total=sum(states.values()) + len(reused),
        new=states.get(State.PLANNED, 0),
        reused=len(reused),
        in_flight=sum(states.get(state, 0) for state in IN_FLIGHT),
        done=states.get(State.DONE, 0),
        rejected=states.get(State.REJECTED, 0),
        failed=states.get(State.FAILED, 0),
        submits=submits,
        cost=cost,
        cost_of_all=_next(connection, plan, EVERY, each)[1],
        held_by=prices.narrowest if wanted and not submits else "",
    )


def _next(
    connection: sqlite3.Connection, plan: int, limit: int, each: float | None, chosen: str | None = None
) -> tuple[int, float | None]:
    """How many the next new tasks are, at most `limit` of them and none that is not `chosen`, and what they
    cost."""
    tasks, images = connection.execute(NEXT, (plan, chosen, limit)).fetchone()
    return int(tasks), None if each is None else round(each * images, 6)


def prices(path: Path, price: float | None, max_cost: float | None) -> Prices:
    """The prices of a job whose ledger is at `path`: what an image really cost so far, else `price`."""
    if not path.exists():
        return Prices(price, {} if max_cost is None else {"max_cost": max_cost})
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        money = totals.money(connection)
        row = connection.execute("SELECT min(id) FROM runs WHERE finished_at IS NULL").fetchone()
        before = totals.money(connection, row[0]) if row[0] is not None else money
    if money.paid_images:
        price = money.per_image(None) / totals.MICRO
    if max_cost is None:
        return Prices(price)
    used = money.since(before).in_credits(None if price is None else totals.micro(price))
    return Prices(price, {"max_cost": max(0.0, round(max_cost - sum(used.values()), 6))})
