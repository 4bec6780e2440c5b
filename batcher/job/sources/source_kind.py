"""What a kind of source is: a module with the names of `SourceKind`.

Rule: a kind says all there is to say of it, from its key in the manifest to its rows; nobody else asks which
kind a source is. What a kind has no word for, it takes by name from the defaults here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any, Protocol

from batcher.errors import Problem
from batcher.job.diagnostics import Diagnostics, Warn
from batcher.job.labels.categories import CategoryTable
from batcher.job.near_files import NearFiles
from batcher.job.row import Row
from batcher.job.sources.globs import ListedFile
from batcher.storage.addresses import is_url, resolve
from batcher.storage.pictures import has_picture_suffix

KeyPath = tuple[str | int, ...]
Resolve = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class SourceContext:
    """One source of a job, as its kind sees it: what the manifest says at its key, and whom to tell.

    `key` is its place in the manifest (`inputs`, 0, `table`), `file` the manifest, `folder` (absolute) what
    paths start from; `near_files` finds a file whose name is spelled otherwise; `place` makes a problem at a
    key; `categories` takes the classes of its objects.
    """

    value: Any
    key: KeyPath
    file: str
    folder: str
    may_be_empty: bool
    diagnostics: Diagnostics
    near_files: NearFiles
    categories: CategoryTable
    place: Callable[[KeyPath, str], Problem]

    def resolve(self, path: str) -> str:
        """A path of the manifest as an absolute one; URLs and `-` pass unchanged."""
        return resolve_path(self.folder, path)

    def error(self, message: str, *below: str | int) -> None:
        """A problem of the source as a whole, at its key or at one below it."""
        self.diagnostics.error(self.place((*self.key, *below), message))


def resolve_path(folder: str, path: str) -> str:
    """A path that a manifest names, from its folder; URLs and `-` (standard input) pass unchanged."""
    return path if path == "-" or "://" in path or is_url(path) else resolve(folder, path)


class SourceKind(Protocol):
    """A module of this package, one for each kind; `sources.KINDS` has them all."""

    KEY: str
    """The key of an entry of `inputs` that says it is of this kind."""
    TYPE: Any
    """What the key takes, as a pydantic annotation."""
    DESCRIPTION: str
    """What an editor shows at the key: a sentence or two."""
    HAS_PICTURES: bool
    """Whether its rows are pictures: they have IMAGE_COLUMNS then."""
    IF_EMPTY: str
    """What to say of a source without a row."""

    def resolved(self, value: Any, resolve: Resolve) -> Any:
        """The key's value with every path in it absolute."""

    def columns(self, value: Any) -> Set[str] | None:
        """The columns of its rows, as far as the key's value (of whatever type) tells; None where only the
        disk can."""

    def rows(self, source: SourceContext) -> Iterator[Row]:
        """The rows, read as they are asked for. What is wrong goes to `source.diagnostics`."""

    def files(self, source: SourceContext, warn: Warn) -> Iterator[ListedFile] | None:
        """The files of this disk that are its rows, one each, and nothing else is; None where its rows come
        in another way. None of them is opened: one without a suffix may be no picture."""

    def rows_of(self, source: SourceContext, files: Iterable[ListedFile]) -> Iterator[Row]:
        """The rows of some of its `files`."""

    def stamps(self, source: SourceContext) -> Iterator[str]:
        """What changes when the source does, without opening a picture: paths, sizes, times. Raises OSError,
        UsageError where that cannot be told."""

    def names_files(self, source: SourceContext) -> bool:
        """Whether cells of its rows may name pictures that `stamps` does not cover."""


PROBED = 100
"""Rows that are looked at for cells that name pictures: a table of prompts is not read through for them."""


def is_local_picture(cell: Any) -> bool:
    """Whether a cell may name a picture that is no URL."""
    if not isinstance(cell, str) or len(cell) >= 4096 or is_url(cell):
        return False
    return has_picture_suffix(cell) and "{{" not in cell


HAS_NO_ROWS = "has no rows"


def no_paths(value: Any, resolve: Resolve) -> Any:
    """`resolved` of a kind whose value has no paths."""
    return value


def unknown_columns(value: Any) -> Set[str] | None:
    """`columns` of a kind whose columns only the disk can tell."""
    return None


def no_files(source: SourceContext, warn: Warn) -> Iterator[ListedFile] | None:
    """`files` of a kind whose rows are no files."""
    return None


def rows_of_no_files(source: SourceContext, files: Iterable[ListedFile]) -> Iterator[Row]:
    """`rows_of` of a kind whose rows are no files."""
    raise AssertionError("it has no files")


def no_stamps(source: SourceContext) -> Iterator[str]:
    """`stamps` of a kind that stands in the manifest as a whole."""
    return iter(())


def names_files(source: SourceContext) -> bool:
    """`names_files` of a kind whose cells may hold anything."""
    return True


def names_no_files(source: SourceContext) -> bool:
    """`names_files` of a kind all of whose files are among its stamps."""
    return False
