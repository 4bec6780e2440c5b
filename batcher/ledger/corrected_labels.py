"""Label files that were corrected after their picture was delivered: read anew at each plan and each export.

Rule: a picture shows what it shows, and its labels are what its file says now. A file that is gone, or cannot
be read any more, changes nothing: what was known of it when the picture came stays.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from batcher.job.geometry import LabelError, Size
from batcher.job.labels import label_file, read_label_file
from batcher.ledger import source_facts
from batcher.ledger.relabelling import changed_text
from batcher.storage.addresses import is_stored

OfRow = Callable[[Mapping[str, Any]], Mapping[str, Any]]
HELD = 10_000
"""Files whose labels are kept: a picture has a row for each variant of it."""
KEPT = """
SELECT t.id, t.columns, t.params, k.facts
FROM source_pictures k CROSS JOIN tasks t ON t.id = k.task
WHERE t.plan = ? AND t.columns LIKE '%"labels":%'
"""


class CorrectedLabels:
    """Reads label files anew. `changed` is how many pictures had other labels before."""

    def __init__(self, *, stored: bool = True, of_row: OfRow = lambda columns: columns) -> None:
        """`stored`: those in object stores too, a request each. `of_row` gives a row with the labels that its
        data set has now."""
        self.changed = 0
        self._of_row = of_row
        self._stored = stored
        self._read = lru_cache(maxsize=HELD)(_labels)

    def row(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns of a row, with the labels that stand in its data set now."""
        now = self._of_row(columns)
        self.changed += now is not columns
        return dict(now)

    def of(self, facts: str | None, columns: Mapping[str, Any], source: Any) -> str | None:
        """What is known of a source picture, with the labels that its file says now; `source` is where the
        picture lies."""
        path = label_file(columns, source) if facts and isinstance(source, str) else None
        if facts is None or path is None or (is_stored(path) and not self._stored):
            return facts
        recorded = json.loads(facts)
        now = self._read(path, (recorded["width"], recorded["height"]))
        known = {key: value for key, value in recorded.items() if key in source_facts.OF_LABELS}
        if now is None or known == now:
            return facts
        self.changed += 1
        size = {key: value for key, value in recorded.items() if key not in source_facts.OF_LABELS}
        return source_facts.as_text(size | now)

    def sentence(self) -> str:
        """How many were, in a sentence; empty: none was."""
        return changed_text(self.changed, "the label files")


def corrected_facts(
    connection: sqlite3.Connection, plan: int, parameter: str, labels: CorrectedLabels
) -> Iterator[tuple[int, str]]:
    """The tasks of the plan of this number whose label file says something else now than the ledger knows,
    and what is known of their source then. `parameter` holds the picture."""
    for task, columns, params, facts in connection.execute(KEPT, (plan,)).fetchall():
        now = labels.of(facts, json.loads(columns), json.loads(params).get(parameter))
        if now is not None and now != facts:
            yield task, now


def correct(connection: sqlite3.Connection, plan: int, parameter: str, labels: CorrectedLabels) -> None:
    """Writes them down, inside the transaction that is open."""
    connection.executemany(source_facts.KEEP, list(corrected_facts(connection, plan, parameter, labels)))


def _labels(path: str, size: Size) -> dict[str, Any] | None:
    """As JSON gives it back; None where the file cannot be read."""
    try:
        text = source_facts.as_text(source_facts.of_labels(read_label_file(path, size)))
    except LabelError:
        return None
    read: dict[str, Any] = json.loads(text)
    return read
