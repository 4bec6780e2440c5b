"""A run that is talked to: `batcher pause`, `resume` and `set` write to its ledger, and it takes them over.

Rule: a pause lets nothing new leave and keeps nothing from coming home; what was asked last holds, be it by
`set` or when the run was started.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batcher.api.pacing import Pacing
from batcher.engine.admission import Budget, InFlight, in_flight_need
from batcher.engine.preparation import RunContext
from batcher.engine.set_limits import of_manifest, sentences, typed, with_held
from batcher.ledger import controls
from batcher.ledger.controls import limit_text, limit_value
from batcher.ledger.ledger import Ledger
from batcher.ledger.totals import micro
from batcher.progress import Message
from batcher.storage import layout


def with_set_limits(context: RunContext, ledger: Ledger) -> RunContext:
    """The run with the limits that `batcher set` said, each told; those that the manifest has overruled since
    are told once, and forgotten. What the command line says goes before them, this time."""
    noted = ledger.read(controls.limits_ever_set)
    for text in sentences(context.manifest, noted):
        context.tell(Message(text, "info"))
    held, laid_aside = of_manifest(context.manifest, noted)
    notes = {controls.LIMITS: held, controls.LAID_ASIDE: laid_aside, controls.TYPED: typed(context.manifest)}
    for key, value in notes.items():
        text = json.dumps(value) if value else ""
        if text != (ledger.meta(key) or ""):
            ledger.set_meta(key, text)
    return replace(context, job=with_held(context.job, held)) if held else context


class Control:
    """What was asked of this run, as far as it knows. `changed` is told when submits may go again."""

    def __init__(
        self,
        context: RunContext,
        ledger: Ledger,
        pacing: Pacing,
        budget: Budget,
        in_flight: InFlight,
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._ledger = ledger
        self._pacing = pacing
        self._budget = budget
        self._in_flight = in_flight
        self._changed = changed
        self._values = {key: limit_value(context.job.limits, key) for key in controls.SETTABLE}
        self.paused_since: float | None = None
        self._look_at_pause()

    @property
    def paused(self) -> bool:
        """Whether nothing is to be submitted."""
        return self.paused_since is not None

    @property
    def reason(self) -> str:
        """The pause as a sentence; empty where there is none."""
        if self.paused_since is None:
            return ""
        since = datetime.fromtimestamp(self.paused_since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"paused since {since}; {self.remedy} goes on"

    @property
    def remedy(self) -> str:
        """The command that ends the pause."""
        return f"`batcher resume {layout.typed(self._context.folder.path)}`"

    def look(self) -> None:
        """Takes over what was asked since the last look."""
        self._look_at_pause()
        for key, one in self._ledger.read(controls.limits).items():
            if one.value != self._values[key]:
                before, self._values[key] = self._values[key], one.value
                self._apply(key, one.value)
                change = f"{limit_text(key, before)} -> {limit_text(key, one.value)}"
                self._context.tell(Message(f"limits.{key}: {change}, by `batcher set`", "info"))

    def _look_at_pause(self) -> None:
        since = self._ledger.read(controls.paused_since)
        if since == self.paused_since:
            return
        before, self.paused_since = self.paused, since
        if self.paused == before:
            return
        self._pacing.hold_submits(self.paused)
        text = "resumed: submits go on"
        if self.paused:
            text = f"{self.reason}. What is in flight comes home meanwhile"
        self._context.tell(Message(text, "info"))
        self._changed()

    def _apply(self, key: str, value: Any) -> None:
        if key == "rpm":
            self._pacing.configure(value)
        elif key == "max_cost":
            self._budget.configure(None if value is None else micro(value))
        elif key == "max_cost_per.day":
            self._budget.configure_period("day", None if value is None else micro(value))
        elif key == "max_cost_per.month":
            self._budget.configure_period("month", None if value is None else micro(value))
        else:
            self._in_flight.configure(value, in_flight_need.most_of(value, self._context.api))
        self._changed()
