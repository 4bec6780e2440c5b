"""How large and how often: the whole benchmark, or the quick one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """`quick`: smaller sizes; `times`: runs of which the median is told."""

    quick: bool = False
    times: int = 3

    def of(self, whole: int, quick: int) -> int:
        """One size or the other."""
        return quick if self.quick else whole
