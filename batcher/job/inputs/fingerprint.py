"""Has anything changed since the last plan? One hash, without opening a picture.

Rule: when in doubt it has. What cannot be told cheaply gives a fingerprint that never comes again, so
that the job is planned anew, and what is wrong is told there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from batcher.errors import Problem, UsageError
from batcher.job.catalog import find
from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs.companions import Companions
from batcher.job.inputs.context import InputsContext
from batcher.job.manifest import Manifest
from batcher.job.sources.source_kind import is_local_picture
from batcher.job.sources.streams import ABSENT, stamped
from batcher.storage import stores
from batcher.storage.addresses import is_url, resolve


def fingerprint(manifest: Manifest, *, strict: bool = True) -> str:
    """A hash (hex) of the manifest, its model and its sources: paths, sizes and times of change of every
    picture, companion and table, and of pictures that tables, axes or params name. What params put together
    (`photos/{{ file }}`) only a plan can tell: the ledger knows what the last one found.

    `strict`: one wrong row is enough for the plan to be made anew, and to tell it; else wrong rows are as
    good as any, since the plan leaves them out.
    """
    begin = f"{manifest.fingerprint()}{'' if strict else ' lenient'}"
    hashed = blake2b(begin.encode(), digest_size=16)
    diagnostics = Diagnostics(str(manifest.path), sink=None if strict else _pass_over)
    stores.forget()
    try:
        hashed.update(repr(find(manifest.model, manifest.folder)).encode())
        for text in _stamps(InputsContext(manifest, diagnostics)):
            hashed.update(text.encode(errors="surrogatepass"))
    except (UsageError, OSError):
        return secrets.token_hex(16)
    return secrets.token_hex(16) if diagnostics.failed else hashed.hexdigest()


def _pass_over(problem: Problem) -> None:
    """The plan itself tells what is wrong with a row."""


def _stamps(context: InputsContext) -> Iterator[str]:
    """What changes when anything does that the rows come from. Raises OSError, UsageError."""
    manifest = context.manifest
    own = (manifest.params, *manifest.matrix.axes.values(), *manifest.matrix.include)
    for path in _named_files(manifest, own):
        yield _stamped(path, context)
    for index, source in enumerate(manifest.inputs):
        its_context = context.source(index)
        yield from source.kind.stamps(its_context)
        names_files = source.kind.names_files(its_context)
        companions = Companions(context, index) if source.companions else None
        if companions is None and not names_files:
            continue
        for row in source.kind.rows(its_context):
            if names_files:
                for path in _named_files(manifest, row.columns, row.folder):
                    yield _stamped(path, context)
            for _, companion in companions.paths(row) if companions is not None else ():
                if companion and not is_url(companion):
                    yield _stamped(companion, context)


def _stamped(path: str, context: InputsContext) -> str:
    """Of the file at the path, or of the one that the plan will take it to mean."""
    text = stamped(path)
    if not text.endswith(ABSENT) or (near := context.near_files.find(path)) is None:
        return text
    return f"{text}{stamped(near)}"


def _named_files(manifest: Manifest, value: Any, folder: str = "") -> Iterator[str]:
    """The local pictures that texts in a value may name, absolute."""
    if isinstance(value, str):
        if is_local_picture(value):
            for start in dict.fromkeys((folder, str(manifest.folder))):
                if start:
                    yield resolve(start, value)
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _named_files(manifest, inner, folder)
