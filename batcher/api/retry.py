"""A retry is a decision, not a loop: decide(...) -> RetryAt(at) | GiveUp(reason).

Rule: waiting is not failing. Only submits have attempts; whoever holds a request_id asks on until the
record's end, at the pace of `read_backoff`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from batcher import errors


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retry` of the manifest; `first` and `longest` in seconds."""

    attempts: int = 5
    statuses: Collection[int] = (429, 502, 503, 504)
    first: float = 1.0
    longest: float = 60.0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Submit again at `at` (Unix s)."""

    at: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No more submits; the task fails with `reason`."""

    reason: str


Decision = RetryAt | GiveUp


def decide(
    error: errors.TaskError,
    attempt: int,
    now: float,
    *,
    policy: RetryPolicy,
    jitter: float,
    failed_before: int = 0,
) -> Decision:
    """What becomes of a task whose `attempt`-th submit (from 1) ended in `error`.

    `jitter` in [0, 1) is the jitter's draw; `failed_before` how often it ran and FAILED in this run before.
    """
    if isinstance(error, errors.InferenceFailed):
        if isinstance(error, errors.ContentBlocked) or failed_before >= policy.failed:
            return GiveUp(error.reason)
        return RetryAt(now + submit_backoff(failed_before + 1, policy, jitter))
    if isinstance(error, errors.ApiError) and error.status in policy.statuses:
        again = True
    elif isinstance(error, errors.Gateway):
        again = False
    else:
        again = error.retryable
    if not again or attempt >= policy.attempts:
        return GiveUp(error.reason)
    return RetryAt(now + submit_backoff(attempt, policy, jitter))


def submit_backoff(attempt: int, policy: RetryPolicy, jitter: float) -> float:
    """Seconds to wait after the `attempt`-th failure: exponential with full jitter."""
    ceiling = min(policy.longest, policy.first * 2.0 ** min(max(attempt - 1, 0), 30))
    return float(ceiling * jitter)


def read_backoff(failures: int, *, jitter: float, longest: float = 20.0) -> float:
    """Seconds until a status, a result or a file is asked for again after so many failures in a row."""
    ceiling = min(longest, 0.5 * 2.0 ** min(failures, 30))
    return float(ceiling * (0.5 + 0.5 * jitter))
