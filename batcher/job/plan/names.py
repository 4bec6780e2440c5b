"""File names from foreign text.

Rule: whatever the data says, a name is one path component that every file system takes, and two
names that a person or a file system would take for one another have the same `name_key`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import TemplateError, compile_template
from batcher.job.row import PLAN_VARIABLES, Row
from batcher.storage.layout import is_kept_input

_NULL = "None"
MAX_BYTES = 150
"""Of UTF-8: room for an index, a suffix and `.part` within the 255 that file systems take."""


class OutputNames:
    """Output names of a job: its `output.name`, or the stem and every axis."""

    def __init__(self, manifest: Manifest, used: Sequence[str]) -> None:
        self._template = None if manifest.output.name is None else compile_template(manifest.output.name)
        self._job = manifest.name
        self._several = manifest.repeat > 1
        self._used = [name for name in used if name not in PLAN_VARIABLES]
        self.variables = frozenset() if self._template is None else self._template.variables
        self._row: Row | None = None
        self._beginning = ""
        self._cells: dict[int, tuple[Mapping[str, Any], str]] = {}

    def of(self, row: Row, cell: Mapping[str, Any], values: Mapping[str, Any], again: int) -> str:
        """The name of one task; `again` is how many identical tasks came before. Raises TemplateError."""
        if self._template is None:
            return self._default(row, cell, values["repeat"], again)
        if self._template.constant:
            return safe_name(self._template.source)
        try:
            name = self._template.render(values)
        except TemplateError as error:
            if not error.is_null:
                raise
            # A name is no text that is paid for: a null in it is a word as any other.
            name = self._template.render({key: _NULL if one is None else one for key, one in values.items()})
        return safe_name(spelled(name))

    def _default(self, row: Row, cell: Mapping[str, Any], repeat: int, again: int) -> str:
        if row is not self._row:
            self._row, self._beginning = row, self._of_row(row)
        held = self._cells.get(id(cell))
        if held is None or held[0] is not cell:
            if len(self._cells) >= 10_000:
                self._cells.clear()
            # The cell is kept beside its text, so that its id stays its own.
            held = self._cells[id(cell)] = (cell, "-".join([slug(spelled(one)) for one in cell.values()]))
        parts = [part for part in (self._beginning, held[1]) if part]
        if self._several:
            parts.append(str(repeat))
        if again and "stem" not in row.columns:  # a stem tells identical pictures apart
            parts.append(str(again + 1))
        return safe_name("-".join(parts) or self._job)

    def _of_row(self, row: Row) -> str:
        if "stem" in row.columns:
            return spelled(row.columns["stem"])
        parts = [slug(spelled(row.columns[name])) for name in self._used if name in row.columns]
        # Pictures that Python gave have no names of their own.
        kept = [value for value in row.columns.values() if isinstance(value, str) and is_kept_input(value)]
        return "-".join([*parts, *(value.rpartition("/")[2][:KEPT_DIGITS] for value in kept)])


KEPT_DIGITS = 8
"""Of the content of a picture that Python gave."""


def safe_name(text: str) -> str:
    """The text as a safe file name without suffix; safe names come back as they are."""
    if _PLAIN.fullmatch(text):
        return text
    name = "".join(_safe_character(one) for one in unicodedata.normalize("NFC", text))
    name = _trimmed(_DOTS.sub(".", unicodedata.normalize("NFC", name)))
    if _DEVICE.match(name):
        name = f"_{name}"
    if len(name.encode()) > MAX_BYTES:
        name = f"{_trimmed(_cut(name, MAX_BYTES - 9))}-{_short_hash(text)}"
    return name or "_"


def name_key(name: str) -> str:
    """What two names share that look alike or differ only in case."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return unicodedata.normalize("NFKC", folded.casefold())


@lru_cache(maxsize=4096)
def slug(value: str, limit: int = 48) -> str:
    """A value as a part of a name: no spaces, and short; what is cut or empty gets a short hash."""
    text = _SLUGGED.sub("_", value).strip("_.") if not _PLAIN.fullmatch(value) or " " in value else value
    if not text:
        return _short_hash(value)
    return text if len(text) <= limit else f"{text[: limit - 9].rstrip('_.-')}-{_short_hash(value)}"


def spelled(value: Any) -> str:
    """A JSON value as text: as in the manifest, not as in Python."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# What is safe already, and stays as it is: almost every name.
_PLAIN = re.compile(
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z))(?!.*\.\.)[a-z0-9_](?:[a-z0-9_. -]{0,118}[a-z0-9_-])?",
    re.IGNORECASE | re.ASCII,
)
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|\Z)", re.IGNORECASE)
_DOTS = re.compile(r"\.(?: *\.)+")
_SLUGGED = re.compile(r"[^\w.+-]+")
_FORBIDDEN = frozenset('<>:"/\\|?*')
# They look like separators and dots; NFKC knows some, a person sees the others so too.
_LOOK_ALIKES = frozenset("∕⁄⧸⧹∖⟋⟍․‥…")


@lru_cache(maxsize=4096)
def _safe_character(one: str) -> str:
    category = unicodedata.category(one)
    if category in ("Cf", "Mn") and (category == "Cf" or one in _INVISIBLE_MARKS):
        return ""
    if category in ("Cc", "Cs", "Cn", "Co", "Zl", "Zp") or one in _FORBIDDEN or one in _LOOK_ALIKES:
        return "_"
    if category == "Zs":
        return " "
    if not one.isascii() and _FORBIDDEN_OR_DOT.intersection(unicodedata.normalize("NFKC", one)):
        return "_"
    return one


_FORBIDDEN_OR_DOT = _FORBIDDEN | {"."}
_INVISIBLE_MARKS = frozenset(
    [
        *map(chr, range(0xFE00, 0xFE10)),
        *map(chr, range(0xE0100, 0xE01F0)),
        "\u034f",
        "\u180b",
        "\u180c",
        "\u180d",
    ]
)


def _trimmed(name: str) -> str:
    return name.lstrip(". -").rstrip(". ")


def _cut(name: str, size: int) -> str:
    return name.encode()[:size].decode(errors="ignore")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
