"""What lies in a folder of this disk or of an object store, by name.

Law: an output folder of batcher is not entered from outside. A job whose output lies below its inputs would
take its own pictures for new ones, and pay for pictures of pictures at each run.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from batcher import stores
from batcher.plan import is_stored

STATE = ".batcher"


class Thing(NamedTuple):
    """A file or a folder; `told` is what a store says of a file (empty: on this disk)."""

    name: str
    path: str
    is_folder: bool
    told: str = ""


def is_output(folder: str) -> bool:
    """Whether this is an output folder of batcher: one that has a `.batcher` folder in it. Never in a store,
    where no ledger lies."""
    return not is_stored(folder) and os.path.isdir(f"{folder}/{STATE}")


def things(folder: str) -> list[Thing]:
    """What lies in a folder. Raises OSError, MissingExtra."""
    if is_stored(folder):
        return [
            Thing(one.name, one.address, one.is_folder, "" if one.is_folder else one.stamp)
            for one in stores.entries(folder)
        ]
    with os.scandir(folder) as found:
        return sorted(Thing(one.name, f"{folder}/{one.name}", one.is_dir()) for one in found)
