"""Files of folders and globs, one by one, always in the same order.

Rule: one folder's entries are held at a time; a folder that links back to one above it is not entered, and
an output folder of batcher only where it is named, or a place in it is (`out/*/images/*.jpg`).
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from batcher.job.sources.folders import is_output
from batcher.storage import stores
from batcher.storage.addresses import is_stored, natural_key

OutputSink = Callable[[str], None]
"""Takes the output folders that are not entered."""


class ListedFile(NamedTuple):
    """One file: its absolute path or address, and its folder relative to the fixed root of the glob or
    folder; of a store's file its stamp there."""

    path: str
    folder: str
    entry: os.DirEntry[str] | None = None
    stored: str = ""

    @property
    def stamp(self) -> str:
        """What changes when the file does; raises OSError when it has gone."""
        if self.stored:
            return self.stored
        facts = self.entry.stat() if self.entry is not None else os.stat(self.path)
        return f"{facts.st_size} {facts.st_mtime_ns}"

    @property
    def line(self) -> str:
        """Its path and its stamp; a link that leads nowhere is known by that."""
        try:
            return f"{self.path}\0{self.stamp}\n"
        except OSError as error:
            return f"{self.path}\0unreadable {error.errno}\n"


def is_glob(path: str) -> bool:
    """Whether the path has `*`, `?`, `[` or `{a,b}`."""
    return bool(_MAGIC.search(path))


_MAGIC = re.compile(r"[*?\[]|\{[^{}/]*,[^{}]*\}")


def fixed(pattern: str) -> str:
    """The folder in which an absolute glob begins: what stands before its first wildcard or braces."""
    parts = pattern.split("/")
    first = next((index for index, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    return "/".join(parts[:first]) or "/"


def files_below(folder: str, outputs: OutputSink) -> Iterator[ListedFile]:
    """Every file in a folder and below it; hidden ones left out. Raises OSError."""
    root, parts, begin = folder.rstrip("/") or "/", ("**", "*"), frozenset({0})
    yield from _walk_store(root, parts, begin) if is_stored(folder) else _walk(root, parts, begin, outputs)


def matches(pattern: str, outputs: OutputSink) -> Iterator[ListedFile]:
    """The files that an absolute glob matches; `**` is any number of folders. Raises OSError, also where its
    braces stand for too many patterns."""
    alternatives = expanded(pattern)
    seen: set[str] | None = set() if len(alternatives) > 1 else None
    for one in alternatives:
        for file in _matches(one, outputs):
            if seen is None:
                yield file
            elif file.path not in seen:
                seen.add(file.path)
                yield file


def _matches(pattern: str, outputs: OutputSink) -> Iterator[ListedFile]:
    scheme, separator, path = pattern.partition("://") if is_stored(pattern) else ("", "", pattern)
    parts = path.split("/")
    fixed = next((index for index, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    root, rest = f"{scheme}{separator}{'/'.join(parts[:fixed])}" or "/", parts[fixed:]
    if rest[-1] == "**":
        rest.append("*")
    if scheme:
        yield from _walk_store(root, tuple(rest), frozenset({0}))
    elif os.path.isdir(root):
        yield from _walk(root, tuple(rest), frozenset({0}), outputs)


def expanded(pattern: str) -> list[str]:
    """`*.{jpg,png}` as `*.jpg` and `*.png`. Raises OSError where that are too many."""
    patterns, left = [pattern], True
    while left:
        left, before = False, patterns
        patterns = []
        for one in before:
            braces = _BRACES.search(one)
            if braces is None:
                patterns.append(one)
                continue
            left = True
            head, tail = one[: braces.start()], one[braces.end() :]
            patterns.extend(f"{head}{choice}{tail}" for choice in braces[1].split(","))
            if len(patterns) > MOST_PATTERNS:
                raise OSError(
                    errno.E2BIG, f"its braces stand for more than {MOST_PATTERNS:,} patterns", pattern
                )
    return patterns


MOST_PATTERNS = 1000
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def _walk(
    root: str,
    parts: Sequence[str],
    states: frozenset[int],
    outputs: OutputSink,
    relative: str = "",
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[ListedFile]:
    """Files below `root`, each folder's entries in order of name.

    A state is how many `parts` are behind us on one way of matching; all ways are walked at once, so
    that no file comes twice.
    """
    if relative and not _names_a_place(parts, states) and is_output(root):
        outputs(root)
        return
    facts = os.stat(root)
    if (facts.st_dev, facts.st_ino) in above:
        return
    above = (*above, (facts.st_dev, facts.st_ino))
    with os.scandir(root) as listed:
        entries = sorted(listed, key=_natural, reverse=True)
    prefix = root if root.endswith("/") else f"{root}/"
    last = [parts[state] for state in _reached(parts, states) if state == len(parts) - 1]
    fits = _pattern(last[0]).match if last else None
    hidden_too = bool(last) and last[0].startswith(".")
    while entries:
        entry = entries.pop()  # with all that it remembers, once it was had
        name = entry.name
        if _is_folder(entry):
            if onward := _onward(name, parts, states):
                below = f"{relative}/{name}" if relative else name
                yield from _walk(prefix + name, parts, onward, outputs, below, above)
        elif fits and fits(name) and (hidden_too or not name.startswith(".")) and _is_file(entry):
            yield ListedFile(prefix + name, relative, entry)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere, or to itself, is one too: whoever reads it tells that."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _walk_store(
    root: str, parts: Sequence[str], states: frozenset[int], relative: str = ""
) -> Iterator[ListedFile]:
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
            yield ListedFile(entry.address, relative, None, entry.stamp)


def _natural(entry: os.DirEntry[str]) -> str:
    return natural_key(entry.name)


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
