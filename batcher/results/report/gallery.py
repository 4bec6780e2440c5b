"""The tasks as the page shows them: what went in, what came out, and why nothing did.

Rule: rows are read and told one by one; what the page cannot hold is counted, never dropped in silence.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batcher.ledger import database, placements
from batcher.ledger.plan_models import present_geometry
from batcher.ledger.totals import credits
from batcher.results.report.thumbnails import ThumbnailSource
from batcher.storage.destination import Destination
from batcher.task import State, value_at

MOST = 20_000
"""Tasks in one page; a browser filters so many at once."""
LONGEST_TEXT = 400
"""Characters of a value as the page shows it; metadata.jsonl has it whole."""
CHOICES = 60
"""A column with more values than this is searched as text, not chosen from a list."""

ROWS = """
SELECT t.id, t.name, t.state, t.columns, t.params, t.media, coalesce(t.reason, s.detail), s.cost,
       coalesce(s.total_time, s.inference_time),
       (SELECT json_group_array(json_array(path, sha256, width, height)) FROM
         (SELECT {path} AS path, sha256, width, height FROM files
          WHERE task = t.id AND delivered_at IS NOT NULL ORDER BY position)),
       {facts}, {rejected_by}, {warnings}
FROM tasks t LEFT JOIN submissions s ON s.id = t.submission {kept}
"""
KEPT = "LEFT JOIN source_pictures k ON k.task = t.id"
IN_STATE = "WHERE t.plan = ? AND t.state = ? ORDER BY t.id LIMIT ?"
ONE = "WHERE t.id = ?"
WARNINGS = """
(SELECT json_group_array(w.value) FROM picture_checks c, json_each(c.warnings) w
 WHERE c.task = t.id AND c.warnings IS NOT NULL)
"""
NEWEST = """
SELECT task FROM files WHERE delivered_at IS NOT NULL ORDER BY delivered_at DESC, task DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class GalleryPicture:
    """A delivered file, with its size in pixels; `placement` (x, y, width, height) is the rectangle of it
    that the original covers, where the model's geometry tells."""

    source: ThumbnailSource
    width: int
    height: int
    placement: tuple[int, int, int, int] | None = None

    def as_json(self, link: Callable[[ThumbnailSource], str]) -> list[Any]:
        """Plain values, in the order in which the page reads them."""
        return [self.source.digest, link(self.source), self.width, self.height, self.placement]


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """One task. `before` is the local picture it started from, `before_url` where a remote one lies;
    `cost` in credits, `seconds` at the provider; `rejected_by` a check or a person, for `reason`; `warnings`
    are what the checks said of its pictures."""

    id: int
    name: str
    state: str
    columns: Mapping[str, Any]
    params: Mapping[str, Any]
    reason: str | None
    cost: float | None
    seconds: float | None
    before: ThumbnailSource | None
    before_url: str | None
    after: tuple[GalleryPicture, ...]
    rejected_by: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[ThumbnailSource, ...]:
        """Every picture of it on this disk."""
        return (*([self.before] if self.before else ()), *(picture.source for picture in self.after))

    def as_json(self, link: Callable[[ThumbnailSource], str]) -> dict[str, Any]:
        """Plain values, empty ones left out; `link` says where the page finds a picture."""
        fields = {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "after": [picture.as_json(link) for picture in self.after],
            "before": [self.before.digest, link(self.before)] if self.before else None,
            "beforeUrl": self.before_url,
            "columns": {name: _short(value) for name, value in self.columns.items()},
            "params": {name: _short(value) for name, value in self.params.items()},
            "reason": self.reason,
            "by": self.rejected_by,
            "warnings": [_short(text) for text in self.warnings],
            "cost": self.cost,
            "seconds": self.seconds,
        }
        return {key: value for key, value in fields.items() if value not in (None, [], {})}


def rows(
    connection: sqlite3.Connection, pictures: Destination, counts: Mapping[str, int]
) -> Iterator[GalleryRow]:
    """The tasks of the present plan, delivered ones first, at most MOST; `counts` by state."""
    number = int(database.meta(connection, "plan") or 0)
    reader = _Reader(connection, pictures)
    for state, most in shares(counts).items():
        yield from reader.shown(IN_STATE, number, state, most)


def shares(counts: Mapping[str, int], most: int = MOST) -> dict[str, int]:
    """How many tasks of each state are shown: trouble is never crowded out by what went well."""
    calm = (State.DONE.value, State.PLANNED.value)
    room = most // 4
    trouble = {}
    for state in (
        State.FAILED,
        State.REJECTED,
        State.DOUBTFUL,
        State.READY,
        State.SUBMITTED,
        State.SUBMITTING,
    ):
        trouble[state.value] = min(counts.get(state, 0), room)
        room -= trouble[state.value]
    remaining = most - sum(trouble.values())
    done = min(counts.get(calm[0], 0), remaining)
    return {calm[0]: done, **trouble, calm[1]: min(counts.get(calm[1], 0), remaining - done)}


def newest(connection: sqlite3.Connection, pictures: Destination, most: int) -> list[GalleryRow]:
    """The tasks that were delivered last, latest first."""
    return rows_of(connection, pictures, (task for (task,) in connection.execute(NEWEST, (most,))))


def rows_of(connection: sqlite3.Connection, pictures: Destination, tasks: Iterable[int]) -> list[GalleryRow]:
    """These tasks, each once, in this order."""
    wanted = dict.fromkeys(tasks)
    reader = _Reader(connection, pictures)
    return [shown for task in wanted for shown in reader.shown(ONE, task)]


