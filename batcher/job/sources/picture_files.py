"""Which files of a folder are pictures: by their suffix; without one, by what is in them.

Rule: what is no picture is passed by, and told once for each folder that a source names, with numbers. Texts
and data that lie beside pictures need no word.
"""

from __future__ import annotations

import os
from collections import Counter

from batcher.errors import BadDownload
from batcher.job.diagnostics import Warn, silent
from batcher.progress.summary import several
from batcher.storage import pictures, stores

BESIDE = frozenset(
    {".txt", ".caption", ".json", ".jsonl", ".ndjson", ".xml", ".csv", ".tsv", ".parquet", ".arrow", ".npy"}
    | {
        ".npz",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".md",
        ".rst",
        ".html",
        ".pdf",
        ".log",
        ".lock",
        ".db",
        ".gz",
    }
    | {".py", ".sh", ".zip", ".tar", ".cff", ".bib"}
)
"""What lies beside pictures, and is none."""
PAPERS = frozenset({"readme", "license", "licence", "copying", "notice", "authors", "changelog", "makefile"})


class PictureFiles:
    """The pictures among the files of one folder and the folders in it. Unless it `opens` them, a file
    without a suffix may be a picture."""

    def __init__(self, folder: str, warn: Warn = silent, *, opens: bool = True) -> None:
        self._folder = folder
        self._warn = warn
        self._opens = opens
        self._passed: Counter[str] = Counter()
        self._first = ""

    def takes(self, path: str) -> bool:
        """Whether the file at an absolute path, or an address, is a picture."""
        name = path.rpartition("/")[2]
        if pictures.has_picture_suffix(name):
            return True
        suffix = os.path.splitext(name)[1].lower()
        if suffix in BESIDE or name.lower() in PAPERS:
            return False
        if not suffix and (not self._opens or _is_picture(path)):
            return True
        self._passed[suffix or "without a suffix"] += 1
        self._first = self._first or path
        return False

    def finish(self) -> None:
        """Tells what was passed by."""
        number = self._passed.total()
        if number:
            files = several(number, "file is no picture and is", "files are no pictures and are")
            kinds = ", ".join(f"{count} {kind}" for kind, count in self._passed.most_common(5))
            self._warn(f"{self._folder}: {files} passed by: {kinds} (first: {self._first})")


def _is_picture(path: str) -> bool:
    """Whether its bytes begin as a picture's, of a format that is read here or of one that is told."""
    try:
        with stores.open_address(path) as file:
            pictures.identify(file)
    except BadDownload as error:
        return error.message.startswith("the file is a picture")
    except (OSError, stores.MissingExtra):
        return False
    return True
