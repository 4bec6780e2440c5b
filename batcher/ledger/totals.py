"""What the ledger adds up to. Read by the run itself and, beside it, by `status` and `report`.

Rule: every number is counted from the rows; money is integer micro-credits until it is shown.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, replace

from batcher.ledger.database import meta
from batcher.task import State

MICRO = 1_000_000
"""Micro-credits in a credit."""


@dataclass(frozen=True, slots=True)
class Money:
    """All POSTs that could cost something, in micro-credits and images.

    `spent` is what the provider told; `unpriced_images` were paid without being told a cost.
    `doubtful_images` are those of POSTs whose answer was lost or was a 5xx, `lost_images` those whose
    record was gone before it could be fetched: both are valued when told, by the mean real cost.
    `dearest` is the highest real cost of one image, `open` how many submissions are in the air or in flight.
    """

    spent: int = 0
    reserved: int = 0
    unpriced_images: int = 0
    doubtful_images: int = 0
    lost_images: int = 0
    paid_images: int = 0
    dearest: int = 0
    open: int = 0

    def per_image(self, price: int | None) -> float:
        """Mean real cost of an image; where none is known yet, `price`; else 0."""
        return self.known_per_image(price) or 0.0

    def known_per_image(self, price: int | None) -> float | None:
        """Mean real cost of an image; where none is known yet, `price`, which may be None."""
        if self.paid_images:
            return self.spent / self.paid_images
        return None if price is None else float(price)

    def in_credits(self, price: int | None) -> dict[str, float]:
        """The `cost` object of the outputs, in credits."""
        mean = self.per_image(price)
        return {
            "spent": credits(self.spent + self.unpriced_images * mean),
            "reserved": credits(self.reserved),
            "doubtful": credits(self.doubtful_images * mean),
            "lost": credits(self.lost_images * mean),
        }

    @property
    def unsure(self) -> dict[str, int]:
        """Images behind the doubtful and the lost of `in_credits`: their value may not be known."""
        return {"doubtful": self.doubtful_images, "lost": self.lost_images}

    def with_opened(self, reserved: int) -> Money:
        """A POST leaves."""
        return replace(self, open=self.open + 1, reserved=self.reserved + reserved)

    def with_outcome(
        self, before: str, after: str, images: int, reserved: int, cost: int | None = None
    ) -> Money:
        """A submission of so many images goes from one outcome to another."""
        sums = {field: getattr(self, field) for field in self.__slots__}
        for outcome, sign in ((before, -1), (after, 1)):
            if outcome == "open":
                sums["open"] += sign
                sums["reserved"] += sign * reserved
            elif outcome in PERHAPS_PAID:
                sums["doubtful_images"] += sign * images
            elif outcome == "lost":
                sums["lost_images"] += sign * images
        if after == "completed" and cost is None:
            sums["unpriced_images"] += images
        elif cost is not None:
            sums["spent"] += cost
            sums["paid_images"] += images if after == "completed" else 0
            sums["dearest"] = max(self.dearest, -(-cost // images))
        return Money(**sums)

    def since(self, earlier: Money) -> Money:
        """What came after `earlier`; the dearest image stays the dearest ever seen."""
        return Money(
            spent=self.spent - earlier.spent,
            reserved=self.reserved - earlier.reserved,
            unpriced_images=self.unpriced_images - earlier.unpriced_images,
            doubtful_images=self.doubtful_images - earlier.doubtful_images,
            lost_images=self.lost_images - earlier.lost_images,
            paid_images=self.paid_images - earlier.paid_images,
            dearest=self.dearest,
            open=self.open - earlier.open,
        )


PERHAPS_PAID = frozenset({"gateway", "doubtful"})


def credits(micro: float) -> float:
    """Micro-credits as credits, as people and JSON see them."""
    return round(micro / MICRO, 6)


def micro(credits: float) -> int:
    """Credits as the ledger keeps them."""
    return round(credits * MICRO)


MONEY = """
SELECT outcome, count(*), total(images), total(cost), total(reserved),
       total(CASE WHEN cost IS NULL THEN images ELSE 0 END),
       max(CASE WHEN cost IS NOT NULL AND images > 0 THEN (cost + images - 1) / images ELSE 0 END)
FROM submissions WHERE run < ? GROUP BY outcome
"""
EVERY_RUN = 1 << 62


def money(connection: sqlite3.Connection, before_run: int = EVERY_RUN) -> Money:
    """The money of the ledger's life, or of the runs before one."""
    by_outcome = {row[0]: row[1:] for row in connection.execute(MONEY, (before_run,))}

    def column(index: int, *outcomes: str) -> int:
        return int(sum(by_outcome[outcome][index] for outcome in outcomes if outcome in by_outcome))

    unpriced = column(4, "completed")
    return Money(
        spent=column(2, *by_outcome),
        reserved=column(3, "open"),
        unpriced_images=unpriced,
        doubtful_images=column(1, *PERHAPS_PAID),
        lost_images=column(1, "lost"),
        paid_images=column(1, "completed") - unpriced,
        dearest=int(max((row[5] for row in by_outcome.values()), default=0)),
        open=column(0, "open"),
    )


