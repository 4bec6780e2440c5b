"""Local files that the values of a body name: found, known by their content.

Rule: a relative path starts from its row's table, else from the manifest. Each item of a list is a file of
its own: `images.0`, `images.1`.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from typing import Any

from batcher.errors import BadDownload
from batcher.plan.parts import BadValue, Part, as_json
from batcher.plan.rows import PICTURE_SUFFIXES, Row, is_stored, is_url, placed

Digest = Callable[[str], str]

HELD = 20_000
"""Digests kept in memory; the ledger keeps all."""


class Files:
    """Finds the files of a job; `folder` is the manifest's."""

    def __init__(self, folder: str, digest: Digest) -> None:
        self._folder = folder
        self._digest = digest
        self._known: dict[tuple[str, str], tuple[str, str] | None] = {}

    def named(self, part: Part, value: Any, row: Row) -> tuple[Any, dict[str, str], str] | None:
        """Of a value that names files: the value with absolute paths, the digest (hex) of each by the name of
        its place, and the text by which a task is known. None where it names none. Raises BadValue."""
        if isinstance(value, str):
            found = self._file(part, value, row)
            return None if found is None else (found[0], {part.name: found[1]}, f'{{"file":"{found[1]}"}}')
        if not isinstance(value, list | dict):
            return None
        media: dict[str, str] = {}
        filled, known_by = self._inside(part, value, row, part.name, media)
        return (filled, media, as_json(known_by)) if media else None

    def _inside(self, part: Part, value: Any, row: Row, place: str, media: dict[str, str]) -> tuple[Any, Any]:
        if isinstance(value, str):
            # What a list holds that the catalogue does not know is a file only where its path is whole.
            whole = part.media or os.path.isabs(value) or "://" in value
            found = self._file(part, value, row) if whole else None
            if found is None:
                return value, value
            media[place] = found[1]
            return found[0], {"file": found[1]}
        if isinstance(value, list):
            items = [self._inside(part, one, row, f"{place}.{at}", media) for at, one in enumerate(value)]
            return [filled for filled, _ in items], [known_by for _, known_by in items]
        if isinstance(value, dict):
            inner = {key: self._inside(part, one, row, f"{place}.{key}", media) for key, one in value.items()}
            return (
                {key: filled for key, (filled, _) in inner.items()},
                {key: known_by for key, (_, known_by) in inner.items()},
            )
        return value, value

    def _file(self, part: Part, value: str, row: Row) -> tuple[str, str] | None:
        """The absolute path and the digest of the local file that a text names; None when it is none."""
        if is_url(value) or (not part.media and not _like_picture(value)):
            return None
        folder = row.part(part.lone).folder if part.lone in row.columns else ""
        found = self._found(part, value, folder)
        if found is None and part.media and value:
            places = [place for place in dict.fromkeys((folder, self._folder)) if place]
            looked = "" if os.path.isabs(value) or is_stored(value) else f" in {' or '.join(places)}"
            raise BadValue(part, f"there is no file {value[:300]!r}{looked}", missing=True)
        return found

    def _found(self, part: Part, path: str, folder: str) -> tuple[str, str] | None:
        key = (folder, path)
        if key in self._known:
            return self._known[key]
        if len(self._known) >= HELD:
            self._known.clear()
        found = None
        for place in dict.fromkeys((folder, self._folder)):
            if place and found is None:
                found = self._digested(part, placed(place, path))
        self._known[key] = found
        return found

    def _digested(self, part: Part, path: str) -> tuple[str, str] | None:
        try:
            return path, self._digest(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except IsADirectoryError:
            raise BadValue(part, f"{path} is a folder, not a picture") from None
        except OSError as error:
            raise BadValue(part, f"{path} cannot be read: {error.strerror or error}") from None
        except BadDownload as error:
            raise BadValue(part, f"{path}: {error.message}", picture=True) from None


def _like_picture(text: str) -> bool:
    return len(text) < 4096 and os.path.splitext(text)[1].lower() in PICTURE_SUFFIXES and "\n" not in text
