"""Pictures inside a dataset that `datasets` saved to disk, or in a Parquet file, each with its own address.

    dataset:///data/pets/train?row=12&column=image
    dataset:///data/pets/train.parquet?row=12&column=image

Rule: nothing is unpacked to disk; a cell is read when its digest is made and when it is uploaded.
"""

from __future__ import annotations

import io
import os
import threading
from functools import lru_cache
from typing import IO, Any
from urllib.parse import parse_qs, quote, unquote

from batcher.storage.stores import parquet_cells
from batcher.storage.stores.objects import MissingExtra

SCHEME = "dataset://"
MARKS = ("state.json", "dataset_dict.json")
"""Files by which a folder is a saved dataset, or several of them."""


def is_saved_dataset(folder: str) -> bool:
    """Whether `datasets` saved this folder."""
    return any(os.path.isfile(os.path.join(folder, mark)) for mark in MARKS)


def is_cell(address: str) -> bool:
    """Whether the address names a cell of a saved dataset or a Parquet file."""
    return address.startswith(SCHEME)


def cell_address(folder: str, row: int, column: str) -> str:
    """The address of a cell."""
    return f"{SCHEME}{quote(folder)}?row={row}&column={quote(column, safe='')}"


def name_of(address: str) -> str:
    """What to call a cell whose picture has no name: `train-12`, after its folder and its row."""
    path, _, query = address.removeprefix(SCHEME).partition("?")
    name = os.path.basename(unquote(path)).removesuffix(parquet_cells.SUFFIX)
    return f"{name}-{parse_qs(query)['row'][0]}"


def file_of(address: str) -> str:
    """The folder of the dataset, or the Parquet file, that the cell lies in."""
    return unquote(address.removeprefix(SCHEME).partition("?")[0])


def open_cell(address: str) -> IO[bytes]:
    """The picture in a cell. Raises OSError, MissingExtra."""
    path, _, query = address.removeprefix(SCHEME).partition("?")
    cell, folder = parse_qs(query), unquote(path)
    try:
        row, column = int(cell["row"][0]), cell["column"][0]
        in_parquet = parquet_cells.is_parquet_file(folder)
        picture = (
            parquet_cells.cell_value(folder, row, column) if in_parquet else load_dataset(folder)[row][column]
        )
        return io.BytesIO(picture["bytes"])
    except MissingExtra:
        raise
    except Exception as error:  # foreign data: pyarrow raises as it likes
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise OSError(5, f"the dataset has no such picture: {reason}", address) from error


def load_dataset(folder: str) -> Any:
    """The dataset in a folder, its pictures as they are stored. Raises OSError, MissingExtra."""
    with _LOADING:
        return _load_dataset(folder)


_LOADING = threading.Lock()
"""`datasets` is imported and loads for one thread at a time: its progress bars are shared, and not safe."""


@lru_cache(maxsize=4)
def _load_dataset(folder: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtra(
            "reading a saved dataset needs the extra `datasets`: pip install 'batcher[datasets]'"
        ) from None
    try:
        dataset = datasets.load_from_disk(folder)
        for name, feature in dict(dataset.features).items():
            if isinstance(feature, datasets.Image):
                dataset = dataset.cast_column(name, datasets.Image(decode=False))
        return dataset
    except Exception as error:  # foreign data: pyarrow and datasets raise as they like
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise OSError(5, f"is no dataset that can be read: {reason}", folder) from error
