"""What the page draws: paces and spending over time, and how long things took.

Rule: every figure is a count over the ledger's rows, made inside SQLite, so that neither memory nor Python's
time grows with the number of tasks.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from batcher.ledger.totals import MICRO, credits

STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
"""Seconds that one point of a chart may stand for; each base divides the steps from itself on."""
BASES = (1, 10, 60, 600, 3600)
POINTS = 90
"""Of a chart, at most."""
FEWEST_POINTS = 15
PER_POINT = 4
"""Images; so many in a point say more than their own luck."""
GROUPS = 50_000
"""Base intervals that are counted at most."""
PAUSE = 600
"""Seconds without any event after which another session begins."""
SESSIONS = 12
"""The latest are told."""
BARS = 36
"""Of a distribution, at most; the last holds what is longer than nearly all."""
FEWEST_BARS = 12
FINE = 0.01
"""Seconds: how exactly lengths of time are counted."""

SPAN = """
SELECT min(submitted_at), max(max(submitted_at), coalesce((SELECT max(delivered_at) FROM files), 0))
FROM submissions WHERE images > 0
"""
DELIVERED = """
SELECT CAST(delivered_at / ?1 AS INTEGER), count(*) FROM files WHERE delivered_at IS NOT NULL GROUP BY 1
"""
SUBMITTED = "SELECT CAST(submitted_at / ?1 AS INTEGER), count(*) FROM submissions WHERE images > 0 GROUP BY 1"
SPENT = """
SELECT CAST(coalesce(completed_at, answered_at, submitted_at) / ?1 AS INTEGER),
       total(coalesce(cost, ?2 * images))
FROM submissions WHERE images > 0 AND (outcome = 'completed' OR cost IS NOT NULL) GROUP BY 1
"""
SERVICE = f"""
SELECT CAST(coalesce(total_time, inference_time, completed_at - submitted_at) / {FINE} AS INTEGER), count(*)
FROM submissions WHERE outcome = 'completed' AND images > 0 GROUP BY 1
"""
DELAY = f"""
SELECT CAST(max(f.delivered_at - s.submitted_at - s.total_time, 0) / {FINE} AS INTEGER), count(*)
FROM files f JOIN submissions s ON s.id = f.submission
WHERE f.delivered_at IS NOT NULL AND s.total_time IS NOT NULL AND s.images > 0 GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A stretch of work without a long pause. Point n stands for `step` seconds from `began` + n * `step`.

    `delivered` counts images and `submitted` requests; `spent` is the session's credits up to each point.
    """

    began: int
    step: int
    delivered: tuple[int, ...]
    submitted: tuple[int, ...]
    spent: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long something took, in seconds: `n` times in all, `bars` of `width` from 0 on; the last bar holds
    all that is longer, too, if `open` says so."""

    n: int = 0
    mean: float = 0.0
    median: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    longest: float = 0.0
    width: float = 1.0
    bars: tuple[int, ...] = ()
    open: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """`service`: a job's time at the provider. `delay`: what came on top until its file stood in its place.
    `sessions`: the latest last."""

    sessions: tuple[Session, ...]
    service: Lengths
    delay: Lengths

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def of_ledger(connection: sqlite3.Connection, *, per_image: float = 0.0) -> Figures:
    """Reads the figures; `per_image` (credits) values what was paid without being told a cost."""
    return Figures(
        sessions=tuple(_sessions(connection, per_image)),
        service=lengths(connection.execute(SERVICE)),
        delay=lengths(connection.execute(DELAY)),
    )


def lengths(counted: Iterable[tuple[int, int]]) -> Lengths:
    """Lengths from their counts by hundredths of a second."""
    # A clock that was set back lets an end come before its beginning.
    by_length = sorted((max(0, length), count) for length, count in counted)
    n = sum(count for _, count in by_length)
    if not n:
        return Lengths()
    median, p90, p99, nearly = (_quantile(by_length, n * share) for share in (0.5, 0.9, 0.99, 0.995))
    longest = by_length[-1][0] * FINE
    width = _width(max(nearly, FINE), n)
    last = int(nearly / width)
    bars = [0] * (last + 1)
    for length, count in by_length:
        bars[min(last, int((length + 0.5) * FINE / width))] += count
    mean = sum((length + 0.5) * FINE * count for length, count in by_length) / n
    return Lengths(
        n=n, mean=round(mean, 3), median=median, p90=p90, p99=p99, longest=round(longest, 3), width=width,
        bars=tuple(bars), open=longest >= width * len(bars),
    )  # fmt: skip


def _quantile(by_length: Iterable[tuple[int, int]], rank: float) -> float:
    passed, longest = 0, 0
    for length, count in by_length:
        passed, longest = passed + count, length
        if passed >= rank:
            break
    return round(longest * FINE, 3)


def _width(longest: float, n: int) -> float:
    """The next of 1, 2, 5 x 10^n seconds at which the bars are few enough; few things, few bars."""
    most = min(BARS, max(FEWEST_BARS, round(3 * n ** (1 / 3))))
    least = max(longest / (most - 1), FINE)
    power = 10.0 ** math.floor(math.log10(least))
    return next(round(step * power, 6) for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _sessions(connection: sqlite3.Connection, per_image: float) -> Iterator[Session]:
    first, last = connection.execute(SPAN).fetchone()
    if first is None:
        return
    base = next((base for base in BASES if (last - first) / base <= GROUPS), BASES[-1])
    delivered = Counter(dict(connection.execute(DELIVERED, (base,)).fetchall()))
    submitted = Counter(dict(connection.execute(SUBMITTED, (base,)).fetchall()))
    spent = dict(connection.execute(SPENT, (base, per_image * MICRO)).fetchall())
    stretches = _stretches(sorted({*delivered, *submitted, *spent}), max(1, PAUSE // base))
    for began, ended in stretches[-SESSIONS:]:
        yield _session(range(began, ended + 1), base, delivered, submitted, spent)


def _stretches(moments: Iterable[int], pause: int) -> list[tuple[int, int]]:
    """First and last moment of each stretch that has no pause in it."""
    found: list[tuple[int, int]] = []
    for moment in moments:
        if found and moment - found[-1][1] <= pause:
            found[-1] = (found[-1][0], moment)
        else:
            found.append((moment, moment))
    return found


def _step(seconds: int, base: int, images: int) -> int:
    """Few enough points, and enough images in each for a line that is not mere noise."""
    most = min(POINTS, max(FEWEST_POINTS, images / PER_POINT))
    return next(
        (step for step in STEPS if step >= base and step % base == 0 and seconds / step <= most), STEPS[-1]
    )


def _session(
    moments: range,
    base: int,
    delivered: Mapping[int, int],
    submitted: Mapping[int, int],
    spent: Mapping[int, float],
) -> Session:
    images = sum(delivered.get(moment, 0) for moment in moments)
    step = _step(len(moments) * base, base, images)
    each = step // base
    points = [range(start, min(start + each, moments.stop)) for start in moments[::each]]
    sums: list[float] = []
    for point in points:
        sums.append((sums[-1] if sums else 0.0) + sum(spent.get(moment, 0) for moment in point))
    return Session(
        began=moments.start * base,
        step=step,
        delivered=tuple(sum(delivered.get(moment, 0) for moment in point) for point in points),
        submitted=tuple(sum(submitted.get(moment, 0) for moment in point) for point in points),
        spent=tuple(credits(total) for total in sums),
    )
