"""The names of class labels in a dataset of `datasets`, which holds their numbers: of columns, and of what is
in them, as `objects: {bbox, category}`.

    {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
     "objects": {"category": {"feature": {"names": [...], "_type": "ClassLabel"}, "_type": "List"}, ...}}

Form: `Features.to_dict()`, which stands in Parquet files too.

Rule: a number of which the features say no name stays a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batcher.job.geometry.boxes import CLASS_KEYS
from batcher.job.labels.categories import Category

OF_OBJECTS = ("objects", "boxes")
"""Columns whose inner class labels are the classes of a picture's objects; `box_classes` are them itself."""
DEEPEST = 20


def with_labels(features: Any) -> dict[str, Any]:
    """The features of the columns in which there are class labels."""
    if not isinstance(features, dict):
        return {}
    return {str(name): one for name, one in features.items() if next(_lists(one), None) is not None}


def named(value: Any, feature: Any) -> Any:
    """A value of this feature, with the names of its class labels."""
    if isinstance(value, list):
        inner = _inner(feature)
        return value if inner is None else [named(one, inner) for one in value]
    if isinstance(value, dict):
        fields = feature if not _is_list(feature) else _fields_of_lists(feature)
        return {name: named(one, fields.get(name)) for name, one in value.items()} if fields else value
    names = _names(feature)
    known = type(value) is int and names is not None and 0 <= value < len(names)
    return names[value] if known and names is not None else value


def of_objects(features: Mapping[str, Any]) -> tuple[Category, ...]:
    """The classes of objects, in their order, with the numbers that the dataset has for them."""
    for column in OF_OBJECTS:
        inner = features.get(column)
        fields = _fields_of_lists(inner) if _is_list(inner) else inner
        classes = [fields.get(key) for key in CLASS_KEYS] if isinstance(fields, dict) else []
        for one in classes:
            for names in _lists(one):
                return tuple(Category(number, name) for number, name in enumerate(names))
    for names in _lists(features.get("box_classes")):
        return tuple(Category(number, name) for number, name in enumerate(names))
    return ()


def _lists(feature: Any, depth: int = 0) -> Iterator[list[str]]:
    """The lists of names in a feature, however deep they lie."""
    if (names := _names(feature)) is not None:
        yield names
    elif depth < DEEPEST and isinstance(feature, dict | list):
        for one in feature.values() if isinstance(feature, dict) else feature:
            yield from _lists(one, depth + 1)


def _names(feature: Any) -> list[str] | None:
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    whole = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    return names if whole else None


def _is_list(feature: Any) -> bool:
    return isinstance(feature, list) or (isinstance(feature, dict) and isinstance(feature.get("_type"), str))


def _inner(feature: Any) -> Any:
    """The feature of a list's items; None where it is no list."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    return feature.get("feature") if isinstance(feature, dict) and _is_list(feature) else None


def _fields_of_lists(feature: Any) -> dict[str, Any]:
    """Of a sequence of mappings, which older versions hold as a mapping of lists: a list of each field."""
    inner = _inner(feature)
    return {name: [one] for name, one in inner.items()} if isinstance(inner, dict) else {}
