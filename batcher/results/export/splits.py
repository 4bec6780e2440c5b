"""Which split a picture belongs to: by what it was made from, and nothing else.

Rule: variants of one picture never straddle; adding or removing pictures moves no other.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from batcher import errors

SPLIT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
"""What a split can be called."""
ROUNDING = 0.0011
"""Thirds are written 0.333."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Names and their shares, which make one whole."""

    shares: tuple[tuple[str, float], ...] = (("train", 1.0),)

    @classmethod
    def parse(cls, text: str) -> Splits:
        """From `train=0.8,test=0.2`. Raises UsageError."""
        shares: list[tuple[str, float]] = []
        for part in text.split(","):
            name, equals, share = (word.strip() for word in part.partition("="))
            if not equals or not SPLIT_NAME.fullmatch(name):
                raise errors.UsageError(
                    f"--split: {part.strip()!r} is not NAME=SHARE, as in train=0.8,test=0.2"
                )
            if name.casefold() in (known.casefold() for known, _ in shares):
                raise errors.UsageError(f"--split: {name} is named twice")
            shares.append((name, _share(share)))
        total = sum(share for _, share in shares)
        if abs(total - 1) > ROUNDING:
            raise errors.UsageError(f"--split: the shares sum to {total:g}, not to 1; name the rest as well")
        return cls(tuple(shares))

    @property
    def names(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(name for name, _ in self.shares)

    def of(self, group: str) -> str:
        """The split of everything that was made from `group` (a content's sha256, a URL)."""
        digest = hashlib.sha256(f"batcher split\n{group}".encode()).digest()
        point = int.from_bytes(digest[:8]) / 2**64
        for name, share in self.shares:
            point -= share
            if point < 0:
                return name
        return self.shares[-1][0]


def _share(text: str) -> float:
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not 0 < float(text) <= 1:
        raise errors.UsageError(f"--split: {text!r} is not a share above 0, up to 1")
    return float(text)
