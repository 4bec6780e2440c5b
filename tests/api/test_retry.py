"""A retry is a decision: which errors have another try, how soon, and when it is enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import errors
from batcher.api import retry
from batcher.api.retry import GiveUp, RetryAt, RetryPolicy

NOW = 1_000_000.0
WORD = "words"
PLAIN = RetryPolicy()


def decide(
    error: errors.TaskError, attempt: int = 1, policy: RetryPolicy = PLAIN, failed_before: int = 0
) -> object:
    return retry.decide(error, attempt, NOW, policy=policy, jitter=0.5, failed_before=failed_before)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.Unreachable(WORD), True),
        (errors.Gateway(WORD, status=502), True),
        (errors.Gateway(WORD, status=503), True),
        (errors.Gateway(WORD, status=504), True),
        (errors.AnswerLost(WORD), True),
        (errors.AnswerLost(WORD, status=200), True),
        (errors.AnswerLost(WORD, status=504), True),
        (errors.Throttled(WORD), True),
        (errors.RecordGone(WORD, status=404), True),
        (errors.DeadLink(WORD), True),
        (errors.BadDownload(WORD), True),
        (errors.ServerError(WORD, status=500), False),
        (errors.Rejected(WORD, status=400), False),
        (errors.InferenceFailed(WORD, status=422), False),
        (errors.ContentBlocked(WORD, status=422), False),
        (errors.NotAnImage(WORD), False),
        (errors.UploadRejected(WORD), False),
    ],
)
def test_each_error_has_another_try_or_has_not(error: errors.TaskError, again: bool) -> None:
    assert isinstance(decide(error), RetryAt) is again
    assert decide(error, attempt=5) == GiveUp(error.reason)


def test_statuses_of_the_manifest_decide_about_answers_with_a_number() -> None:
    wish = RetryPolicy(statuses=[500])
    assert isinstance(decide(errors.ServerError(WORD, status=500), policy=wish), RetryAt)
    assert isinstance(decide(errors.Gateway(WORD, status=502), policy=wish), GiveUp)
    assert isinstance(decide(errors.AnswerLost(WORD), policy=wish), RetryAt)
    assert isinstance(decide(errors.Unreachable(WORD), policy=wish), RetryAt)


def test_attempts_count_submits_and_the_last_one_ends_with_its_reason() -> None:
    error = errors.Gateway(WORD, status=502)
    assert [isinstance(decide(error, n), RetryAt) for n in range(1, 7)] == [True] * 4 + [False] * 2
    assert decide(error, 1, RetryPolicy(attempts=1)) == GiveUp("GATEWAY: words")


def test_what_ran_and_failed_is_tried_again_only_as_often_as_told() -> None:
    error, policy = errors.InferenceFailed(WORD), RetryPolicy(failed=2)
    assert [isinstance(decide(error, 9, policy, before), RetryAt) for before in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    blocked = errors.ContentBlocked(WORD)
    assert decide(blocked, 1, policy) == GiveUp("FAILED: words")


policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 50),
    first=st.floats(0, 3600),
    longest=st.floats(0, 86_400),
    failed=st.integers(0, 10),
)
lucks = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 10**6), lucks)
def test_a_backoff_is_never_negative_never_longer_than_told_and_its_ceiling_grows(
    policy: RetryPolicy, attempt: int, jitter: float
) -> None:
    wait = retry.submit_backoff(attempt, policy, jitter)
    assert 0 <= wait <= policy.longest
    ceilings = [retry.submit_backoff(n, policy, 1.0) for n in (attempt, attempt + 1)]
    assert wait <= ceilings[0] <= ceilings[1]


def test_backoffs_double_with_full_jitter() -> None:
    assert [retry.submit_backoff(n, RetryPolicy(), 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert retry.submit_backoff(3, RetryPolicy(), 0.0) == 0.0
    assert retry.submit_backoff(3, RetryPolicy(), 0.25) == 1.0


@given(policies, st.integers(1, 100), lucks, st.integers(0, 20))
def test_again_is_never_in_the_past(
    policy: RetryPolicy, attempt: int, jitter: float, failed_before: int
) -> None:
    for error in (errors.AnswerLost(WORD), errors.InferenceFailed(WORD), errors.Gateway(WORD, status=503)):
        decision = retry.decide(
            error, attempt, NOW, policy=policy, jitter=jitter, failed_before=failed_before
        )
        assert isinstance(decision, GiveUp) or decision.at >= NOW


@given(st.integers(0, 10**6), lucks)
def test_asking_again_is_soon_at_first_and_seldom_later(failures: int, jitter: float) -> None:
    wait = retry.read_backoff(failures, jitter=jitter)
    assert 0.25 <= wait <= 20.0
    assert retry.read_backoff(failures, jitter=jitter, longest=3.0) <= 3.0
