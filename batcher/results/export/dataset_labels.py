"""The labels of the data sets that a job was made of (COCO, data.yaml, Pascal VOC, the metadata of an image
folder), as they are now.

Rule: as with label files (`corrected_labels.py`), a picture's labels are what its data set says now; of a set
that is gone or cannot be read nothing changes, which is told where it was written since; and one in an object
store was read anew by the last plan.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from batcher.errors import ManifestError, UsageError
from batcher.job.diagnostics import Diagnostics
from batcher.job.geometry import LABEL_COLUMNS, are_objects
from batcher.job.inputs import InputsContext
from batcher.job.manifest import examine
from batcher.job.row import Row
from batcher.job.sources import dataset
from batcher.storage import layout

COLUMNS = (*LABEL_COLUMNS, "objects")
COARSE = 2.0
"""Seconds: no disk's note of a change is further from our clock."""


class DatasetLabels:
    """Those of the job whose output folder is `output`, by the manifest of its last run, of which its ledger
    knows when it was; on the disk, for a set may have millions of boxes."""

    def __init__(self, output: Path, ledger: sqlite3.Connection) -> None:
        (started,) = ledger.execute("SELECT max(started_at) FROM runs").fetchone()
        self._labels = sqlite3.connect("", isolation_level=None)
        self._labels.execute("PRAGMA synchronous=OFF")
        self._labels.execute("CREATE TABLE labels (image TEXT PRIMARY KEY, now TEXT) WITHOUT ROWID")
        self._labels.execute("BEGIN")
        self._unread: list[str] = []
        since = (started or 0.0) - COARSE
        for row in _rows(layout.resolved_manifest(output), since, self._unread.append):
            # Of a picture that comes twice nobody could say which of its rows is meant.
            with suppress(UnicodeEncodeError):  # half a surrogate pair: no plan would take it either
                self._labels.execute(
                    "INSERT INTO labels VALUES (?, ?) "
                    "ON CONFLICT DO UPDATE SET now = NULL WHERE now IS NOT excluded.now",
                    (str(row.columns["image"]), _text(row.columns)),
                )

    def close(self) -> None:
        """What was read is forgotten."""
        self._labels.close()

    def sentence(self) -> str:
        """What of the labels that were written since cannot be read; empty: nothing."""
        if not self._unread:
            return ""
        number = len(self._unread)
        places = "in one place" if number == 1 else f"in {number:,} places"
        return (
            f"labels that have changed since cannot be read {places}: their pictures keep those of the last "
            f"plan (first: {self._unread[0]})"
        )

    def now(self, columns: Mapping[str, Any]) -> Mapping[str, Any]:
        """The columns of a delivered picture, with the labels that its data set gives it now."""
        if not _has_labels(columns):
            return columns
        found = self._labels.execute(
            "SELECT now FROM labels WHERE image = ?", (str(columns.get("image")),)
        ).fetchone()
        if found is None or found[0] is None or found[0] == _text(columns):
            return columns
        others = {name: value for name, value in columns.items() if name not in COLUMNS}
        return {**others, **json.loads(found[0])}


def _rows(manifest: Path, since: float, wrong: Callable[[str], None]) -> Iterator[Row]:
    """The rows with boxes of its data sets on this disk that have changed since; `wrong` is told what cannot
    be read of these."""
    job = examine(manifest)[0] if manifest.is_file() else None
    if job is None:
        return
    diagnostics = Diagnostics(str(manifest), sink=lambda problem: wrong(str(problem)))
    context = InputsContext(job, diagnostics)
    for index, source in enumerate(job.inputs):
        if source.kind is dataset:
            try:
                for row in dataset.relabelled_rows(context.source(index), since):
                    if _has_labels(row.columns):
                        yield row
            except OSError as error:
                if not isinstance(error, FileNotFoundError):  # one that is gone changes nothing
                    wrong(f"{error.filename}: {error.strerror or error}")
            except UsageError as error:
                wrong(str(error).partition("\n")[0])
    if diagnostics.failed:
        try:
            diagnostics.judge(1)
        except ManifestError as error:
            wrong(error.problems[0].message)


def _has_labels(columns: Mapping[str, Any]) -> bool:
    return columns.get("boxes") is not None or are_objects(columns.get("objects"))


def _text(columns: Mapping[str, Any]) -> str:
    """The labels of a row, as they are compared."""
    return json.dumps(
        {name: columns[name] for name in COLUMNS if name in columns}, sort_keys=True, ensure_ascii=False
    )
