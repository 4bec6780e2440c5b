"""One of N shares of a plan: for several schedulers or accounts, with nothing between them.

Rule: a task's share hangs on its key alone, so that other tasks may come and go and none moves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST = 100_000
"""Shares of one plan."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `index` (from 1) of `of`; as text `2/8`."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A share from `I/N`. Raises ValueError with a sentence."""
        found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
        if found is None:
            raise ValueError(f"{text!r} is not a share; 2/8 is the second of eight")
        index, of = int(found[1]), int(found[2])
        if not 1 <= of <= MOST:
            raise ValueError(f"{text!r}: a plan has 1 to {MOST:,} shares")
        if not 1 <= index <= of:
            raise ValueError(f"{text!r}: shares are numbered from 1 to {of}")
        return cls(index, of)

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @property
    def folder(self) -> str:
        """The name of its output folder, inside that of the whole."""
        return f"shard-{self.index}-of-{self.of}"

    def holds(self, key: str) -> bool:
        """Whether the task with this key (hex) is in this share."""
        return int(key, 16) % self.of == self.index - 1


def names_share(folder: str) -> bool:
    """Whether a folder of this name is a share's."""
    return re.fullmatch(r"shard-[0-9]+-of-[0-9]+", folder) is not None
