"""Rows of an `images:` source: globs, folders, files and URLs, on this disk or in an object store."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from batcher import stores
from batcher.manifest import Manifest
from batcher.plan import PICTURE_SUFFIXES, Row, is_stored, is_url
from batcher.sources.listing import File, fixed, is_glob, matches, pictures_below
from batcher.sources.problems import Problems


def pictures(manifest: Manifest, index: int, problems: Problems) -> Iterator[Row]:
    """One row per picture, with the columns image, stem, name, suffix and folder."""
    base = str(manifest.folder)
    return (picture_row(one, base) for one in listed(manifest, index, problems))


def picture_row(picture: File | str, folder: str) -> Row:
    """The row of one file or URL; `folder` is the manifest's."""
    return _of_url(picture) if isinstance(picture, str) else _of_file(picture, folder)


def listed(manifest: Manifest, index: int, problems: Problems) -> Iterator[File | str]:
    """The files and URLs of an `images:` source; what several of its entries name comes once."""
    entries = manifest.inputs[index].images or ()
    seen: set[str] | None = set() if len(entries) > 1 else None
    may_be_empty = manifest.inputs[index].empty == "allow"
    passed_by: list[str] = []
    found = False
    for position, entry in enumerate(entries):
        key = ("inputs", index, "images", position)
        files = (entry,) if is_url(entry) else _files(manifest, key, entry, problems, may_be_empty, passed_by)
        for picture in files:
            found = True
            path = picture if isinstance(picture, str) else picture.path
            if seen is not None:
                if path in seen:
                    continue
                seen.add(path)
            if path.isascii() or _can_be_written(path):
                yield picture
            else:
                message = f"the name of {path!r} is not UTF-8; rename the file"
                problems.row(manifest.problem(key, message))
    if passed_by and not found and not may_be_empty:
        message = (
            f"no file matches outside of {passed_by[0]}, an output folder of batcher, which is entered only "
            "where it is named itself, or a folder in it; `empty: allow` lets that pass"
        )
        problems.at(("inputs", index, "images"), message)


def _files(
    manifest: Manifest,
    key: tuple[str | int, ...],
    entry: str,
    problems: Problems,
    may_be_empty: bool,
    passed_by: list[str],
) -> Iterator[File]:
    """The files that one entry names: a glob, a folder, or a file. Output folders that are not entered are
    added to `passed_by`.

    An inbox may be empty, and is there: a folder that is not (a disk not mounted, a name misspelt) would be
    a night's work left undone without a word. A store has no folders, and none that could be missing.
    """
    path = manifest.resolve(entry)
    try:
        if is_stored(entry):
            found = 0
            for file in _stored(entry):
                found += 1
                yield file
            if not found and not may_be_empty and not is_glob(entry):
                problems.at(key, f"there is no file or folder {entry}")
        elif is_glob(entry) and not os.path.exists(path):
            if _is_folder(root := fixed(path)):
                yield from matches(path, passed_by.append)
            else:
                problems.at(key, f"there is no folder {root}")
        elif os.path.isdir(path):
            yield from pictures_below(path, passed_by.append)
        elif os.path.isfile(path):
            yield File(path, "")
        else:
            problems.at(key, f"there is no file or folder {path}")
    except stores.MissingExtra as error:
        problems.at(key, str(error))
    except OSError as error:
        problems.at(key, f"{error.filename or path} cannot be read: {error.strerror}")
    except ValueError:
        problems.at(key, "no path has a NUL in it")


def _is_folder(path: str) -> bool:
    """Raises OSError where that cannot be told."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _stored(entry: str) -> Iterator[File]:
    """The files that a glob, a folder or a file of a store names. Raises OSError, MissingExtra."""
    if is_glob(entry):
        yield from matches(entry, _unheard)
    elif _names_folder(entry):
        yield from pictures_below(entry, _unheard)
    else:
        try:
            found = stores.stat(entry)
        except FileNotFoundError:
            return
        yield File(entry, "", None, found.stamp)


def _unheard(folder: str) -> None:
    """No output folder of batcher lies in a store."""


def _names_folder(entry: str) -> bool:
    return os.path.splitext(entry)[1].lower() not in PICTURE_SUFFIXES


def _of_file(file: File, base: str) -> Row:
    path = file.path
    name = path[path.rfind("/") + 1 :]
    stem, suffix = os.path.splitext(name)
    columns = {"image": path, "stem": stem, "name": name, "suffix": suffix, "folder": file.folder}
    return Row(columns, path, folder=base)


def _of_url(url: str) -> Row:
    path = "" if url[:5].lower() == "data:" else unquote(urlsplit(url).path)
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
