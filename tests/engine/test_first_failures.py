"""When a run should stop because nothing works."""

from __future__ import annotations

import pytest

from batcher.engine.stopping import FirstFailures


@pytest.mark.parametrize(
    "told",
    [
        "FAILED: no such scheduler",
        "FAILED: could not fetch https://storage.example/{n}/photo.png: HTTP 404",
        "NOT_AN_IMAGE: /photos/in town/{n}.png: No such file or directory",
        "NOT_AN_IMAGE: s3://photos/{n}.png: there is no such object",
        "FAILED: worker 5b1c7f0{n}-5e2a-4a55-9d1c-0a1b2c3d4e5f was lost",
    ],
)
def test_failures_are_alike_whatever_urls_and_ids_their_texts_name(told: str) -> None:
    failures = FirstFailures(10)
    assert [failures.failed(told.format(n=n)) for n in range(10)] == [False] * 9 + [True]


def test_failures_of_several_kinds_are_the_tasks_own() -> None:
    failures = FirstFailures(3)
    assert not any(failures.failed(f"FAILED: {what}") for what in ("faced", "defaced", "faced", "defaced"))


def test_after_a_success_nothing_stops() -> None:
    failures = FirstFailures(2)
    failures.succeeded()
    assert not any(failures.failed("FAILED: the same") for _ in range(9))