def price(connection: sqlite3.Connection) -> int | None:
    """Micro-credits per image, as manifest or catalogue said at the last run; None: nobody did."""
    noted = meta(connection, "price")
    return None if noted is None else int(noted)


def counts(connection: sqlite3.Connection) -> dict[State, int]:
    """Tasks of the present plan by state; every state is there, with 0 where there is none."""
    number = int(meta(connection, "plan") or 0)
    # A count for each state is read from the index alone.
    query = "SELECT count(*) FROM tasks WHERE state = ? AND plan = ?"
    return {state: connection.execute(query, (state, number)).fetchone()[0] for state in State}


def images(connection: sqlite3.Connection) -> int:
    """Pictures that came in the ledger's life, with those that are rejected."""
    return int(connection.execute("SELECT count(*) FROM files WHERE delivered_at IS NOT NULL").fetchone()[0])


def rejected_images(connection: sqlite3.Connection) -> int:
    """How many of `images` are set aside now, by a check or a person."""
    query = (
        "SELECT count(*) FROM tasks t JOIN files f ON f.task = t.id "
        "WHERE t.state = 'rejected' AND f.delivered_at IS NOT NULL"
    )
    return int(connection.execute(query).fetchone()[0])


def calls(connection: sqlite3.Connection) -> Counter[str]:
    """API calls made in the ledger's life, by kind."""
    return Counter(dict(connection.execute("SELECT kind, n FROM calls").fetchall()))


def first_submitted(connection: sqlite3.Connection) -> float | None:
    """When the oldest request that is in flight was submitted (Unix s): its record ends first."""
    query = (
        "SELECT min(s.submitted_at) FROM tasks t JOIN submissions s ON s.id = t.submission "
        "WHERE t.state = 'submitted'"
    )
    first = connection.execute(query).fetchone()[0]
    return None if first is None else float(first)


SHORT = """
t.state = 'done' AND t.images > 1 AND
t.images > (SELECT count(*) FROM files f WHERE f.task = t.id)
"""
"""A task that is done with fewer pictures than were asked for."""
SHORTFALL = "SHORTFALL: fewer whole pictures came than were asked for, and all of those are delivered"


def shortfalls(connection: sqlite3.Connection) -> int:
    """How many tasks of the present plan are done with fewer pictures than were asked for."""
    number = int(meta(connection, "plan") or 0)
    query = f"SELECT count(*) FROM tasks t WHERE t.plan = ? AND {SHORT}"
    return int(connection.execute(query, (number,)).fetchone()[0])


OTHERS = "OTHERS: failed for one more reason each, or for few; errors.jsonl has them all"


def failures(connection: sqlite3.Connection, most: int = 100) -> dict[str, int]:
    """Failed tasks of the present plan by reason, most frequent first; what is beyond so many reasons counts
    as one, OTHERS. Tasks that got fewer pictures than they asked for come last."""
    counts = _by_reason(connection, State.FAILED, OTHERS, most)
    short = shortfalls(connection)
    return counts | ({SHORTFALL: short} if short else {})


OTHER_REJECTIONS = "OTHERS: rejected for one more reason each, or for few; rejected.jsonl has them all"


def rejections(connection: sqlite3.Connection, most: int = 100) -> dict[str, int]:
    """Rejected tasks of the present plan by reason, in the same way."""
    return _by_reason(connection, State.REJECTED, OTHER_REJECTIONS, most)


def _by_reason(connection: sqlite3.Connection, state: State, others: str, most: int) -> dict[str, int]:
    number = int(meta(connection, "plan") or 0)
    which = "FROM tasks WHERE state = ? AND plan = ?"
    by_reason = f"SELECT reason, count(*) AS n {which} GROUP BY reason ORDER BY n DESC, reason LIMIT ?"
    counts = dict(connection.execute(by_reason, (state, number, most)).fetchall())
    if len(counts) == most:
        (all_of_them,) = connection.execute(f"SELECT count(*) {which}", (state, number)).fetchone()
        rest = all_of_them - sum(counts.values())
        counts |= {others: rest} if rest else {}
    return counts


SLOWEST = """
SELECT t.name, coalesce(s.total_time, s.inference_time, s.completed_at - s.submitted_at) AS seconds
FROM submissions s JOIN tasks t ON t.id = s.task
WHERE s.run = ? AND s.outcome = 'completed' AND s.images > 0 AND s.completed_at >= ?
ORDER BY seconds DESC, t.name LIMIT ?
"""


def slowest(connection: sqlite3.Connection, run: int, since: float, most: int) -> dict[str, float]:
    """The tasks of a run that took longest at the provider, in seconds, the slowest first; of those whose
    result came `since` (Unix s)."""
    return dict(connection.execute(SLOWEST, (run, since, most)).fetchall())


def left_out(connection: sqlite3.Connection) -> int:
    """How many rows the present plan left out."""
    # A ledger of an older schema that is only read has no such table.
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'left_out'").fetchone() is None:
        return 0
    return int(connection.execute("SELECT count(*) FROM left_out").fetchone()[0])
