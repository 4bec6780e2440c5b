"""What was learned of one model's jobs, and when to ask about the next one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Self

from batcher.api.polling.schedule import (
    LONGEST_INTERVAL,
    SHORTEST_INTERVAL,
    Grid,
    Schedule,
    best_schedule,
    grid_of,
    price_for,
)
from batcher.api.polling.times import MAX_SECONDS, ServiceTimes, fit, guess

SCOUTS = 6
"""So many of a model's oldest tasks ask until anything is known of it; the others wait for what they find."""
DEFAULT_TYPICAL = 5.0
"""Seconds a job of an unknown model is guessed to take."""
UNSURE_SIGMA = 0.7
"""Log-scale spread of a first guess from the catalogue..."""
IGNORANT_SIGMA = 1.1
"""...and of one from nowhere."""
WINDOW = 128
"""So many of the latest completions are remembered."""
PRICIEST_CALL = 60.0
"""A call is never worth more than so many mean service times of waiting: beyond, the places that wait cost a
run more than the calls do."""
FINEST_DELAY = 0.01
"""A delay finer than this share of a job's time is not aimed at: it would take hundreds of polls."""
FAIR_SHARE = 0.3
"""No kind of job (the cold ones among the cached) takes more than this share of the delay for itself."""
BUCKETS_PER_E = 8.0
"""Prices are rounded to this many steps per factor e: a schedule each."""
MOST_SCHEDULES = 32
COLD_START_POLLS = (0.3, 1.0)
"""Ages (s) at which the oldest job is asked about while nothing is known of its model: should its jobs be
much quicker than guessed, all know it at once."""
EAGER = 0.5
"""Where a whole run waits for a job, it is asked about so many wanted delays apart."""
_FREE = -(10**9)
"""The bucket of the price at which the wanted delay alone decides."""


