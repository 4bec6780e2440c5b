"""Faults of the request history: late rows, rows of others, rows that are told in another form, or nonsense.

A history that is not there is a fault of the answer: `{fault: status, route: history, code: 404}`, or `html`.
"""

from __future__ import annotations

import json
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import cycle
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from batcher.sandbox.durations import seconds
from batcher.sandbox.faults.fault import DURATION, Count, Fault, Route, Seconds
from batcher.sandbox.model_pages import MOCK, model_pages
from batcher.sandbox.request_history import HistoryView, Row


def _signed(text: str | float) -> float:
    spelled = str(text).strip()
    return -seconds(spelled[1:]) if spelled.startswith("-") else seconds(spelled)


class HistoryFault(Fault):
    """Happens to the rows of the history. All that strike a call happen, in the order of the script."""

    possible: ClassVar[frozenset[Route]] = frozenset({Route.HISTORY})
    usual: ClassVar[frozenset[Route]] = possible
    exclusive: ClassVar[bool] = False

    @abstractmethod
    def play(self, view: HistoryView) -> None:
        """Change what the call is answered from."""


class LateRows(HistoryFault):
    """A request appears `delay` after its end: one in flight does not."""

    delay: Seconds = 30.0

    def play(self, view: HistoryView) -> None:
        view.rows = [
            row for row in view.rows if row.ended_at is not None and view.now >= row.ended_at + self.delay
        ]


class TeammateRows(HistoryFault):
    """Beside each request stand `count` of teammates, a second later, with the same model and inputs."""

    count: Count = 1

    def play(self, view: HistoryView) -> None:
        view.rows = [
            either
            for row in view.rows
            for either in (row, *(_teammates(row, number) for number in range(1, self.count + 1)))
        ]


class NoiseRows(HistoryFault):
    """So many rows of teammates that are newer than any other, of the models that are in use or of one."""

    rows: Count = 5000
    model: str | None = None

    def play(self, view: HistoryView) -> None:
        used = sorted({row.model for row in view.rows}) or [MOCK]
        models = cycle([self.model] if self.model else used)
        view.rows += [_noise(number, next(models), view.now) for number in range(self.rows)]


class SkewedStamps(HistoryFault):
    """The stamps are `by` ahead of our clock (`-2m`: behind it); `zone: false`: they do not name their zone.

    `{by: 330m, zone: false}` is India's local time.
    """

    by: Annotated[float, BeforeValidator(_signed), DURATION] = 90.0
    zone: bool = True

    def play(self, view: HistoryView) -> None:
        for row in view.rows:
            row.created += self.by
            row.updated += self.by
            row.zoned = self.zone


class RequestBodies(HistoryFault):
    """`request_body` in another form; `mixed`: in each of the three by turns.

    `defaults`: with the page's defaults; `floats`: numbers as floats; `wrapped`: under this key; `delay`:
    null until so long after the request's end.
    """

    form: Literal["mapping", "json", "repr", "mixed"] = "mapping"
    defaults: bool = False
    floats: bool = False
    wrapped: str | None = None
    delay: Seconds | None = None

    def play(self, view: HistoryView) -> None:
        forms = cycle(_FORMS.values() if self.form == "mixed" else [_FORMS[self.form]])
        for row in view.rows:
            form = next(forms)
            filled_in = row.ended_at is not None and view.now >= row.ended_at + (self.delay or 0.0)
            row.body = form(self._changed(row)) if self.delay is None or filled_in else None

    def _changed(self, row: Row) -> dict[str, Any]:
        body = dict(row.body)
        if self.defaults and row.model in model_pages():
            body = {**model_pages()[row.model].defaults(), **body}
        if self.floats:
            body = {name: _as_float(value) for name, value in body.items()}
        return {self.wrapped: body} if self.wrapped else body


class ModelTitles(HistoryFault):
    """Rows call the model by its title, not by its slug."""

    def play(self, view: HistoryView) -> None:
        for row in view.rows:
            page = model_pages().get(row.model)
            row.model_name = page.title if page else row.model


class PageCap(HistoryFault):
    """No page has more than so many rows, whatever `per_page` asks for."""

    rows: Count = 20

    def play(self, view: HistoryView) -> None:
        view.per_page = self.rows


class NonsenseRows(HistoryFault):
    """Rows that cannot be true: unasked ids, missing keys, costs below zero, URLs of a foreign host; all of
    that, or `what` is named."""

    what: Sequence[Literal["other_ids", "missing_keys", "negative_costs", "foreign_urls"]] = (
        "other_ids",
        "missing_keys",
        "negative_costs",
        "foreign_urls",
    )

    def play(self, view: HistoryView) -> None:
        for number, row in enumerate(view.rows):
            if "other_ids" in self.what:
                row.request_id = _id(row.request_id, "other")
            if "missing_keys" in self.what:
                row.missing = frozenset({"model_status", "credits_deduction", "request_body"})
            if "negative_costs" in self.what:
                row.cost = -abs(row.cost) or -1.0
            if "foreign_urls" in self.what:
                row.url = f"http://foreign.invalid/{number}.png"


@lru_cache(maxsize=1 << 16)
def _id(request_id: str, name: object) -> str:
    """Another id, the same each time."""
    made = uuid.uuid5(uuid.NAMESPACE_URL, f"{request_id}/{name}")
    return str(uuid.UUID(bytes=made.bytes, version=4))


def _teammates(row: Row, number: int) -> Row:
    return replace(
        row,
        request_id=_id(row.request_id, number),
        created=row.created + number,
        updated=row.updated + number,
        own=False,
    )


def _noise(number: int, model: str, now: float) -> Row:
    return Row(
        request_id=_id("noise", number),
        model=model,
        model_name=model,
        status="COMPLETED",
        cost=0.01,
        body={"prompt": f"noise {number}"},
        url=None,
        latency=1000,
        error=None,
        created=now,
        updated=now,
        ended_at=now,
        own=False,
    )


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


_FORMS: Mapping[str, Callable[[dict[str, Any]], Any]] = {"mapping": dict, "json": json.dumps, "repr": repr}
