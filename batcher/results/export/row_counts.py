"""What the rows of an export hold, counted as they leave: for its card.

Rule: counts add up whoever counted them and in whatever order; what is not known is counted as that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LABEL = "label"
"""The column that says what a whole picture shows."""


@dataclass(slots=True)
class RowCounts:
    """Of some rows: how many objects of each class, pictures of each label and of each model; `cost` in
    micro-credits, without the `unpriced` pictures, of which it is not known."""

    classes: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    cost: int = 0
    unpriced: int = 0

    def add(self, values: Mapping[str, Any], *, original: bool) -> None:
        """One more row."""
        boxes, classes = values.get("boxes"), values.get("box_classes")
        if isinstance(classes, list):
            self.classes.update(_name(one) for one in classes)
        elif isinstance(boxes, list) and boxes:
            self.classes[""] += len(boxes)
        if values.get(LABEL) is not None:
            self.labels[_name(values[LABEL])] += 1
        if original:
            return  # it was there before, and cost nothing here
        self.models[str(values.get("model") or "")] += 1
        if values.get("cost") is None:
            self.unpriced += 1
        else:
            self.cost += round(values["cost"] * 1_000_000)

    def update(self, other: RowCounts) -> None:
        """Those of other rows too."""
        self.classes.update(other.classes)
        self.labels.update(other.labels)
        self.models.update(other.models)
        self.cost += other.cost
        self.unpriced += other.unpriced


def _name(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
