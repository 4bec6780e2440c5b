"""The size of a picture, upright: opened only where a template names `width` or `height`, or a canvas does.

Law: a picture whose size cannot be read is told by name; none is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from batcher import errors, pictures, stores
from batcher.errors import Problem
from batcher.manifest import Manifest
from batcher.manifest.checks import SIZES
from batcher.manifest.templates import TemplateError, compile_template
from batcher.plan import Row, is_stored, is_url, placed
from batcher.sources.problems import Problems

HELD = 10_000
"""Sizes kept in memory: a picture comes once for each row of the other sources."""

Measure = Callable[[str], tuple[int, int]]


def measurer() -> Measure:
    """A `measure` that remembers: width and height of the picture at an absolute path or an address.

    It raises OSError where the file cannot be read, ValueError where it is no picture.
    """
    return lru_cache(maxsize=HELD)(_measured)


def _measured(path: str) -> tuple[int, int]:
    with stores.opened(path) if is_stored(path) else open(path, "rb") as file:
        try:
            return pictures.upright_size(file)
        except errors.BadDownload as error:
            raise ValueError(error.message) from None


def wanted(manifest: Manifest) -> frozenset[str]:
    """Which of `width` and `height` the templates over whole rows name, and no axis has."""
    texts = list(_texts((manifest.params, manifest.output.name)))
    axes = set(manifest.matrix.axes).union(*manifest.matrix.include)
    return named(texts) - axes


def named(texts: Iterable[str]) -> frozenset[str]:
    """Which of `width` and `height` these templates read."""
    found = set[str]()
    for text in texts:
        try:
            found |= compile_template(text).variables
        except TemplateError:
            continue
    return frozenset(found & set(SIZES))


def with_sizes(
    row: Row, names: frozenset[str], manifest: Manifest, measure: Measure, problems: Problems
) -> Row | None:
    """The row with the sizes that it has not yet and that are asked for; None where they cannot be had."""
    missing = names - row.columns.keys()
    picture = row.columns.get("image")
    if not missing or not isinstance(picture, str) or not picture:
        return row
    source = row.part("image")
    try:
        if is_url(picture):
            raise ValueError("the size of a picture behind a URL is not known before it is sent")
        size = dict(zip(SIZES, _found(picture, (source.folder, str(manifest.folder)), measure), strict=True))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        origin = source.origin if source.number else picture[:300]
        problems.row(Problem(f"{origin} cannot be measured: {reason}", source.file, source.line))
        return None
    return row._replace(columns={**row.columns, **{name: size[name] for name in sorted(missing)}})


def _found(picture: str, folders: tuple[str, ...], measure: Measure) -> tuple[int, int]:
    """A relative path starts from its table, or else from the manifest."""
    places = list(dict.fromkeys(folder for folder in folders if folder))
    for folder in places[:-1]:
        try:
            return measure(placed(folder, picture))
        except FileNotFoundError:
            continue
    return measure(placed(places[-1], picture))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
