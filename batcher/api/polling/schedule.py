"""When to ask, given how long jobs take: the schedule of polls that minimises price x polls + delay.

Rule: the schedule is optimal for the distribution, to the fineness of the grid; past everything learned the
intervals grow geometrically, but never stop.

With F the chance of completion by an age and G its integral, a poll at g_j after one at g_i costs
`price x (1 - F_i) + G_j - G_i - F_i (g_j - g_i)` per submitted job: the call, and the delay of the jobs that
complete in between. What the remaining polls cost, W_i, is the minimum of that plus W_j over j > i. For a
fixed i this is a line in g_j with slope -F_i, so the best j lies on the lower convex hull of the points
(g_j, G_j + W_j): one pass from the end finds all of them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from batcher.api.polling.times import Component, ServiceTimes

SHORTEST_INTERVAL = 0.05
"""Seconds between two polls of one task, whatever the distribution says."""
OUTLIER = Component(0.01, 0.0, 1.0)
"""The share of jobs that keep to nothing learned, their spread around what is usual."""
GROWTH = 1.4
"""Past all that was learned, each interval is so many times the one before it..."""
LONGEST_INTERVAL = 60.0
LONGEST_SHARE = 0.1
"""...up to LONGEST_INTERVAL seconds, or this share of the age where that is longer."""
DEAREST_FREE = 10.0
"""Where a single poll well after the end would give the wanted delay: a price of so many delays is enough."""
CLOSE = 0.02
"""The expected mean delay is the wanted one to this share of it."""
PATIENCE = 4.0
"""A job that took so many times the polls it should have keeps to no schedule: its intervals grow, up to
LONGEST_SHARE of its age."""
EDGE = 3.2
"""How many sigma around each component the fine part of the grid reaches."""
MOST_FINE = 200
"""So many points the fine part has at most."""
COARSE = 1.1
"""Ratio of neighbouring ages in the coarse part of the grid."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Ages at which a poll may be placed, with F and G there; `ages[0]` is the submission."""

    ages: Sequence[float]
    done: Sequence[float]
    area: Sequence[float]


@dataclass(frozen=True, slots=True)
class Schedule:
    """For each age of the grid, the age of the next poll of a job that is still pending there.

    `polls` is how many a job takes on average, if the distribution is right.
    """

    ages: Sequence[float]
    following: Sequence[float]
    polls: float

    def after(self, age: float, polls: int) -> float:
        """The age of the next poll, given that the job was pending at `age`, its poll number `polls`."""
        i = bisect_right(self.ages, age) - 1
        longest = max(LONGEST_INTERVAL, LONGEST_SHARE * age)
        if i < len(self.ages) - 2:
            low, high = self.ages[i], self.ages[i + 1]
            left, right = self.following[i], self.following[i + 1]
            interval = left + (right - left) * (age - low) / (high - low) - age
            longest = max(longest, interval)
        else:
            edge = self.ages[-2]
            interval = (self.ages[-1] - edge) + (GROWTH - 1) * (age - edge)
        excess = polls - PATIENCE * (self.polls + 2)
        if excess > 0:
            grown = interval * GROWTH ** min(excess, 40)
            interval = max(interval, min(grown, LONGEST_SHARE * age))
        return age + max(min(interval, longest), SHORTEST_INTERVAL)


def grid_of(times: ServiceTimes, delay: float, *, surprises: bool) -> Grid:
    """The grid for `times`, fine enough for a mean delay of `delay` seconds; with `surprises`, jobs that keep
    to nothing learned are reckoned with."""
    parts = times.components
    ages = set[float]()
    for part in parts:
        reach = EDGE * part.sigma
        fine = round(min(max(8 * reach * math.exp(part.mu) / delay, 40), MOST_FINE / len(parts)))
        ages.update(math.exp(part.mu + reach * (2 * k / fine - 1)) for k in range(fine + 1))
    first, last = min(ages), max(ages)
    end = max(last, times.median * math.exp(2 * OUTLIER.sigma))
    steps = math.ceil(math.log(end / first) / math.log(COARSE))
    ages.update(first * COARSE**k for k in range(steps + 2))
    if surprises:
        odd = Component(OUTLIER.weight, math.log(times.median), OUTLIER.sigma)
        kept = tuple(Component(p.weight * (1 - odd.weight), p.mu, p.sigma) for p in parts)
        times = ServiceTimes((*kept, odd))
    points = [0.0, *sorted(ages)]
    sums = [times.done_by(age) for age in points]
    return Grid(points, [chance for chance, _ in sums], [area for _, area in sums])


def best_schedule(grid: Grid, price: float) -> Schedule:
    """The schedule that minimises price x polls + delay; `price` in seconds of delay per poll, > 0."""
    following = _best_next(grid, price)
    polls = sum(1 - grid.done[i] for i in _path(following))
    return Schedule(grid.ages, [grid.ages[j] for j in following], polls)


def price_for(grid: Grid, delay: float, near: float) -> float:
    """The price at which the best schedule's mean delay is `delay` seconds; `near` is a first guess."""
    high = math.log(DEAREST_FREE * delay)
    low = high - 20
    at = min(max(math.log(near), low), high)
    steepness, before = 2.0, None  # d log(price) / d log(delay): 2 where intervals are short
    for _ in range(16):
        error = math.log(max(_mean_delay(grid, _best_next(grid, math.exp(at))), 1e-9) / delay)
        if abs(error) < CLOSE or high - low < CLOSE:
            break
        if error > 0:
            high = at
        else:
            low = at
        if before and abs(before[1] - error) > CLOSE:
            steepness = min(max((at - before[0]) / (error - before[1]), 1.0), 8.0)
        before = at, error
        step = at - steepness * error
        at = step if low < step < high else (low + high) / 2
    return math.exp(at)


def _mean_delay(grid: Grid, following: Sequence[int]) -> float:
    """Mean seconds between completion and the poll that notices it, from the submission on."""
    ages, done, area = grid.ages, grid.done, grid.area
    return sum(
        area[j] - area[i] - done[i] * (ages[j] - ages[i])
        for i, j in pairwise([*_path(following), len(ages) - 1])
    )


def _path(following: Sequence[int]) -> Iterator[int]:
    """The submission and all polls after it, by their index, but for the last."""
    i, last = 0, len(following) - 1
    while i < last:
        yield i
        i = following[i]


def _best_next(grid: Grid, price: float) -> list[int]:
    """For each age of the grid the index of the best next one; the last one points to itself."""
    ages, done, area = grid.ages, grid.done, grid.area
    last = len(ages) - 1
    following = [last] * (last + 1)
    height = area[last] + (1 - done[last]) * (2 * price + LONGEST_SHARE * ages[last])
    hull = [(ages[last], height, last)]
    right = 0  # As i falls so does F_i: the best vertex only moves left, and what lies right of it is spent.
    for i in range(last - 1, -1, -1):
        slope, age = done[i], ages[i]
        x, y, best = hull[right]
        while right + 1 < len(hull):
            x2, y2, best2 = hull[right + 1]
            if y2 - slope * x2 > y - slope * x:
                break
            x, y, best = x2, y2, best2
            right += 1
        following[i] = best
        height = price * (1 - slope) + y - slope * (x - age)
        while len(hull) - right > 1:
            (x1, y1, _), (x2, y2, _) = hull[-1], hull[-2]
            if (y1 - height) * (x2 - x1) < (y2 - y1) * (x1 - age):
                break
            hull.pop()
        hull.append((age, height, i))
    return following
