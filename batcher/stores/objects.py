"""Object stores through fsspec: `s3://` with the extra `s3`, `gs://`, `az://` and others with their package.

Law: one folder's listing is held at a time, and serves the questions about its files: a thousand pictures are
one call, not a thousand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Any, NamedTuple, cast

from batcher.errors import UsageError

EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Schemes that an extra of batcher covers."""
HELD = 2
"""Folders whose listings are remembered: pictures, and the masks beside them."""
ASKED = 8
"""Files of a folder that are asked for one by one before the folder is listed."""


class MissingExtra(UsageError):
    """A kind of source needs a library that is not installed; the sentence names it."""


class Entry(NamedTuple):
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


_listed: OrderedDict[str, dict[str, Stat]] = OrderedDict()
_asked: OrderedDict[str, int] = OrderedDict()


def forget() -> None:
    """What was listed is asked for again: a new look at the sources begins."""
    _listed.clear()
    _asked.clear()


def entries(folder: str) -> list[Entry]:
    """What lies in a folder, by name. Raises FileNotFoundError where nothing does, OSError, MissingExtra."""
    folder = folder.rstrip("/")
    scheme = folder.partition("://")[0]
    files, path = reached(folder)
    with told(folder):
        found = files.ls(path, detail=True)
    own = path.strip("/")
    # A store may list the folder itself, as an empty object whose name ends in a slash.
    facts = [one for one in found if str(one["name"]).strip("/") != own]
    made = [_entry(scheme, one) for one in facts]
    _listed[folder] = {one.name: Stat(*one[3:]) for one in made if not one.is_folder}
    while len(_listed) > HELD:
        _listed.popitem(last=False)
    return sorted(made)


def stat(address: str, *, fresh: bool = False) -> Stat:
    """Size and tag of one file. Raises FileNotFoundError, OSError, MissingExtra."""
    folder, _, name = address.rpartition("/")
    if not fresh and folder not in _listed and _often(folder):
        entries(folder)
    if not fresh and folder in _listed:
        if name not in _listed[folder]:
            raise FileNotFoundError(2, "there is no such object", address)
        return _listed[folder][name]
    files, path = reached(address)
    with told(address):
        found = files.info(path)
    if found.get("type") == "directory":
        raise IsADirectoryError(21, "is a folder, not a file", address)
    return Stat(int(found.get("size") or 0), _tag(found), _changed(found))


def opened(address: str) -> IO[bytes]:
    """The file, open for reading and seekable. Raises OSError, MissingExtra."""
    files, path = reached(address)
    with told(address):
        return cast(IO[bytes], files.open(path, "rb"))


@contextmanager
def told(address: str) -> Iterator[None]:
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
    count = _asked[folder] = _asked.pop(folder, 0) + 1
    while len(_asked) > 64:
        _asked.popitem(last=False)
    return count > ASKED


def reached(address: str) -> tuple[Any, str]:
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
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError:
        raise MissingExtra(_install(scheme)) from None
    except ValueError:
        known = ", ".join(f"{one}://" for one in ("s3", "gs", "az"))
        raise OSError(22, f"{scheme}:// is no store; there are {known} and others", f"{scheme}://") from None
    except Exception as error:
        raise OSError(5, f"cannot be reached: {error}", f"{scheme}://") from error


def _install(scheme: str) -> str:
    if extra := EXTRAS.get(scheme):
        return f"{scheme}:// needs the extra `{extra}`: pip install 'batcher[{extra}]'"
    package = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}.get(scheme)
    named = f"{package}: pip install {package}" if package else "its fsspec package, which is not installed"
    return f"{scheme}:// needs {named}"


def _entry(scheme: str, found: dict[str, Any]) -> Entry:
    path = str(found["name"]).rstrip("/")
    name, is_folder = path.rpartition("/")[2], found.get("type") == "directory"
    size = int(found.get("size") or 0)
    return Entry(name, f"{scheme}://{path}", is_folder, size, _tag(found), _changed(found))


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
