"""A few tasks that stand for a plan: `--sample N`.

Rule: it is pure, and the same tasks give the same sample. A larger sample has the smaller one in it, so that
a second look goes on from the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from batcher.job.plan.param_templates import as_json

POOL = 512
"""So many tasks are weighed against each other for each place of a sample: of a plan no larger than that,
all of them."""
OWN = frozenset({"seed"})
"""Columns of the plan itself that differ in every task, and say nothing of what it is."""

Trait = tuple[str, str]
"""A column, or two of them, and what stands there, as JSON."""


class SampledTask(NamedTuple):
    """A task as a sample sees it: its place among those given, and what it may have in common with others."""

    place: int
    traits: tuple[Trait, ...]
    pairs: tuple[Trait, ...]


def sample(tasks: Sequence[Mapping[str, Any]], most: int, axes: Sequence[str] = ()) -> list[int]:
    """The places of at most `most` of these tasks, each given by its columns, in order.

    The tasks come in an order that says nothing of them (that of their keys). One after another is taken
    whose column values were taken least so far, beside how many values their column has; among equal ones
    the one whose pairs of values of the `axes` were.
    """
    drawn = (_drawn(place, columns, axes) for place, columns in enumerate(tasks))
    return sorted(_draw(drawn, most))


def _draw(drawn: Iterator[SampledTask], most: int) -> Iterator[int]:
    pool: list[SampledTask] = []
    values: Counter[str] = Counter()
    known: set[Trait] = set()
    taken: Counter[Trait] = Counter()

    def cost(one: SampledTask) -> tuple[int, int]:
        return (
            sum(taken[trait] * values[trait[0]] for trait in one.traits),
            sum(taken[pair] for pair in one.pairs),
        )

    for _ in range(most):
        while len(pool) < POOL and (one := next(drawn, None)) is not None:
            pool.append(one)
            for trait in one.traits:
                if trait not in known:
                    known.add(trait)
                    values[trait[0]] += 1
        if not pool:
            return
        best = min(range(len(pool)), key=lambda index: cost(pool[index]))
        chosen = pool.pop(best)
        taken.update(chosen.traits)
        taken.update(chosen.pairs)
        yield chosen.place


def _drawn(place: int, columns: Mapping[str, Any], axes: Sequence[str]) -> SampledTask:
    said = {name: as_json(value) for name, value in columns.items() if name not in OWN}
    paired = [name for name in axes if name in said]
    pairs = tuple((f"{a}\n{b}", f"{said[a]}\n{said[b]}") for a, b in combinations(paired, 2))
    return SampledTask(place, tuple(said.items()), pairs)
