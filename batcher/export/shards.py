"""Numbered files of one split, each whole when it has its name.

Law: a shard is closed when it is large enough; what a killed export leaves begins with a dot.
"""

from __future__ import annotations

import os
from pathlib import Path

SHARD_BYTES = 512 << 20
SHARD_SAMPLES = 10_000


class Shards:
    """The shards `00000<suffix>`, `00001<suffix>`, ... in `folder`."""

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._suffix = suffix
        self._number = 0
        self._samples = 0
        self._bytes = 0

    @property
    def unfinished(self) -> Path:
        """Where the present one is written."""
        return self._folder / f".{self._number:05d}{self._suffix}.new"

    def full(self, size: int) -> bool:
        """Whether a sample of so many bytes begins another shard."""
        return self._samples > 0 and (self._samples >= SHARD_SAMPLES or self._bytes + size > SHARD_BYTES)

    def took(self, size: int) -> None:
        """A sample is in the present one."""
        self._samples += 1
        self._bytes += size

    def settle(self) -> None:
        """The present one is whole: it takes its name, and the next begins."""
        os.replace(self.unfinished, self._folder / f"{self._number:05d}{self._suffix}")
        self._number += 1
        self._samples = self._bytes = 0