class PollTiming:
    """What was learned of one model's queue + inference times, and the polls that follow from it.

    `delay` is the wanted mean number of seconds between completion and noticing it; `every` a fixed interval
    in its place; `typical` a first guess of a job's seconds.
    """

    def __init__(
        self, *, delay: float = 1.0, every: float | None = None, typical: float | None = None
    ) -> None:
        self._delay = max(delay, SHORTEST_INTERVAL / 2)
        self._every = every
        sigma = IGNORANT_SIGMA if typical is None else UNSURE_SIGMA
        self._fitted = guess(DEFAULT_TYPICAL if typical is None else typical, sigma)
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._unfitted = 0
        self._grid: Grid | None = None
        self._free_price = self._delay
        self._schedules: dict[int, Schedule] = {}

    def learned(self, seconds: float) -> None:
        """A job took `seconds` of queue and inference, as the server's metrics say."""
        if math.isnan(seconds):
            return
        self._recent.append(min(max(seconds, 0.0), MAX_SECONDS))
        self._unfitted += 1

    def next_poll(
        self, age: float, polls: int, price: float, *, eager: bool = False, oldest: bool = False
    ) -> float:
        """The age at which to ask next, above `age`, given that the job was pending then.

        `age` is that of the last poll (0 with `polls` 0: just submitted), also when the answer is worked out
        anew later; an answer that lies in the past means now. `price` is how many seconds of waiting a call
        is worth; 0: calls are free, and the wanted delay alone decides. `eager`: from its first poll on it is
        asked about oftener still. `oldest`: it is the oldest job of its model in flight, which is asked at
        COLD_START_POLLS while nothing is known.
        """
        age = max(age, 0.0)
        if self._every is not None:
            return age + max(self._every, SHORTEST_INTERVAL)
        following = self._schedule(price).after(age, polls)
        if oldest and not self.known and polls < len(COLD_START_POLLS):
            following = min(following, COLD_START_POLLS[polls])
        if eager and polls:
            soon = max(EAGER * self._delay, FINEST_DELAY * age, SHORTEST_INTERVAL)
            following = min(following, age + soon)
        return following

    def may_ask(self, rank: int, age: float) -> bool:
        """Whether a task may ask at all: `rank` 0 is the model's oldest one waiting, `age` its present age.

        Until anything is known only the scouts do, and those far beyond the first guess.
        """
        if self.known or self._every is not None or rank < SCOUTS:
            return True
        return age > max(LONGEST_INTERVAL, 4 * self._believed().quantile(0.9))

    @property
    def known(self) -> bool:
        """Whether anything was learned, in this run or in one before."""
        return bool(self._recent)

    @property
    def typical(self) -> float:
        """Median seconds of a job, as believed now."""
        return self._believed().median

    @property
    def mean(self) -> float:
        """Mean seconds of a job, as believed now."""
        return self._believed().mean

    def spread(self, shares: Sequence[float] = (0.1, 0.5, 0.9)) -> tuple[float, ...]:
        """The seconds by which these shares (each between 0 and 1) of the jobs are completed."""
        times = self._believed()
        return tuple(times.quantile(share) for share in shares)

    def snapshot(self) -> dict[str, Any]:
        """What was learned, as JSON, for the next run."""
        return {"seconds": [round(seconds, 3) for seconds in self._recent]}

    @classmethod
    def restore(
        cls,
        snapshot: Mapping[str, Any],
        *,
        delay: float = 1.0,
        every: float | None = None,
        typical: float | None = None,
    ) -> Self:
        """Goes on from a snapshot; what is not a time in it is left out."""
        polling = cls(delay=delay, every=every, typical=typical)
        seconds = snapshot.get("seconds")
        for value in seconds if isinstance(seconds, list) else []:
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS:
                polling._recent.append(float(value))
        if polling._recent:
            polling._refit()
        return polling

    def __repr__(self) -> str:
        low, middle, high = self.spread()
        seconds = f"{low:.3g}/{middle:.3g}/{high:.3g}"
        return f"<PollTiming n={len(self._recent)} seconds={seconds} delay={self._delay:g}>"

    def _believed(self) -> ServiceTimes:
        """Fitted anew when somebody asks and enough was learned: many completions at once cost one fit."""
        if self._unfitted > min(len(self._recent) // 8, 7):
            self._refit()
        return self._fitted

    def _refit(self) -> None:
        self._fitted = fit(self._recent)
        self._unfitted = 0
        self._grid = None
        self._schedules.clear()

    def _schedule(self, price: float) -> Schedule:
        times = self._believed()
        if self._grid is None:
            delay = max(self._delay, FINEST_DELAY * times.median)
            self._grid = grid_of(times, delay, surprises=True)
            certain = grid_of(times, delay, surprises=False)
            self._free_price = min(price_for(certain, delay, self._free_price), _fair_price(times, delay))
        if price <= self._free_price:
            bucket, price = _FREE, self._free_price
        else:
            bucket = round(math.log(price) * BUCKETS_PER_E)
            price = math.exp(bucket / BUCKETS_PER_E)
        schedule = self._schedules.get(bucket)
        if schedule is None:
            if len(self._schedules) >= MOST_SCHEDULES:
                self._schedules.clear()
            schedule = self._schedules[bucket] = best_schedule(self._grid, price)
        return schedule


def price_of_call(
    waiting: int, planned: int, rate: float, mean_service: float, in_flight: float = math.inf
) -> float:
    """Seconds of waiting that one call is worth when calls are scarce.

    Each call spent puts off all that still want one: `waiting` calls and `planned` tasks, at `rate` calls per
    second. It is worth no more than the time in which all of the at most `in_flight` tasks could make one
    (beyond that the waiting itself costs more throughput, by the places it holds), nor than PRICIEST_CALL x
    `mean_service` seconds. An unlimited rate (inf) makes calls free.
    """
    dearest = PRICIEST_CALL * mean_service
    if rate <= 0:
        return dearest
    return min(min(waiting + planned, in_flight) / rate, dearest)


def _fair_price(times: ServiceTimes, delay: float) -> float:
    """The price at which no kind of job makes up more than FAIR_SHARE of the delay allowed.

    The mean alone would let the few slow jobs among many fast ones wait for ever. With intervals that are
    short against the spread, the mean delay of a lognormal is close to sqrt(0.8 x price x sigma x median).
    """
    if len(times.components) == 1:
        return math.inf
    return min(
        (delay * max(1.0, FAIR_SHARE / part.weight)) ** 2 / (0.8 * part.sigma * math.exp(part.mu))
        for part in times.components
    )