class Facets:
    """The columns by whose values the gallery can be filtered, gathered on the way."""

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}
        self._rows = 0

    def notice(self, shown: GalleryRow) -> None:
        """One more row."""
        self._rows += 1
        for name, value in shown.columns.items():
            self._columns.setdefault(name, _Column()).notice(value, self._rows)

    def as_json(self) -> dict[str, list[Any]]:
        """Values in order of appearance. Left out: columns with one value or too many, those that hardly
        repeat, and all but the most legible of columns that divide the tasks alike (path, stem, name)."""
        alike: dict[int, str] = {}
        for name, column in self._columns.items():
            if not 1 < len(column.values) <= CHOICES or 2 * len(column.values) > self._rows:
                continue
            known = alike.get(column.pattern)
            if known is None or column.illegible < self._columns[known].illegible:
                alike[column.pattern] = name
        return {name: list(column.values) for name, column in self._columns.items() if name in alike.values()}


class _Column:
    """The values of one column; `pattern` is the same for columns that divide the rows alike."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.pattern = 0
        self._numbers = True

    def notice(self, value: Any, row: int) -> None:
        if len(self.values) > CHOICES:
            return
        self._numbers &= isinstance(value, int | float)
        place = self.values.setdefault(_chosen(value), len(self.values))
        self.pattern = hash((self.pattern, row, place))

    @property
    def illegible(self) -> tuple[bool, int]:
        """Numbers say less than words, long words less than short ones."""
        return self._numbers, sum(map(len, self.values))


def _chosen(value: Any) -> str:
    """A value as the page's own String() spells it."""
    if isinstance(value, bool | None):
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(_short(value))


def linked_from(folder: str | Path) -> Callable[[ThumbnailSource], str]:
    """Links that work where the page lies: relative to `folder`, a path or the URL of a store's. What lies
    elsewhere in a store is only named: no browser opens it."""
    inside = f"{folder}/"

    def link(source: ThumbnailSource) -> str:
        path = str(source.path)
        if path.startswith(inside):
            path = path.removeprefix(inside)
        elif "://" not in path and "://" not in inside:
            path = os.path.relpath(path, folder)
        return quote(os.fsencode(path), safe="/:" if "://" in path else "/")

    return link


class _Reader:
    """Rows of one ledger, as the page shows them."""

    def __init__(self, connection: sqlite3.Connection, pictures: Destination) -> None:
        # An older ledger that is only read has no such table or column yet.
        look = "SELECT 1 FROM sqlite_master WHERE name = 'source_pictures'"
        kept = connection.execute(look).fetchone()
        folder, moved_from = database.folder_of_files(connection)
        self._query = ROWS.format(
            facts="k.facts" if kept else "NULL",
            kept=KEPT if kept else "",
            path=f"coalesce({moved_from}, {folder} || '/' || name)",
            rejected_by="t.rejected_by" if "rejected_by" in database.columns(connection, "tasks") else "NULL",
            warnings=WARNINGS if database.columns(connection, "picture_checks") else "NULL",
        )
        self._connection = connection
        self._rule = cache(lambda: present_geometry(connection))
        self._pictures = pictures

    def shown(self, which: str, *values: Any) -> Iterator[GalleryRow]:
        """The tasks that `which` selects."""
        return (self._shown(*row) for row in self._connection.execute(f"{self._query} {which}", values))

    def _shown(
        self,
        number: int,
        name: str,
        state: str,
        columns: str,
        params: str,
        media: str,
        reason: str | None,
        cost: int | None,
        seconds: float | None,
        files: str,
        facts: str | None,
        rejected_by: str | None,
        warnings: str | None,
    ) -> GalleryRow:
        of, asked = json.loads(columns), json.loads(params)
        before, before_url = _before(asked, json.loads(media))

        def picture(file: str, sha256: str, width: int, height: int) -> GalleryPicture:
            placed = (
                {} if facts is None else placements.of_picture(self._rule, facts, of, asked, (width, height))
            )
            placement = tuple(placed["placement"].values()) if before and "placement" in placed else None
            source = ThumbnailSource(sha256, self._pictures.address(file))
            return GalleryPicture(source, width, height, placement)

        return GalleryRow(
            id=number,
            name=name,
            state=state,
            columns=of,
            params=asked,
            reason=reason if state != State.DONE else None,
            cost=None if cost is None else credits(cost),
            seconds=seconds,
            before=before,
            before_url=before_url,
            after=tuple(picture(*file) for file in json.loads(files)),
            rejected_by=rejected_by,
            warnings=tuple(map(str, json.loads(warnings or "[]"))),
        )


def _before(params: Mapping[str, Any], media: Mapping[str, str]) -> tuple[ThumbnailSource | None, str | None]:
    """The picture that was edited: the first media input that is no mask, else the first URL in the body."""
    for name, digest in media.items():
        path = value_at(params, name)
        if "mask" not in name and isinstance(path, str):
            return ThumbnailSource(digest, path), None
    for name, value in params.items():
        if "mask" not in name and isinstance(value, str) and value.startswith(("http://", "https://")):
            return None, value[:2000]
    return None, None


def _short(value: Any) -> Any:
    """A value as the page shows it."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return value[: LONGEST_TEXT - 1] + "…"
    return value
