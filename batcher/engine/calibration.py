"""How the history tells what we sent, learned from jobs that this ledger knows (pure).

Rule: a history that shows no job of ours as we sent it proves nothing about the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batcher.api.wire import CREATED_AFTER, CREATED_BEFORE, HistoryRow, parsed_body, same_value


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job of this ledger: its row of the history, and the body and time (Unix s) of its POST."""

    row: HistoryRow
    body: Mapping[str, Any]
    submitted_at: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the history makes of a POST: the names it has for the model, the keys under which it wraps a body
    (None: under none), the parameters that it adds, and how far its stamps are from our clock (seconds, the
    least and the most)."""

    models: frozenset[str]
    wrappers: frozenset[str | None] = frozenset({None})
    added: frozenset[str] = frozenset()
    offsets: tuple[float, float] = (0.0, 0.0)

    def expected(self, submitted_at: float) -> tuple[float, float]:
        """Between which moments of its clock (Unix s) the row of a POST of that time has its stamp."""
        return submitted_at + self.offsets[0] - CREATED_BEFORE, submitted_at + self.offsets[1] + CREATED_AFTER

    def may_be(self, row: HistoryRow, submitted_at: float) -> bool:
        """Whether a row may be that of a POST of that time, as far as model and stamp tell."""
        earliest, latest = self.expected(submitted_at)
        in_time = row.created_at is None or earliest <= row.created_at <= latest
        return in_time and self.is_of(row)

    def is_of(self, row: HistoryRow) -> bool:
        """Whether a row may be one of these models'."""
        return not row.model or row.model in self.models

    def matches(self, row: HistoryRow, body: Mapping[str, Any]) -> bool | None:
        """Whether a row tells this body; None where it cannot be compared."""
        readable = [
            inner for wrapper in self.wrappers if (inner := _unwrapped(row.body, wrapper)) is not None
        ]
        if not readable:
            return None
        return any(_holds(inner, body) and inner.keys() - body.keys() <= self.added for inner in readable)


def calibrated(model: str, jobs: Sequence[KnownJob]) -> Calibration | None:
    """What these jobs teach; None where there is none, or one is told in a way that is not understood. A row
    whose body is not told (yet) teaches nothing."""
    wrappers: set[str | None] = set()
    added: set[str] = set()
    readable = [job for job in jobs if job.row.body is not None]
    for job in readable:
        for wrapper, inner in _readings(job.row.body or {}):
            if _holds(inner, job.body):
                wrappers.add(wrapper)
                added |= inner.keys() - job.body.keys()
                break
        else:
            return None
    stamps = [job.row.created_at - job.submitted_at for job in readable if job.row.created_at is not None]
    if not readable or not stamps:
        return None
    models = frozenset({model, *(job.row.model for job in readable if job.row.model)})
    return Calibration(models, frozenset(wrappers), frozenset(added), (min(stamps), max(stamps)))


def _readings(body: Mapping[str, Any]) -> Iterable[tuple[str | None, Mapping[str, Any]]]:
    yield None, body
    for key in body:
        if (inner := _unwrapped(body, key)) is not None:
            yield key, inner


def _unwrapped(body: Mapping[str, Any] | None, wrapper: str | None) -> Mapping[str, Any] | None:
    if body is None or wrapper is None:
        return body
    return parsed_body(body.get(wrapper))


def _holds(shown: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    return all(key in shown and same_value(shown[key], value) for key, value in body.items())
