"""What of a plan is done, and what a run would pay for: the numbers of `batcher plan`.

Rule: they add up. A task of the plan is new (nothing was sent for it), taken over, in flight, done, rejected
or failed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
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
    of them are for `cost_of_all` (None: not known)."""

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


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of the money of a job. Credits: what an image costs (None: not known), and what its
    max_cost leaves of the run that a next start continues (None: no bound)."""

    per_image: float | None
    budget: float | None

    def within(self, further: Iterable[float]) -> Prices:
        """The same under further budgets, of which so much is left."""
        bounds = [*further, *([] if self.budget is None else [self.budget])]
        return replace(self, budget=min(bounds, default=None))


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
    if cost is not None and prices.budget is not None and cost > prices.budget:
        assert each
        affordable = int(round(prices.budget / each, 6))
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
        return Prices(price, max_cost)
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        money = totals.money(connection)
        row = connection.execute("SELECT min(id) FROM runs WHERE finished_at IS NULL").fetchone()
        before = totals.money(connection, row[0]) if row[0] is not None else money
    if money.paid_images:
        price = money.per_image(None) / totals.MICRO
    if max_cost is None:
        return Prices(price, None)
    used = money.since(before).in_credits(None if price is None else totals.micro(price))
    return Prices(price, max(0.0, max_cost - sum(used.values())))
