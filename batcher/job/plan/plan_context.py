"""What a plan has to ask the outside, which comes in as functions: it reads nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batcher.job.catalog.provider_list import ListedModel
from batcher.job.row import Row

Digest = Callable[[str], str]


def unknown_size(picture: str) -> tuple[int, int]:
    """For a plan that opens no picture."""
    raise ValueError("its size is not known here")


def nothing_near(path: str) -> str | None:
    """For a plan that looks for files by their exact names alone."""
    return None


def no_hint(path: str) -> str:
    """For a plan that knows nothing of other files."""
    return ""


def nowhere(row: Row, column: str) -> tuple[int, str]:
    """For rows of which only file and line are known."""
    return 0, ""


def nobody(path: str, found: bool) -> None:
    """For a plan that nobody will ask whether anything has changed since."""


@dataclass(frozen=True, slots=True)
class PlanContext:
    """`digest` gives the sha256 (hex) of a file's content, or raises OSError, BadDownload; `duplicates` how
    many times it was asked for the same identity before in this plan; `read_size` width and height of a
    picture, upright, or raises OSError, ValueError; `locate` where in its line a row's column stands (from 1;
    0: unknown), and that line; `near_file` the one file that a path means where there is none, and
    `near_hint` the end of a sentence that asks for another; `composed` hears of each file that a parameter
    puts together, and whether it can be used. Of a model that the catalogue does not have,
    `listed` is what the provider's list tells, and `unknown_model` the sentence that says so."""

    digest: Digest
    duplicates: Callable[[bytes], int]
    read_size: Callable[[str], tuple[int, int]] = unknown_size
    locate: Callable[[Row, str], tuple[int, str]] = nowhere
    near_file: Callable[[str], str | None] = nothing_near
    near_hint: Callable[[str], str] = no_hint
    composed: Callable[[str, bool], None] = nobody
    listed: ListedModel | None = None
    unknown_model: str = ""
