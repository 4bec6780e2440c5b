"""Files of folders and globs, one by one, always in the same order.

Rule: one folder's entries are held at a time; a folder that links back to one above it is not entered, and
an output folder of batcher only where it is named, or a place in it is (`out/*/images/*.jpg`).
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from batcher import stores
from batcher.plan import PICTURE_SUFFIXES, is_stored
from batcher.sources.folders import is_output

PassedBy = Callable[[str], None]
"""Takes the output folders that are not entered."""


class File(NamedTuple):
    """One file: its absolute path or address, and its folder relative to the fixed root of the glob or
    folder; of a store's file what the store said of it."""

    path: str
    folder: str
    entry: os.DirEntry[str] | None = None
    told: str = ""

    @property
    def stamp(self) -> str:
        """What changes when the file does; raises OSError when it has gone."""
        if self.told:
            return self.told
        found = self.entry.stat() if self.entry is not None else os.stat(self.path)
        return f"{found.st_size} {found.st_mtime_ns}"


def is_glob(path: str) -> bool:
    """Whether the path has `*`, `?`, `[` or `{a,b}`."""
    return bool(_MAGIC.search(path))


_MAGIC = re.compile(r"[*?\[]|\{[^{}/]*,[^{}]*\}")


def fixed(pattern: str) -> str:
    """The folder in which an absolute glob begins: what stands before its first wildcard or braces."""
    parts = pattern.split("/")
    first = next((index for index, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    return "/".join(parts[:first]) or "/"


def pictures_below(folder: str, passed_by: PassedBy) -> Iterator[File]:
    """Every picture in a folder and below it, by suffix; hidden ones left out. Raises OSError."""
    root, parts, begin = folder.rstrip("/") or "/", ("**", "*"), frozenset({0})
    stored = is_stored(folder)
    for file in _walk_store(root, parts, begin) if stored else _walk(root, parts, begin, passed_by):
        if os.path.splitext(file.path)[1].lower() in PICTURE_SUFFIXES:
            yield file


def matches(pattern: str, passed_by: PassedBy) -> Iterator[File]:
    """The files that an absolute glob matches; `**` is any number of folders. Raises OSError."""
    alternatives = expanded(pattern)
    seen: set[str] | None = set() if len(alternatives) > 1 else None
    for one in alternatives:
        for file in _matches(one, passed_by):
            if seen is None:
                yield file
            elif file.path not in seen:
                seen.add(file.path)
                yield file


def _matches(pattern: str, passed_by: PassedBy) -> Iterator[File]:
    scheme, separator, path = pattern.partition("://") if is_stored(pattern) else ("", "", pattern)
    parts = path.split("/")
    fixed = next((index for index, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    root, rest = f"{scheme}{separator}{'/'.join(parts[:fixed])}" or "/", parts[fixed:]
    if rest[-1] == "**":
        rest.append("*")
    if scheme:
        yield from _walk_store(root, tuple(rest), frozenset({0}))
    elif os.path.isdir(root):
        yield from _walk(root, tuple(rest), frozenset({0}), passed_by)


def expanded(pattern: str) -> list[str]:
    """`*.{jpg,png}` as `*.jpg` and `*.png`."""
    braces = re.search(r"\{([^{}]*,[^{}]*)\}", pattern)
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [whole for one in braces[1].split(",")[:100] for whole in expanded(before + one + after)][:1000]


def _walk(
    root: str,
    parts: Sequence[str],
    states: frozenset[int],
    passed_by: PassedBy,
    relative: str = "",
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[File]:
    """Files below `root`, each folder's entries in order of name.

    A state is how many `parts` are behind us on one way of matching; all ways are walked at once, so
    that no file comes twice.
    """
    if relative and not _names_a_place(parts, states) and is_output(root):
        passed_by(root)
        return
    found = os.stat(root)
    if (found.st_dev, found.st_ino) in above:
        return
    above = (*above, (found.st_dev, found.st_ino))
    with os.scandir(root) as listed:
        entries = sorted(listed, key=_name)
    prefix = root if root.endswith("/") else f"{root}/"
    last = [parts[state] for state in _reached(parts, states) if state == len(parts) - 1]
    fits = _pattern(last[0]).match if last else None
    hidden_too = bool(last) and last[0].startswith(".")
    for entry in entries:
        name = entry.name
        if entry.is_dir():
            if onward := _onward(name, parts, states):
                below = f"{relative}/{name}" if relative else name
                yield from _walk(prefix + name, parts, onward, passed_by, below, above)
        elif fits and fits(name) and (hidden_too or not name.startswith(".")) and _is_file(entry):
            yield File(prefix + name, relative, entry)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere is one too: whoever reads it tells that it is missing."""
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


def _walk_store(
    root: str, parts: Sequence[str], states: frozenset[int], relative: str = ""
) -> Iterator[File]:
    """The same below a folder of an object store, which has no links."""
    last = [parts[state] for state in _reached(parts, states) if state == len(parts) - 1]
    try:
        entries = stores.entries(root)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_folder:
            if onward := _onward(entry.name, parts, states):
                below = f"{relative}/{entry.name}" if relative else entry.name
                yield from _walk_store(entry.address, parts, onward, below)
        elif last and _fits(last[0], entry.name):
            yield File(entry.address, relative, None, entry.stamp)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _reached(parts: Sequence[str], states: Iterable[int]) -> set[int]:
    """The states in which the next name is matched by a pattern: `**` may be no folder at all."""
    reached = set[int]()
    for state in states:
        while parts[state] == "**":
            state += 1
        reached.add(state)
    return reached


def _names_a_place(parts: Sequence[str], states: frozenset[int]) -> bool:
    """Whether the pattern names a folder in the one it has come to, and has not come there by `**`."""
    return any(
        0 < state < len(parts) - 1 and parts[state - 1] != "**" and not is_glob(parts[state])
        for state in states
    )


def _onward(name: str, parts: Sequence[str], states: Iterable[int]) -> frozenset[int]:
    """The states in which a folder of this name is entered; none where nothing in it can match."""
    hidden = name.startswith(".")
    onward = {
        state + 1 for state in _reached(parts, states) if state < len(parts) - 1 and _fits(parts[state], name)
    }
    for state in states if not hidden else ():
        while parts[state] == "**":
            onward.add(state)
            state += 1
    return frozenset(onward)


def _fits(part: str, name: str) -> bool:
    return (part.startswith(".") or not name.startswith(".")) and _pattern(part).match(name) is not None


@lru_cache(maxsize=256)
def _pattern(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))
