"""Object stores through fsspec: `s3://` with the extra `s3`, `gs://`, `az://` and others with their package.

Rule: one folder's listing is held at a time, and serves the questions about its files: a thousand pictures
are one call, not a thousand.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import IO, Any, NamedTuple, cast

from batcher.errors import UsageError
from batcher.storage.addresses import natural_key

EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Schemes that an extra of batcher covers."""
HELD = 2
"""Folders whose listings are remembered: pictures, and the masks beside them."""
ASKED = 8
"""Files of a folder that are asked for one by one before the folder is listed."""


class MissingExtra(UsageError):
    """A kind of source needs a library that is not installed; the sentence names it."""


class ObjectEntry(NamedTuple):
    """One thing in a folder: a file with its size and tag, or a folder."""

    name: str
    address: str
    is_folder: bool
    size: int = 0
    tag: str = ""
    changed: str = ""

    @property
    def stamp(self) -> str:
        """What changes when the file does."""
        return f"{self.size} {self.tag or self.changed}"


class Stat(NamedTuple):
    """Size in bytes, a tag of the content, and the time of change (each empty where the store has none)."""

    size: int
    tag: str
    changed: str = ""

    @property
    def stamp(self) -> str:
        """What changes when the file does."""
        return f"{self.size} {self.tag or self.changed}"


class StoreCache:
    """What one planning has asked the stores: the files of `folders` that were listed, how many files were
    `asked` for in others, and `digests` of contents where a store tells no tag."""

    def __init__(self) -> None:
        self.folders: OrderedDict[str, dict[str, Stat]] = OrderedDict()
        self.asked: OrderedDict[str, int] = OrderedDict()
        self.digests: OrderedDict[str, str] = OrderedDict()


# Of the task or thread that plans, and of the threads that it starts: two runs of one process share none.
_store_cache: ContextVar[StoreCache] = ContextVar("store_cache")


def cache_of_planning() -> StoreCache:
    """What was asked so far."""
    try:
        return _store_cache.get()
    except LookupError:
        return forget()


def forget() -> StoreCache:
    """What was asked is asked for again: a new look at the sources begins."""
    fresh = StoreCache()
    _store_cache.set(fresh)
    return fresh


def entries(folder: str) -> list[ObjectEntry]:
    """What lies in a folder, in natural order. Raises FileNotFoundError where nothing does; OSError,
    MissingExtra."""
    folder = folder.rstrip("/")
    scheme = folder.partition("://")[0]
    files, path = filesystem_of(folder)
    with translate_errors(folder):
        found = files.ls(path, detail=True)
    own = path.strip("/")
    # A store may list the folder itself, as an empty object whose name ends in a slash.
    facts = [one for one in found if str(one["name"]).strip("/") != own]
    made = [_entry(scheme, one) for one in facts]
    listed = cache_of_planning().folders
    listed[folder] = {one.name: Stat(*one[3:]) for one in made if not one.is_folder}
    while len(listed) > HELD:
        listed.popitem(last=False)
    return sorted(made, key=lambda entry: natural_key(entry.name))


def stat(address: str, *, fresh: bool = False) -> Stat:
    """Size and tag of one file. Raises FileNotFoundError, OSError, MissingExtra."""
    folder, _, name = address.rpartition("/")
    listed = cache_of_planning().folders
    if not fresh and folder not in listed and _often(folder):
        entries(folder)
    if not fresh and folder in listed:
        if name not in listed[folder]:
            raise FileNotFoundError(2, "there is no such object", address)
        return listed[folder][name]
    files, path = filesystem_of(address)
    with translate_errors(address):
        found = files.info(path)
    if found.get("type") == "directory":
        raise IsADirectoryError(21, "is a folder, not a file", address)
    return Stat(int(found.get("size") or 0), _tag(found), _changed(found))


def open_object(address: str) -> IO[bytes]:
    """The file, open for reading and seekable. Raises OSError, MissingExtra."""
    files, path = filesystem_of(address)
    with translate_errors(address):
        return cast(IO[bytes], files.open(path, "rb"))


@contextmanager
def translate_errors(address: str) -> Iterator[None]:
    """Foreign errors become ours, with the address: bucket and key."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(2, "there is no such object", address) from None
    except PermissionError:
        raise PermissionError(13, "the store does not let us read it", address) from None
    except (MissingExtra, FileExistsError):
        raise
    except Exception as error:  # each store's library has errors of its own, not all of them OSErrors
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise OSError(5, reason, address) from error


def _often(folder: str) -> bool:
    """Whether so many files of the folder were asked for that listing it costs less."""
    asked = cache_of_planning().asked
    count = asked[folder] = asked.pop(folder, 0) + 1
    while len(asked) > 64:
        asked.popitem(last=False)
    return count > ASKED


def filesystem_of(address: str) -> tuple[Any, str]:
    """The store's file system, and the path in it. Raises OSError, MissingExtra."""
    scheme, _, path = address.partition("://")
    return _filesystem(scheme.lower()), path


@cache
def _filesystem(scheme: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise MissingExtra(_install(scheme)) from None
    try:
        if needed := _needs(fsspec.get_filesystem_class(scheme)):
            why = f"{scheme}:// needs a {needed} of its own, and none can be given here"
            raise OSError(22, why, f"{scheme}://")
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError:
        raise MissingExtra(_install(scheme)) from None
    except ValueError:
        known = ", ".join(f"{one}://" for one in ("s3", "gs", "az"))
        raise OSError(22, f"{scheme}:// is no store; there are {known} and others", f"{scheme}://") from None
    except OSError:
        raise
    except Exception as error:
        raise OSError(5, f"cannot be reached: {error}", f"{scheme}://") from error


def _needs(filesystem: Any) -> str:
    """What it cannot be made without (FTP's host); half made, it would fail again as it goes."""
    parameters = list(inspect.signature(filesystem.__init__).parameters.values())[1:]
    named = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    return next((one.name for one in named if one.default is one.empty), "")


def _install(scheme: str) -> str:
    if extra := EXTRAS.get(scheme):
        return f"{scheme}:// needs the extra `{extra}`: pip install 'batcher[{extra}]'"
    package = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}.get(scheme)
    named = f"{package}: pip install {package}" if package else "its fsspec package, which is not installed"
    return f"{scheme}:// needs {named}"


def _entry(scheme: str, found: dict[str, Any]) -> ObjectEntry:
    path = str(found["name"]).rstrip("/")
    name, is_folder = path.rpartition("/")[2], found.get("type") == "directory"
    size = int(found.get("size") or 0)
    return ObjectEntry(name, f"{scheme}://{path}", is_folder, size, _tag(found), _changed(found))


def _tag(found: dict[str, Any]) -> str:
    """What the store says of the content: an MD5 if it has one, else its ETag."""
    for name in ("md5Hash", "content_md5", "ETag", "etag"):
        tag = found.get(name)
        if tag:
            return tag.hex() if isinstance(tag, bytes | bytearray) else str(tag).strip('"')
    return ""


def _changed(found: dict[str, Any]) -> str:
    names = ("LastModified", "last_modified", "mtime", "updated", "created")
    return next((str(found[name]) for name in names if found.get(name)), "")
