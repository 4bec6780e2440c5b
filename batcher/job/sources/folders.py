"""What lies in a folder of this disk or of an object store, by name.

Rule: an output folder of batcher is not entered from outside. A job whose output lies below its inputs would
take its own pictures for new ones, and pay for pictures of pictures at each run.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from batcher.storage import stores
from batcher.storage.addresses import is_stored, natural_key

STATE = ".batcher"


class DirEntry(NamedTuple):
    """A file or a folder; `stamp` is what changes when a store's file does (empty: on this disk)."""

    name: str
    path: str
    is_folder: bool
    stamp: str = ""


def is_output(folder: str) -> bool:
    """Whether this is an output folder of batcher: one that has a `.batcher` folder in it. Never in a store,
    where no ledger lies."""
    return not is_stored(folder) and os.path.isdir(f"{folder}/{STATE}")


def list_folder(folder: str) -> list[DirEntry]:
    """What lies in a folder. Raises OSError, MissingExtra."""
    if is_stored(folder):
        return [
            DirEntry(one.name, one.address, one.is_folder, "" if one.is_folder else one.stamp)
            for one in stores.entries(folder)  # in natural order already
        ]
    with os.scandir(folder) as entries:
        listed = [DirEntry(one.name, f"{folder}/{one.name}", one.is_dir()) for one in entries]
    return sorted(listed, key=lambda entry: natural_key(entry.name))
