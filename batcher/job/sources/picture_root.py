"""Where the pictures lie that an annotation file names: relative names start from one folder of its dataset.

Rule: one folder for all of them, chosen by what is there of the first names. A picture that is not in it is
missing, and never taken from the folder of another set, where another picture may have its name. What a name
leads to lies in the dataset: a file of somebody else's names no other picture of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from batcher.job.near_files import NearFiles
from batcher.storage import stores
from batcher.storage.addresses import is_stored, is_url, resolve

LOOKED_FOR, LOOKED_FOR_STORED = 50, 2
"""Names by which the folder is chosen; in an object store each look is a request."""


class PictureRoot:
    """Finds the pictures that a file names. `dataset` is the folder beyond which no name leads; `folders` are
    those that names may start from, the likeliest first."""

    def __init__(self, dataset: str, folders: Sequence[str], names: Iterable[Any], near: NearFiles) -> None:
        self._dataset = dataset
        self._near = near
        most = LOOKED_FOR_STORED if is_stored(dataset) else LOOKED_FOR
        usable = [name for name in names if is_name(name)][:most]
        # Written on another system, perhaps: NearFiles finds such a name, once its folder is known.
        usable = [name.replace("\\", "/") for name in usable]
        there = [sum(is_there(resolve(folder, name)) for name in usable) for folder in folders]
        self.folder = folders[there.index(max(there))]

    def picture(self, name: str) -> str:
        """The picture's absolute path. Raises ValueError with what is wrong with the name."""
        path = resolve(self.folder, name)
        if not is_there(path):
            path = self._near.find(path) or path
        if not f"{path}/".startswith(f"{self._dataset}/"):
            raise ValueError(f"{name!r} lies outside the dataset")
        if not is_there(path):
            raise ValueError(f"there is no picture {path}{self._near.hint(path)}")
        return path


def is_name(value: object) -> TypeGuard[str]:
    """Whether a value may name a picture."""
    return isinstance(value, str) and bool(value) and not is_url(value) and "\0" not in value


def is_there(path: str) -> bool:
    """Whether there is a file at this path or address."""
    if not is_stored(path):
        return os.path.isfile(path)
    try:
        stores.stat(path)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def picture_columns(path: str, folder: str) -> dict[str, str]:
    """The columns of a picture that lies in `folder` of its dataset."""
    name = path.rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    return {"image": path, "stem": stem, "name": name, "suffix": suffix, "folder": folder}
