"""Local files that the values of a body name: found, known by their content.

Rule: a relative path starts from its row's table, else from the manifest. Each item of a list is a file of
its own: `images.0`, `images.1`.
"""

from __future__ import annotations

import os.path
from typing import Any, NamedTuple

from batcher.errors import BadDownload
from batcher.job.plan.param_templates import BadValue, ParamTemplate, TemplateFault, as_json
from batcher.job.plan.plan_context import PlanContext
from batcher.job.row import IMAGE_COLUMNS, Row
from batcher.storage.addresses import has_no_host, is_stored, is_url, resolve
from batcher.storage.pictures import has_picture_suffix

HELD = 20_000
"""Digests kept in memory; the ledger keeps all."""


class LocalFile(NamedTuple):
    """A file by its absolute path, or its address in a store, and the sha256 (hex) of its content."""

    path: str
    digest: str


class NamedFiles(NamedTuple):
    """Of a value that names files: the value with absolute paths, the digest of each by the name of its place
    in the body, and the text by which a task is known."""

    value: Any
    digests: dict[str, str]
    identity: str


class LocalFiles:
    """Finds the files of a job; `folder` is the manifest's."""

    def __init__(self, folder: str, plan_context: PlanContext) -> None:
        self._folder = folder
        self._context = plan_context
        self._digest = plan_context.digest
        self._by_path: dict[tuple[str, str], LocalFile | None] = {}

    def named(self, param: ParamTemplate, value: Any, row: Row) -> NamedFiles | None:
        """The files that a value names; None where it names none. Raises BadValue."""
        if isinstance(value, str):
            file = self._file(param, value, row)
            if file is None:
                return None
            return NamedFiles(file.path, {param.name: file.digest}, f'{{"file":"{file.digest}"}}')
        if not isinstance(value, list | dict):
            return None
        digests: dict[str, str] = {}
        filled, identity = self._inside(param, value, row, param.name, digests)
        return NamedFiles(filled, digests, as_json(identity)) if digests else None

    def is_local(self, text: str, folder: str) -> bool:
        """Whether a text is the path of a file of this machine, or an address in a store; `folder` is what it
        starts from, where it is relative."""
        if is_url(text) or "\n" in text or len(text) >= 4096:
            return False
        if is_stored(text):
            return True
        if not text.startswith(("/", "~")) and not has_picture_suffix(text):
            return False
        return any(
            self._is_file(resolve(start, text)) for start in dict.fromkeys((folder, self._folder)) if start
        )

    def _is_file(self, path: str) -> bool:
        try:
            self._digest(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return False
        except (OSError, BadDownload):
            return True
        return True

    def _inside(
        self, param: ParamTemplate, value: Any, row: Row, place: str, digests: dict[str, str]
    ) -> tuple[Any, Any]:
        """The value at a place of the body with absolute paths, and with digests in their stead."""
        if isinstance(value, str):
            # What a list holds that the catalogue does not know is a file only where its path is absolute.
            may_be_file = param.media or os.path.isabs(value) or "://" in value
            file = self._file(param, value, row) if may_be_file else None
            if file is None:
                return value, value
            digests[place] = file.digest
            return file.path, {"file": file.digest}
        if isinstance(value, list):
            items = [
                self._inside(param, item, row, f"{place}.{index}", digests)
                for index, item in enumerate(value)
            ]
            return [filled for filled, _ in items], [identity for _, identity in items]
        if isinstance(value, dict):
            inner = {
                key: self._inside(param, item, row, f"{place}.{key}", digests) for key, item in value.items()
            }
            return (
                {key: filled for key, (filled, _) in inner.items()},
                {key: identity for key, (_, identity) in inner.items()},
            )
        return value, value

    def _file(self, param: ParamTemplate, text: str, row: Row) -> LocalFile | None:
        """The local file that a text names; None when it is none. Raises BadValue where one must be there."""
        if param.media and is_url(text) and has_no_host(text):
            raise BadValue(param, f"{text[:300]!r} is no URL of a picture: it names no host")
        if is_url(text) or (not param.media and not _like_picture(text)):
            return None
        folder = row.part(param.lone).folder if param.lone in row.columns else ""
        file = self._in_folders(param, text, folder)
        if file is None and text and (param.media or _is_listed(param, text, row)):
            folders = [start for start in dict.fromkeys((folder, self._folder)) if start]
            looked = "" if os.path.isabs(text) or is_stored(text) else f" in {' or '.join(folders)}"
            path = resolve(folders[0], text)
            hint = ": a link leads nowhere" if os.path.islink(path) else self._context.near_hint(path)
            raise BadValue(
                param, f"there is no file {text[:300]!r}{looked}{hint}", cause=TemplateFault.MISSING
            )
        return file

    def _in_folders(self, param: ParamTemplate, path: str, folder: str) -> LocalFile | None:
        key = (folder, path)
        if key in self._by_path:
            return self._by_path[key]
        if len(self._by_path) >= HELD:
            self._by_path.clear()
        paths = [resolve(start, path) for start in dict.fromkeys((folder, self._folder)) if start]
        file = None
        for one in paths:
            file = file or self._at(param, one)
        for one in paths if param.media else ():
            if file is None and (near := self._context.near_file(one)) is not None:
                file = self._at(param, near)
        self._by_path[key] = file
        return file

    def _at(self, param: ParamTemplate, path: str) -> LocalFile | None:
        if not param.composed:
            return self._read(param, path)
        file = None
        try:
            file = self._read(param, path)
        finally:
            self._context.composed(path, file is not None)
        return file

    def _read(self, param: ParamTemplate, path: str) -> LocalFile | None:
        try:
            return LocalFile(path, self._digest(path))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except IsADirectoryError:
            raise BadValue(param, f"{path} is a folder, not a picture") from None
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror or error}"
            raise BadValue(param, message, cause=TemplateFault.PICTURE) from None
        except BadDownload as error:
            raise BadValue(param, f"{path}: {error.message}", cause=TemplateFault.PICTURE) from None


def _is_listed(param: ParamTemplate, text: str, row: Row) -> bool:
    """Whether it is the picture that a folder listed, whatever is known of the parameter: a link that leads
    nowhere is no text to be sent."""
    listed = param.lone == "image" and os.path.isabs(text)
    return listed and row.part("image").columns.keys() >= {*IMAGE_COLUMNS}


def _like_picture(text: str) -> bool:
    return len(text) < 4096 and has_picture_suffix(text) and "\n" not in text
