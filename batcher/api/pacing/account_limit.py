"""What is known of the account's limit: which calls count, how many of them pass, until when they wait.

Rule: it decides and never waits. Times are seconds of one monotonic clock, and come from outside; what it
learns it tells at once, so that a kill does not lose the lesson.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Literal

from batcher.api.pacing.call_queue import SUBMITS, UNTHROTTLED, CallKind
from batcher.api.pacing.events import LearnedRate, Metered, PacingEvent, used_up
from batcher.api.pacing.pause import Pause
from batcher.api.pacing.rate import MINUTE, Rate, per_minute
from batcher.api.pacing.unmetered import UnmeteredEvidence

CAUTIOUS = 8.0
"""Calls that may turn out to count leave at no more than so many times the rate..."""
LONGEST_CAUTION = 0.25
"""...and at most so many seconds apart."""


class QueueAction(IntEnum):
    """What a limit that has changed asks of the calls that wait; each includes those before it."""

    NONE = 0
    WAKE = 1
    """Whoever serves them looks again: a pause is another one."""
    SORT = 2
    """Which of them are paced is another question now."""
    SPACE = 3
    """The next one that counts is spaced from the last one anew."""


class AccountLimit:
    """The limit of one account's calls, as far as one run knows it.

    The parameters are those of `Pacing`. `metered` says which calls count, as far as known; `rate` how many
    of them pass; `pause` is the one after a 429 on a call that counts, which the account's runs share.
    """

    def __init__(
        self,
        *,
        rpm: float | None,
        metered: Literal["submits", "all", "auto"],
        now: Callable[[], float],
        learned: Mapping[str, Any] | None,
        patience: float,
        tell: Callable[[PacingEvent], None],
    ) -> None:
        if rpm is not None and not (math.isfinite(rpm) and rpm > 0):
            raise ValueError(f"rpm must be a positive number, or None for no limit; not {rpm!r}")
        self._now = now
        self._tell = tell
        lesson = LearnedRate.read(learned, now())
        self._auto = metered == "auto"
        self._found_out = self._auto and lesson.found_out
        self.metered: Metered = "all" if metered == "all" or self._found_out else "submits"
        known = lesson.per_minute if lesson.counted == self.metered else None
        self.rate = Rate(_or_unlimited(rpm) / MINUTE, learned=None if known is None else known / MINUTE)
        self._last_told_rate = self.rate.per_second
        self._unmetered = UnmeteredEvidence()
        self.own_rpm = rpm
        self._others_rpm: float | None = None
        self.patience = patience
        self._refused_since: float | None = None
        # After a 429 on a call that counts: holds what counts. After one on another call: holds everything.
        self.pause, self._pause_of_all = Pause(patience), Pause(patience)

    # Which calls count.

    def is_metered(self, kind: CallKind) -> bool:
        """Whether a call counts against the limit, as far as known."""
        return kind in SUBMITS if self.metered == "submits" else kind not in UNTHROTTLED

    def is_paced(self, kind: CallKind) -> bool:
        """Whether it counts, and there is a rate to keep."""
        return self.is_metered(kind) and math.isfinite(self.rate.per_second)

    @property
    def free(self) -> bool:
        """Whether status and result calls are known not to count: it was said, no call does, or they proved
        it."""
        if self.metered == "all" or not self._auto:
            return self.metered == "submits"
        return self._unmetered.proved or math.isinf(self.rate.per_second)

    @property
    def caution(self) -> float:
        """Seconds between calls that, as far as is known, do not count. As long as they may, after all, few
        must be under way when the first 429 proves it."""
        if self.free or self._found_out:
            return 0.0
        return min(LONGEST_CAUTION, 1 / (CAUTIOUS * self.rate.per_second))

    def learn_all_metered(self) -> bool:
        """A 429 proved that every call counts; whether that is news. The rate was judged by the wrong calls
        then, so what was told holds again."""
        if not self._auto or self._found_out:
            return False
        self._found_out, self.metered = True, "all"
        self.rate = Rate(self.rate.configured)
        self._last_told_rate = self.rate.per_second
        text = "a 429 on a status or result call: every call counts against the limit, not only submits"
        rpm = per_minute(self.rate.per_second)
        self._tell(PacingEvent("metered", text, per_minute=rpm, learned=self.snapshot()))
        return True

    # Calls, and what came of them.

    def sent(self, at: float) -> None:
        """A call that counts goes out."""
        self.rate.sent(at)
        self._tell_rate("more passes than before")

    def not_sent(self, kind: CallKind, sent_at: float) -> None:
        """A call was let out at `sent_at`, and never went."""
        if self.is_metered(kind):
            self.rate.refused(sent_at)

    def accepted(self, kind: CallKind, at: float) -> None:
        """The API took a call of this kind: any answer but 429."""
        if kind not in UNTHROTTLED:
            self._unmetered.passed(at, self.rate.per_second)
        self._pause_of_all.agreed()
        if self.is_metered(kind):
            self._refused_since = None
            self.pause.agreed()

    def throttled(
        self, kind: CallKind, reset_in: float | None, sent_at: float | None, at: float
    ) -> QueueAction:
        """The API refused a call of this kind with a 429, and says that calls pass again in so many seconds
        (None: it does not say)."""
        self._unmetered.refused()
        if self.is_metered(kind):
            self.rate.refused(sent_at)
        is_news = (
            reset_in is not None and kind in (CallKind.STATUS, CallKind.RESULT) and self.learn_all_metered()
        )
        counts = self.is_metered(kind)
        pause = self.pause if counts else self._pause_of_all
        seconds = (
            pause.unstamped(at, sent_at)
            if reset_in is None
            else pause.stamped(at + reset_in, at, sent_at, counts=counts)
        )
        if seconds:
            what = "submits" if counts and self.metered == "submits" else "calls"
            text = f"{what} pause for {seconds:.0f} s: the API's limit is reached"
            self._tell(PacingEvent("paused", text, seconds=seconds))
        self._tell_exhausted(at, reset_in or 0.0)
        return QueueAction.SORT if is_news else QueueAction.NONE

    # What was said of it.

    def configure(self, rpm: float | None) -> None:
        """Another number of calls per minute holds from now on (None: unpaced); what 429s taught stays."""
        self.own_rpm = rpm
        self._configure()

    def configure_others(self, rpm: float | None, job: str) -> bool:
        """The lowest number that the runs beside were told, and the job that was (None: none was told one);
        whether that is news."""
        if rpm == self._others_rpm:
            return False
        self._others_rpm = rpm
        if rpm is not None and rpm < _or_unlimited(self.own_rpm):
            mine = "none" if self.own_rpm is None else f"{self.own_rpm:g}"
            text = f"limits.rpm is {rpm:g} in {job}, which runs beside, and {mine} here: the lower holds"
            self._tell(PacingEvent("shared", text, per_minute=rpm))
        self._configure()
        return True

    def _configure(self) -> None:
        """The lower of the own limit and of those of the runs beside holds."""
        rpm = min(_or_unlimited(self.own_rpm), _or_unlimited(self._others_rpm))
        self.rate.configure(rpm / MINUTE)
        self._last_told_rate = self.rate.per_second

    # Pauses and what they teach.

    def end_pauses(self, at: float) -> bool:
        """Ends what is over, which teaches its lesson here; whether any was. It comes before the questions
        below, which change nothing."""
        ended = False
        for pause in (self.pause, self._pause_of_all):
            if pause.has_ended(at):
                ended = True
                reset = pause.end()
                if reset is not None:
                    self.rate.reset(reset)
                    self._tell_rate("as the API's 429s tell")
        return ended

    def left(self, at: float) -> float:
        """Seconds for which every call waits, 0 when none does."""
        of_all = self._pause_of_all.left(at)
        return max(of_all, self.pause.left(at)) if self.metered == "all" else of_all

    def submits_left(self, at: float) -> float:
        """Seconds for which submits wait: where they alone count, their 429s hold nobody else."""
        return max(self.left(at), self.pause.left(at))

    def pauses_submits_alone(self, at: float) -> bool:
        """Whether submits wait after a 429 on one of them, and nothing else does."""
        return self.metered == "submits" and self.pause.left(at) > 0

    def next_end(self, at: float) -> float:
        """Seconds until the next pause is over, inf when there is none."""
        ends = (pause.left(at) for pause in (self.pause, self._pause_of_all))
        return min((left for left in ends if left), default=math.inf)

    @property
    def is_paused(self) -> bool:
        """Whether there is a pause that was not ended yet."""
        return any(math.isfinite(pause.until) for pause in (self.pause, self._pause_of_all))

    @property
    def resets(self) -> int:
        """How many resets 429s told of."""
        return self.pause.resets + self._pause_of_all.resets

    # What is told, and kept for the next run.

    def snapshot(self) -> dict[str, Any]:
        """What 429s taught, for the next run's `learned`: plain JSON."""
        taught = self.rate.proved * MINUTE if self.rate.learned else None
        return LearnedRate(taught, self.metered, self._found_out).written(self._now())

    def tell_used_up(self, left: float) -> None:
        """Nothing passes for so many seconds, which is longer than the user waits."""
        self._tell(used_up(self._now() + left, left))

    def _tell_exhausted(self, at: float, left: float) -> None:
        """A reset later than the user waits for, or nothing let through for that long."""
        self._refused_since = at if self._refused_since is None else self._refused_since
        if left > self.patience:
            self.tell_used_up(left)
        elif at - self._refused_since > self.patience:
            minutes = (at - self._refused_since) / MINUTE
            text = f"the API's limit let nothing pass for {minutes:.0f} minutes: run again later"
            self._tell(PacingEvent("exhausted", text, seconds=left))

    def _tell_rate(self, why: str) -> None:
        proved = self.rate.proved
        if math.isinf(proved) or abs(proved - self._last_told_rate) < 0.01 * self._last_told_rate:
            return
        self._last_told_rate = proved
        rpm = proved * MINUTE
        text = f"{rpm:.4g} calls a minute, {why}"
        self._tell(PacingEvent("rate", text, per_minute=rpm, learned=self.snapshot()))


def _or_unlimited(rpm: float | None) -> float:
    return math.inf if rpm is None else rpm
