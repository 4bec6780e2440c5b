"""Captions: the text beside each picture that trainers want, from its prompt or from a template.

Rule: a caption is never made up. A picture of which the template knows too little has none, and that is said.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from batcher import errors
from batcher.job.manifest.templates import TemplateError, compile_template
from batcher.progress.summary import several
from batcher.results.export.items import ExportItem

PROMPT = "{{ prompt }}"
"""The template where none is given."""
SHOWN = 8


class Captions:
    """Renders `template` over the columns of each picture. Raises UsageError where it cannot be read."""

    def __init__(self, template: str) -> None:
        try:
            self._template = compile_template(template)
        except TemplateError as error:
            raise errors.UsageError(f"--captions: {error}") from None
        if self._template.picks:
            raise errors.UsageError("--captions: a caption is not drawn; write what is to stand there")
        self.number = 0
        self._without = 0
        self._first_without = ""

    def require(self, columns: Collection[str]) -> None:
        """Raises UsageError where no picture has a column that the template needs."""
        if unknown := sorted(self._template.required - set(columns)):
            names = ", ".join(sorted(columns)[:SHOWN])
            more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
            raise errors.UsageError(
                f"--captions: no picture has a column {unknown[0]}; there are {names}{more}"
            )

    def of(self, item: ExportItem) -> str:
        """The caption of one picture, without the space around it; empty where it has none."""
        if self._template.constant:
            value: Any = self._template.source
        else:
            try:
                value = self._template.render(item.values)
            except TemplateError as error:
                return self._none(item, f"it has no `{error.variable}`" if error.variable else str(error))
        if value is None:
            return self._none(item, "it would be empty")
        text = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).strip()
        if not text:
            return self._none(item, "it would be empty")
        self.number += 1
        return text

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        if not self._without:
            return []
        have = several(self._without, "picture has", "pictures have")
        return [f"{have} no caption (first: {self._first_without})"]

    def _none(self, item: ExportItem, why: str) -> str:
        self._without += 1
        self._first_without = self._first_without or f"{item.folder}/{item.name}: {why}"
        return ""
