"""Pictures inside a dataset that `datasets` saved to disk, or in a Parquet file, each with its own address.

    dataset:///data/pets/train?row=12&column=image
    dataset:///data/pets/train.parquet?row=12&column=image

Law: nothing is unpacked to disk; a cell is read when its digest is made and when it is uploaded.
"""

from __future__ import annotations

import io
import os
import threading
from functools import lru_cache
from typing import IO, Any
from urllib.parse import parse_qs, quote, unquote

from batcher.stores import embedded
from batcher.stores.objects import MissingExtra

SCHEME = "dataset://"
MARKS = ("state.json", "dataset_dict.json")
"""Files by which a folder is a saved dataset, or several of them."""


def is_saved(folder: str) -> bool:
    """Whether `datasets` saved this folder."""
    return any(os.path.isfile(os.path.join(folder, mark)) for mark in MARKS)


def is_cell(address: str) -> bool:
    """Whether the address names a cell of a saved dataset or a Parquet file."""
    return address.startswith(SCHEME)


def cell(folder: str, row: int, column: str) -> str:
    """The address of a cell."""
    return f"{SCHEME}{quote(folder)}?row={row}&column={quote(column, safe='')}"


def name_of(address: str) -> str:
    """What to call a cell whose picture has no name: `train-12`, after its folder and its row."""
    path, _, query = address.removeprefix(SCHEME).partition("?")
    name = os.path.basename(unquote(path)).removesuffix(embedded.SUFFIX)
    return f"{name}-{parse_qs(query)['row'][0]}"


def opened(address: str) -> IO[bytes]:
    """The picture in a cell. Raises OSError, MissingExtra."""
    path, _, query = address.removeprefix(SCHEME).partition("?")
    asked, folder = parse_qs(query), unquote(path)
    try:
        row, column = int(asked["row"][0]), asked["column"][0]
        inside = embedded.is_embedding(folder)
        picture = embedded.value(folder, row, column) if inside else loaded(folder)[row][column]
        return io.BytesIO(picture["bytes"])
    except MissingExtra:
        raise
    except Exception as error:  # foreign data: pyarrow raises as it likes
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise OSError(5, f"the dataset has no such picture: {reason}", address) from error


def loaded(folder: str) -> Any:
    """The dataset in a folder, its pictures as they are stored. Raises OSError, MissingExtra."""
    with _LOADING:
        return _loaded(folder)


_LOADING = threading.Lock()
"""`datasets` is imported and loads for one thread at a time: its progress bars are shared, and not safe."""


@lru_cache(maxsize=4)
def _loaded(folder: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtra(
            "reading a saved dataset needs the extra `datasets`: pip install 'batcher[datasets]'"
        ) from None
    try:
        found = datasets.load_from_disk(folder)
        for name, feature in dict(found.features).items():
            if isinstance(feature, datasets.Image):
                found = found.cast_column(name, datasets.Image(decode=False))
        return found
    except Exception as error:  # foreign data: pyarrow and datasets raise as they like
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise OSError(5, f"is no dataset that can be read: {reason}", folder) from error
