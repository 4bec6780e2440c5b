"""The kind `images:` of a source: globs, folders, files and URLs, on this disk or in an object store."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Set
from functools import partial
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import StrictStr

from batcher.job.diagnostics import Warn, silent
from batcher.job.row import IMAGE_COLUMNS, Row
from batcher.job.sources import source_kind
from batcher.job.sources.globs import ListedFile, files_below, fixed, is_glob, matches
from batcher.job.sources.picture_files import PictureFiles
from batcher.job.sources.source_kind import Resolve, SourceContext
from batcher.job.validation import OneOrMore
from batcher.storage import stores
from batcher.storage.addresses import is_stored, is_url
from batcher.storage.pictures import has_picture_suffix

KEY = "images"
TYPE = Annotated[tuple[StrictStr, ...], OneOrMore()]
DESCRIPTION = (
    "Pictures: a glob, a folder, a file, a URL, s3://bucket/..., or a list of these. Columns: image, "
    "stem, name, suffix, folder; width and height when a template names them."
)
HAS_PICTURES = True
IF_EMPTY = "no file matches"

PicturesBelow = Callable[[str], Iterator[ListedFile]]

names_files = source_kind.names_no_files


def resolved(value: Any, resolve: Resolve) -> Any:
    """Every entry as an absolute path."""
    return [resolve(entry) for entry in value]


def columns(value: Any) -> Set[str] | None:
    """Those of a picture, whatever it is."""
    return set(IMAGE_COLUMNS)


def rows(source: SourceContext) -> Iterator[Row]:
    """One row per picture."""
    for picture in _listed(source, source.diagnostics.warn, opens=True):
        yield _of_url(picture) if isinstance(picture, str) else _of_file(picture, source.folder)


def files(source: SourceContext, warn: Warn) -> Iterator[ListedFile] | None:
    """Its files, where all of them are of this disk."""
    if any(is_url(entry) or is_stored(entry) for entry in source.value):
        return None
    return (file for file in _listed(source, warn) if not isinstance(file, str))


def rows_of(source: SourceContext, files: Iterable[ListedFile]) -> Iterator[Row]:
    """The rows of these files."""
    for file in files:
        yield _of_file(file, source.folder)


def stamps(source: SourceContext) -> Iterator[str]:
    """Each file with its size and time; a URL stands in the manifest."""
    for picture in _listed(source):
        if not isinstance(picture, str):
            yield picture.line


def _listed(source: SourceContext, warn: Warn = silent, *, opens: bool = False) -> Iterator[ListedFile | str]:
    """The files and URLs; what several entries name comes once. Unless it `opens` them, files without a
    suffix are among them."""
    seen: set[str] | None = set() if len(source.value) > 1 else None
    outputs: list[str] = []
    below = partial(_pictures_below, outputs=outputs, warn=warn, opens=opens)
    any_file = False
    for position, entry in enumerate(source.value):
        for picture in (entry,) if is_url(entry) else _files(source, position, entry, outputs, below):
            any_file = True
            path = picture if isinstance(picture, str) else picture.path
            if seen is not None:
                if path in seen:
                    continue
                seen.add(path)
            if path.isascii() or _can_be_written(path):
                yield picture
            else:
                message = f"the name of {path!r} is not UTF-8; rename the file"
                source.diagnostics.row(source.place((*source.key, position), message))
    if outputs and not any_file and not source.may_be_empty:
        source.error(
            f"no file matches outside of {outputs[0]}, an output folder of batcher, which is entered only "
            "where it is named itself, or a folder in it; `empty: allow` lets that pass"
        )


def _files(
    source: SourceContext, position: int, entry: str, outputs: list[str], below: PicturesBelow
) -> Iterator[ListedFile]:
    """The files that one entry names: a glob, a folder (`below` gives its pictures), or a file. Output
    folders that are not entered are added to `outputs`.

    An inbox may be empty, and is there: a folder that is not (a disk not mounted, a name misspelt) would be
    a night's work left undone without a word. A store has no folders, and none that could be missing.
    """
    path = source.resolve(entry)
    try:
        if is_stored(entry):
            files = 0
            for file in _stored(entry, below):
                files += 1
                yield file
            if not files and not source.may_be_empty and not is_glob(entry):
                source.error(f"there is no file or folder {entry}", position)
        elif is_glob(entry) and not os.path.exists(path):
            if _is_folder(root := fixed(path)):
                yield from matches(path, outputs.append)
            else:
                source.error(f"there is no folder {root}", position)
        elif os.path.isdir(path):
            yield from below(path)
        elif os.path.isfile(path):
            yield ListedFile(path, "")
        else:
            source.error(f"there is no file or folder {path}", position)
    except stores.MissingExtra as error:
        source.error(str(error), position)
    except OSError as error:
        source.error(f"{error.filename or path} cannot be read: {error.strerror}", position)
    except ValueError:
        source.error("no path has a NUL in it", position)


def _is_folder(path: str) -> bool:
    """Raises OSError where that cannot be told."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _pictures_below(folder: str, *, outputs: list[str], warn: Warn, opens: bool) -> Iterator[ListedFile]:
    pictures = PictureFiles(folder, warn, opens=opens)
    for file in files_below(folder, outputs.append):
        if pictures.takes(file.path):
            yield file
    pictures.finish()


def _stored(entry: str, below: PicturesBelow) -> Iterator[ListedFile]:
    """The files that a glob, a folder or a file of a store names. Raises OSError, MissingExtra."""
    if is_glob(entry):
        yield from matches(entry, _no_output_there)
    elif not has_picture_suffix(entry):
        yield from below(entry)
    else:
        try:
            facts = stores.stat(entry)
        except FileNotFoundError:
            return
        yield ListedFile(entry, "", None, facts.stamp)


def _no_output_there(folder: str) -> None:
    """No output folder of batcher lies in a store."""


def _of_file(file: ListedFile, base: str) -> Row:
    path = file.path
    name = path[path.rfind("/") + 1 :]
    stem, suffix = os.path.splitext(name)
    cells = {"image": path, "stem": stem, "name": name, "suffix": suffix, "folder": file.folder}
    return Row(cells, path, folder=base)


def _of_url(url: str) -> Row:
    try:
        path = "" if url[:5].lower() == "data:" else unquote(urlsplit(url).path)
    except ValueError:  # half an IPv6 address
        path = ""
    name = path.rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    shown = url if len(url) <= 200 else f"{url[:197]}..."
    return Row({"image": url, "stem": stem, "name": name, "suffix": suffix, "folder": ""}, shown)


def _can_be_written(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
