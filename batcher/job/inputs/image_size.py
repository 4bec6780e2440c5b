"""The columns width and height: a picture is opened for them only where a template names one of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from batcher.errors import Problem
from batcher.job.inputs.context import InputsContext
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import TemplateError, compile_template
from batcher.job.row import SIZE_COLUMNS, Row
from batcher.job.yaml_document import texts
from batcher.storage.addresses import is_url, resolve


def wanted(manifest: Manifest) -> frozenset[str]:
    """Which of `width` and `height` the templates over whole rows name, and no axis has."""
    templates = [text for _, text in texts([manifest.params, manifest.output.name])]
    axes = set(manifest.matrix.axes).union(*manifest.matrix.include)
    return named(templates) - axes


def named(templates: Iterable[str]) -> frozenset[str]:
    """Which of `width` and `height` these templates read."""
    variables = set[str]()
    for text in templates:
        try:
            variables |= compile_template(text).variables
        except TemplateError:
            continue
    return frozenset(variables & set(SIZE_COLUMNS))


def with_sizes(row: Row, names: frozenset[str], context: InputsContext) -> Row | None:
    """The row with the sizes that it has not yet and that are asked for; None where they cannot be had."""
    missing = names - row.columns.keys()
    picture = row.columns.get("image")
    if not missing or not isinstance(picture, str) or not picture:
        return row
    source = row.part("image")
    try:
        if is_url(picture):
            raise ValueError("the size of a picture behind a URL is not known before it is sent")
        size = dict(zip(SIZE_COLUMNS, _size(picture, source.folder, context), strict=True))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        origin = source.origin if source.number else picture[:300]
        problem = Problem(f"{origin} cannot be measured: {reason}", source.file, source.line)
        context.diagnostics.row(problem)
        return None
    return row._replace(columns={**row.columns, **{name: size[name] for name in sorted(missing)}})


def _size(picture: str, folder: str, context: InputsContext) -> tuple[int, int]:
    """A relative path starts from its table, or else from the manifest."""
    folders = dict.fromkeys((folder, str(context.manifest.folder)))
    paths = [resolve(start, picture) for start in folders if start]
    for path in paths:
        with suppress(FileNotFoundError):
            return context.read_size(path)
    return context.read_size(next(filter(None, map(context.near_files.find, paths)), paths[-1]))
