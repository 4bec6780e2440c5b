"""One accepted submission, from its acceptance to its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import anyio

from batcher.sandbox.file_host import HostedFile


class JobFailed(Exception):
    """The model cannot do what it was asked; the message is the `error` of the FAILED job."""


class JobState(StrEnum):
    """A job's state, as the API spells it."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(slots=True)
class Job:
    """One accepted submission. `*_at` are wall times; `queue_time` and `inference_time` are seconds."""

    request_id: str
    model: str
    body: Mapping[str, Any]
    api: Literal["v1", "v2"]
    key: str
    """The API key that it came with: whose it is."""
    sequence: int
    """Counts accepted submissions from 1."""
    submitted_at: float
    cost: float
    """Credits: the price while it is in flight, what was billed once it ended (0 if it failed)."""
    images: int
    state: JobState = JobState.QUEUED
    started_at: float | None = None
    finished_at: float | None = None
    queue_time: float = 0.0
    inference_time: float = 0.0
    error: str | None = None
    seed: int | None = None
    files: list[HostedFile] = field(default_factory=list)
    """The outputs, on the file host."""
    text: str | None = None
    """The output of a model that makes no pictures."""
    remaining_credits: float = 0.0
    hidden_until: float = -math.inf
    """Until then its record answers 404."""
    stuck: bool = False
    """It never reaches a worker."""
    failure: str | None = None
    """The error with which it ends, whatever its model makes of it."""
    ended: anyio.Event = field(default_factory=anyio.Event)

    def metrics(self) -> dict[str, Any]:
        """Times, and once it has ended the money."""
        ended = self.finished_at is not None
        money = {"cost": self.cost, "remaining_credits": self.remaining_credits} if ended else {}
        return {
            **money,
            "inference_time": round(self.inference_time, 3),
            "queue_time": round(self.queue_time, 3),
            "total_time": round(self.queue_time + self.inference_time, 3),
            "retry_count": 0,
        }
