"""Has anything changed since the last plan? One hash, without opening a picture.

Rule: when in doubt it has. What cannot be told cheaply gives a fingerprint that never comes again, so
that the job is planned anew, and what is wrong is told there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, Protocol

from batcher.errors import Problem, UsageError
from batcher.job.catalog import find
from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs.companions import Companions
from batcher.job.inputs.context import InputsContext
from batcher.job.manifest import Manifest
from batcher.job.sources.globs import ListedFile
from batcher.job.sources.source_kind import is_local_picture
from batcher.job.sources.streams import ABSENT, stamped
from batcher.storage import stores
from batcher.storage.addresses import is_url, resolve

TOGETHER = 512
"""Files that are hashed, and compared with the last plan's, at a time."""


class Fingerprints(NamedTuple):
    """Hashes (hex): `whole` of all that rows come from, `rest` of the same without the files of the sources
    that may grow."""

    whole: str
    rest: str


class FileSink(Protocol):
    """Takes the files of the sources that may grow by files."""

    def add(self, source: int, files: Sequence[ListedFile], lines: Sequence[str], text: bytes) -> None:
        """The next files of the source of that number, each with its path and stamp as a line; these lines
        as one text."""

    def unsure(self) -> None:
        """Not every file of the sources came: whether they have only grown cannot be told."""

    def warn(self, sentence: str) -> None:
        """What there is to tell of all of a source's files."""


def fingerprint(manifest: Manifest, *, strict: bool = True) -> str:
    """A hash (hex) of the manifest, its model and its sources: paths, sizes and times of change of every
    picture, companion and table, and of pictures that tables, axes or params name. What params put together
    (`photos/{{ file }}`) only a plan can tell: the ledger knows what the last one found.

    `strict`: one wrong row is enough for the plan to be made anew, and to tell it; else wrong rows are as
    good as any, since the plan leaves them out.
    """
    return fingerprints(manifest, strict=strict).whole


def fingerprints(manifest: Manifest, *, strict: bool = True, files: FileSink | None = None) -> Fingerprints:
    """The same in one walk with what is needed to tell whether there are only new files: `files` is given
    those of every source that `may_grow`."""
    begin = f"{manifest.fingerprint()}{'' if strict else ' lenient'}".encode()
    whole, rest = blake2b(begin, digest_size=16), blake2b(begin, digest_size=16)
    diagnostics = Diagnostics(str(manifest.path), sink=None if strict else _pass_over)
    stores.forget()
    try:
        context = InputsContext(manifest, diagnostics)
        for text in _stamps(context, whole, files):
            stamp = text.encode(errors="surrogatepass")
            whole.update(stamp)
            if files is not None:
                rest.update(stamp)
    except (UsageError, OSError):
        return Fingerprints(secrets.token_hex(16), secrets.token_hex(16))
    if diagnostics.failed:
        return Fingerprints(secrets.token_hex(16), secrets.token_hex(16))
    return Fingerprints(whole.hexdigest(), rest.hexdigest())


def may_grow(manifest: Manifest, index: int) -> bool:
    """Whether a new file of a source makes new tasks and leaves every other as it is, as far as the manifest
    tells: where rows are chosen among all, paired, or known by what lies beside them, nobody can say."""
    source = manifest.inputs[index]
    chosen = source.sample is not None or source.limit is not None or bool(source.order)
    return not (chosen or source.companions or manifest.pairs or any(one.only for one in manifest.inputs))


def _pass_over(problem: Problem) -> None:
    """The plan itself tells what is wrong with a row."""


def _stamps(context: InputsContext, whole: blake2b, files: FileSink | None) -> Iterator[str]:
    """What changes when anything does that the rows come from; what `files` takes goes into the hash of the
    `whole` at once. Raises OSError, UsageError."""
    manifest = context.manifest
    yield repr(find(manifest.model, manifest.folder))
    own = (manifest.params, *manifest.matrix.axes.values(), *manifest.matrix.include)
    for path in _named_files(manifest, own):
        yield _stamped(path, context)
    for index, source in enumerate(manifest.inputs):
        its_context = context.source(index)
        listed = None
        if files is not None and may_grow(manifest, index):
            listed = source.kind.files(its_context, files.warn)
        if files is not None and listed is not None:
            _list(context, index, listed, whole, files)
        else:
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


def _list(
    context: InputsContext, index: int, listed: Iterator[ListedFile], whole: blake2b, sink: FileSink
) -> None:
    """The files of a source, many at a time."""
    faults = context.diagnostics.number
    while files := [*islice(listed, TOGETHER)]:
        lines = [file.line for file in files]
        text = "".join(lines).encode(errors="surrogatepass")
        whole.update(text)
        sink.add(index, files, lines, text)
    if context.diagnostics.number != faults:
        sink.unsure()


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
