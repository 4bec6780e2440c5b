"""429s that no limit explains."""

from __future__ import annotations

import itertools

from batcher.api.pacing.outliers import Outliers


def test_lessons_that_refute_each_other_are_forgotten_until_resets_agree_or_all_is_quiet() -> None:
    strays = Outliers(10.0)
    assert [strays.refute(rate, before) for rate, before in ((5, 10), (2.5, 5), (1.2, 2.5))] == [
        False,
        False,
        True,
    ]
    assert (strays.suspected, strays.held) == (True, 10.0)
    assert [strays.agree(rate) for rate in (3.0, 1.0, 2.0, 2.1, 2.05, 1.98)][-2:] == [False, True]
    assert not strays.suspected
    for rate, before in ((5, 10), (4.9, 5), (2, 4.9), (1.9, 2)):
        assert not strays.refute(rate, before), "a limit that fell, told twice"
    strays.quiet(1.9, 300.0)
    assert strays.held == 1.9


def test_lessons_that_sink_step_by_step_are_chance_and_those_that_settle_are_a_limit() -> None:
    sinking = Outliers(100.0)
    told = [
        sinking.refute(rate, before) for rate, before in pairwise_down([10, 8.5, 7, 6, 5, 4.3, 3.6, 3, 2.5])
    ]
    assert told[-1]
    settling = Outliers(100.0)
    search = [10, 6, 5, 4.5, 4.4, 4.4, 4.39, 4.4, 4.39, 4.4, 4.4, 4.39]
    assert not any(settling.refute(rate, before) for rate, before in pairwise_down(search))


def pairwise_down(rates: list[float]) -> list[tuple[float, float]]:
    """Each lesson with the rate that was held before it."""
    return [(rate, before) for before, rate in itertools.pairwise([rates[0], *rates])]
