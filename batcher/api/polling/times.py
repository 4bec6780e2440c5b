"""What the completed jobs tell about the next one: a mixture of a few lognormals over service times.

Rule: recent jobs tell more than old ones, and one odd job never moves the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

SHORTEST = 0.02
"""Seconds: a time below it (an answer from a cache, a clock that steps back) counts as this long."""
MAX_SECONDS = 1e9
"""Seconds: a time above it is nonsense, and counts as this long."""

TYPICAL_SIGMA = 0.35
"""Log-scale spread that few observations are drawn towards, with the weight of TYPICAL_WEIGHT of them."""
TYPICAL_WEIGHT = 4.0
NARROWEST_SIGMA = 0.02
"""Jobs of constant length still differ by the network's mood."""
HALF_LIFE = 32.0
"""Completions after which an observation counts half."""
STEP = 8
"""So many in a row outside what was usual are a new regime (see `_has_fallen`, `_has_risen`)."""
MOST_CLUSTERS = 3

_ROOT_HALF = math.sqrt(0.5)


@dataclass(frozen=True, slots=True)
class Component:
    """A lognormal share of the jobs: exp(mu) is its median in seconds, sigma its spread on the log scale."""

    weight: float
    mu: float
    sigma: float

    @property
    def mean(self) -> float:
        return math.exp(self.mu + self.sigma * self.sigma / 2)


@dataclass(frozen=True)
class ServiceTimes:
    """The distribution of queue + inference seconds of a job; the components' weights sum to 1."""

    components: tuple[Component, ...]

    def done_by(self, age: float) -> tuple[float, float]:
        """The chance of completion by `age` seconds, and its integral from 0 to `age` (seconds)."""
        if age <= 0:
            return 0.0, 0.0
        log = math.log(age)
        chance = area = 0.0
        for part in self.components:
            z = (log - part.mu) / part.sigma
            below = 0.5 * math.erfc(-z * _ROOT_HALF)
            sum_below = part.mean * 0.5 * math.erfc(-(z - part.sigma) * _ROOT_HALF)
            chance += part.weight * below
            area += part.weight * (age * below - sum_below)
        return min(chance, 1.0), max(area, 0.0)

    def quantile(self, share: float) -> float:
        """Seconds by which `share` (0 < share < 1) of the jobs are completed."""
        low = min(part.mu - 9 * part.sigma for part in self.components)
        high = max(part.mu + 9 * part.sigma for part in self.components)
        for _ in range(40):
            middle = (low + high) / 2
            if self.done_by(math.exp(middle))[0] < share:
                low = middle
            else:
                high = middle
        return math.exp((low + high) / 2)

    @cached_property
    def mean(self) -> float:
        """Mean seconds of a job."""
        return sum(part.weight * part.mean for part in self.components)

    @cached_property
    def median(self) -> float:
        """Median seconds of a job."""
        return self.quantile(0.5)


def guess(seconds: float, sigma: float) -> ServiceTimes:
    """What is believed before anything is learned: around `seconds`, as unsure as `sigma` says."""
    return ServiceTimes((Component(1.0, math.log(max(seconds, SHORTEST)), sigma),))


def fit(times: Sequence[float]) -> ServiceTimes:
    """The distribution of the next job, from the completed ones' seconds (oldest first, at least one)."""
    logs = [math.log(max(seconds, SHORTEST)) for seconds in times]
    if _has_fallen(logs):
        return ServiceTimes(_mixture(_weighted(logs[-STEP:])))
    believed = _mixture(_weighted(logs))
    if _has_risen(logs):
        # By half only: of many jobs that start at once the short ones come back first, which looks the same.
        both = (*believed, *_mixture(_weighted(logs[-STEP:])))
        believed = tuple(Component(part.weight / 2, part.mu, part.sigma) for part in both)
    return ServiceTimes(believed)


def _weighted(logs: Sequence[float]) -> list[tuple[float, float]]:
    """Sorted (log seconds, weight): the weight halves with every HALF_LIFE completions since."""
    decay, newest = 0.5 ** (1 / HALF_LIFE), len(logs) - 1
    return sorted((log, decay ** (newest - i)) for i, log in enumerate(logs))


def _has_fallen(logs: Sequence[float]) -> bool:
    """Whether the last STEP jobs all lie below four fifths of the earlier ones (by chance: 1 in 400,000)."""
    start = len(logs) - STEP
    return start >= STEP and max(logs[start:]) < sorted(logs[:start])[start // 5]


def _has_risen(logs: Sequence[float]) -> bool:
    """Whether the last STEP jobs all lie above four fifths of the earlier ones."""
    start = len(logs) - STEP
    return start >= STEP and min(logs[start:]) > sorted(logs[:start])[(start * 4) // 5]


def _mixture(points: Sequence[tuple[float, float]]) -> tuple[Component, ...]:
    """Cuts sorted (log seconds, weight) points where two lognormals explain them clearly better than one."""
    sums = _prefix_sums(points)
    last = len(points)
    cuts = [0, last]
    penalty = 1.5 * math.log(last + 1)
    while len(cuts) - 1 < MOST_CLUSTERS:
        best_gain, best_cut = 0.0, -1
        for low, high in pairwise(cuts):
            whole = _score(sums, low, high, last)
            for cut in range(low + 1, high):
                gain = _score(sums, low, cut, last) + _score(sums, cut, high, last) - whole - penalty
                if gain > best_gain:
                    best_gain, best_cut = gain, cut
        if best_cut < 0:
            break
        cuts = sorted([*cuts, best_cut])
    return tuple(_component(sums, low, high, last) for low, high in pairwise(cuts))


_Sums = list[tuple[float, float, float]]


def _prefix_sums(points: Sequence[tuple[float, float]]) -> _Sums:
    """Running sums of weight, weight x log and weight x log²."""
    weight = first = second = 0.0
    sums = [(0.0, 0.0, 0.0)]
    for log, w in points:
        weight += w
        first += w * log
        second += w * log * log
        sums.append((weight, first, second))
    return sums


def _moments(sums: _Sums, low: int, high: int) -> tuple[float, float, float]:
    """Weight, mean and drawn-in variance of the points low..high."""
    w0, a0, b0 = sums[low]
    w1, a1, b1 = sums[high]
    weight = w1 - w0
    mean = (a1 - a0) / weight
    squares = max(0.0, (b1 - b0) - weight * mean * mean)
    variance = (squares + TYPICAL_WEIGHT * TYPICAL_SIGMA**2) / (weight + TYPICAL_WEIGHT)
    return weight, mean, max(variance, NARROWEST_SIGMA**2)


def _score(sums: _Sums, low: int, high: int, last: int) -> float:
    """How well one lognormal explains the points: its log posterior, up to what all have in common."""
    weight, _, variance = _moments(sums, low, high)
    share = weight / sums[last][0]
    narrower = 0.5 * math.log(variance / TYPICAL_SIGMA**2)
    return weight * math.log(share) - (weight + TYPICAL_WEIGHT) * narrower


def _component(sums: _Sums, low: int, high: int, last: int) -> Component:
    """The predictive lognormal: its spread includes how unsure the mean of so few points is."""
    weight, mean, variance = _moments(sums, low, high)
    return Component(weight / sums[last][0], mean, math.sqrt(variance * (1 + 1 / weight)))
