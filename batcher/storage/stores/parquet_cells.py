"""Pictures inside a Parquet file, as `datasets` writes them: columns of {bytes, path}.

Rule: a file is read forward, a few rows at a time; it is never held as a whole.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from typing import IO, Any

from batcher.storage.stores.objects import MissingExtra

SUFFIX = ".parquet"
BATCH = 32
"""Rows whose pictures are read at a time."""
KEPT = 4
"""Batches that are kept: uploads ask for their pictures nearly in the order of the rows."""


def is_parquet_file(path: str) -> bool:
    """Whether the path is a Parquet file."""
    return path.endswith(SUFFIX) and os.path.isfile(path)


def open_parquet(path: str | IO[bytes]) -> Any:
    """The Parquet file at a path of this disk, or in an open file. Raises OSError, MissingExtra; ValueError
    when it is none."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            "reading Parquet needs the extra `parquet`: pip install 'batcher[parquet]'"
        ) from None
    with parquet_errors():
        return pyarrow.parquet.ParquetFile(path)


@contextmanager
def parquet_errors() -> Iterator[None]:
    """What pyarrow raises becomes ValueError, one sentence that goes on after the file's name."""
    import pyarrow

    try:
        yield
    except pyarrow.ArrowException as error:
        raise ValueError(f"is not Parquet that can be read: {' '.join(str(error).split())[:300]}") from error


def is_picture(kind: Any) -> bool:
    """Whether a column of this type holds pictures: their bytes, and perhaps what they were called."""
    from pyarrow import types

    if not types.is_struct(kind):
        return False
    fields = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
    held = fields.get("bytes")
    return fields.keys() == {"bytes", "path"} and (types.is_binary(held) or types.is_large_binary(held))


def cell_value(path: str, row: int, column: str) -> Any:
    """What a cell holds. Raises OSError, MissingExtra; ValueError where the file cannot be read as Parquet,
    and LookupError where it has no such cell."""
    with _READING, parquet_errors():
        status = os.stat(path)
        return _column(path, column, status.st_size, status.st_mtime_ns).value(row)


_READING = threading.Lock()


@lru_cache(maxsize=4)
def _column(path: str, column: str, size: int, changed: int) -> _Column:
    return _Column(path, column)


class _Column:
    """One column, where it was last read, and what was read last."""

    def __init__(self, path: str, column: str) -> None:
        self._file = open_parquet(path)
        self._name = column
        metadata = self._file.metadata
        groups = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self._firsts = list(accumulate(groups, initial=0))
        self._batches: Iterator[Any] = iter(())
        self._next, self._end = 0, 0
        self._kept: deque[tuple[int, Any]] = deque(maxlen=KEPT)

    def value(self, row: int) -> Any:
        for first, batch in self._kept:
            if first <= row < first + len(batch):
                return batch[row - first].as_py()
        if not self._next <= row < self._end:
            self._begin(bisect_right(self._firsts, row) - 1)
        while True:
            batch = next(self._batches).column(0)
            first, self._next = self._next, self._next + len(batch)
            self._kept.append((first, batch))
            if row < self._next:
                return batch[row - first].as_py()

    def _begin(self, group: int) -> None:
        self._next, self._end = self._firsts[group], self._firsts[group + 1]
        self._batches = self._file.iter_batches(BATCH, row_groups=[group], columns=[self._name])
