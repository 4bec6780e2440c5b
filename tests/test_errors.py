"""The tree at the head of errors.py is the one that its classes make."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from batcher import errors
from batcher.errors import BatcherError, TaskError

LINE = re.compile(r"^([ │]*)[├└]── (\w+) +(retry)? +(?:(\d{1,2}) )? +\S", re.MULTILINE)
"""Branches, the class, whether another try may come through, the exit code, what it says."""


def drawn() -> Iterator[tuple[str, str, bool, int]]:
    """Of each line of the tree: the class, the one that it hangs below, `retry`, and the exit code (1 where
    none is written)."""
    above = [BatcherError.__name__]
    for branches, name, retry, code in LINE.findall(inspect.getdoc(errors) or ""):
        del above[len(branches) // 4 :]
        yield name, above[-1], bool(retry), int(code or 1)
        above.append(name)


def defined() -> Iterator[tuple[str, str, bool, int]]:
    """The same of each class."""
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, BatcherError) and kind is not BatcherError:
            can_retry = issubclass(kind, TaskError) and kind.retryable
            yield name, kind.__bases__[0].__name__, can_retry, kind.exit_code


def test_every_class_stands_in_the_tree_below_its_base_with_its_exit_code() -> None:
    assert sorted(drawn()) == sorted(defined())
