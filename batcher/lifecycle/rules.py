"""What the manifest says about a task's way."""

from __future__ import annotations

from dataclasses import dataclass

from batcher import retry


@dataclass(frozen=True, slots=True)
class Rules:
    """What the manifest says about a task's way. `result_ttl` in seconds, from submission.

    `doubtful`: resubmit | hold | reconcile; `expired`: resubmit | fail.
    """

    model: str
    api: str
    result_ttl: float
    retry: retry.Policy
    doubtful: str
    expired: str
