"""The provider's public list of models, as far as it can be understood, and its copy on this machine.

    read_list(data)          whatever JSON the provider answers -> ListedModels
    keep_list(...)           into the user's state folder, with its date
    kept_list()              from there, or None

Rule: the list's form is unproven. What is understood of it is used, what is not is passed over; it warns and
refuses nothing, and the shipped model files go before it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcher.job.catalog.model import Media, Model, Parameter, Type
from batcher.job.catalog.parameter_checks import ParameterProblem, check
from batcher.job.wording import nearest
from batcher.storage.user_state import user_state

FILE = "models.json"
LARGEST = 64 << 20
MOST_MODELS = 20_000
MOST_PARAMETERS = 500
LONGEST = 2_000
"""Characters of a text."""
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
SLUGS = ("slug", "model_slug", "model_name", "name", "id")
TITLES = ("title", "display_name", "model_title", "name")
RETIRED = (
    "is_depreciated",
    "is_deprecated",
    "depreciated",
    "deprecated",
    "retired",
    "is_retired",
    "archived",
)
SCHEMAS = ("parameters_schema", "parameters", "input_schema", "schema", "inputs")
TYPES: Mapping[str, Type] = {
    "string": "string", "str": "string", "text": "string", "enum": "string", "url": "string",
    "integer": "integer", "int": "integer", "number": "number", "float": "number", "double": "number",
    "boolean": "boolean", "bool": "boolean",
}  # fmt: skip
PICTURE = re.compile(r"(?:^|_)(image|mask)(?:_url|_image)?$", re.IGNORECASE)
"""Names of parameters that hold a picture: the list does not say which do."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model of the list. `model` has the parameters that are understood, `unchecked` the names of those
    whose values are not; `retired` is None where the list does not say."""

    model: Model
    retired: bool | None = None
    unchecked: tuple[str, ...] = ()

    def check(self, params: Mapping[str, Any], unchecked: Sequence[str] = ()) -> list[ParameterProblem]:
        """What the list has against these parameters, as far as it tells any."""
        return check(self.model, params, (*self.unchecked, *unchecked)) if self.model.parameters else []


@dataclass(frozen=True, slots=True)
class ProviderList:
    """The list as it was on a day (ISO), from a host."""

    as_of: str
    source: str
    models: Mapping[str, ListedModel] = field(default_factory=dict)


def retired_text(slug: str, listing: ProviderList | None) -> str:
    """What to say of a model that the list calls retired; empty where it does not."""
    listed = listing.models.get(slug) if listing is not None else None
    if listing is None or listed is None or not listed.retired:
        return ""
    return (
        f"{slug} is retired, says the provider's list of {listing.as_of}: its requests may be refused. "
        "`batcher models` lists the others"
    )


def unknown_text(slug: str, listing: ProviderList | None, known_slugs: Iterable[str]) -> str:
    """What to say of a model that the catalogue does not have; `known_slugs` are those that it has."""
    begin = f"{slug} is not in the catalogue"
    listed = None if listing is None else listing.models.get(slug)
    if listing is not None and listed is not None:
        if not listed.model.parameters:
            return f"{begin}, and the provider's list does not tell its parameters: they are not checked"
        return (
            f"{begin}: its parameters are compared with the provider's list of {listing.as_of}, and what "
            "differs is a warning"
        )
    near = nearest(slug, [*known_slugs, *(listing.models if listing is not None else ())])
    guess = f". Did you mean {near}?" if near else ""
    if listing is not None:
        return (
            f"{begin}, nor in the provider's list of {listing.as_of}: its parameters are not checked{guess}"
        )
    return f"{begin}: its parameters are not checked{guess}"


def kept_list() -> ProviderList | None:
    """The copy on this machine; None where there is none that can be read."""
    try:
        with (user_state() / FILE).open("rb") as file:
            content = json.loads(file.read(LARGEST))
        return ProviderList(str(content["as_of"]), str(content["source"]), read_list(content["models"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep_list(models: Mapping[str, ListedModel], *, as_of: str, source: str) -> Path:
    """Keeps the list in the user's state folder, as a whole. Raises DiskError."""
    from batcher.storage import destination  # which whoever only reads can do without

    path = user_state() / FILE
    content = {"as_of": as_of, "source": source, "models": [_plain(one) for one in models.values()]}
    with destination.disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        destination.replace(path, [json.dumps(content)])
    return path


def read_list(data: Any) -> dict[str, ListedModel]:
    """The models by slug; empty where no list of models is found in `data`."""
    found: dict[str, ListedModel] = {}
    for entry in _entries(data):
        slug = _first(entry, SLUGS, SLUG)
        if slug and slug not in found and len(found) < MOST_MODELS:
            found[slug] = _listed(slug, entry)
    return found


def _entries(data: Any, depth: int = 0) -> Sequence[Mapping[str, Any]]:
    """The longest list of mappings with a slug, at any of the upper places; a mapping by slugs is one too."""
    best: Sequence[Mapping[str, Any]] = ()
    if isinstance(data, list):
        best = [one for one in data if isinstance(one, dict) and _first(one, SLUGS, SLUG)]
    elif isinstance(data, dict) and depth < 3:
        by_slug = [{"slug": slug, **one} for slug, one in data.items() if isinstance(one, dict)]
        if any(_schema_of(one) or _retired(one) is not None for one in by_slug):
            return by_slug
        for inner in data.values():
            best = max(best, _entries(inner, depth + 1), key=len)
    return best


def _listed(slug: str, entry: Mapping[str, Any]) -> ListedModel:
    parameters: dict[str, Parameter] = {}
    unchecked = []
    required = _required(_schema_of(entry))
    for name, described in _parameters(_schema_of(entry)):
        if NAME.fullmatch(name) and len(parameters) < MOST_PARAMETERS:
            type_, is_list = _type(described)
            if type_ is None:
                unchecked.append(name)
            must = name in required or described.get("required") is True
            parameters[name] = _parameter(name, described, type_ or "string", must, is_list)
    title = _first(entry, TITLES) or slug
    description = _first(entry, ("description",))
    return ListedModel(
        Model(slug, title=title, description=description, parameters=parameters),
        _retired(entry),
        tuple(unchecked),
    )


def _schema_of(entry: Mapping[str, Any]) -> Any:
    """What says the parameters: a mapping, a list, or either as JSON text."""
    for key in SCHEMAS:
        schema = entry.get(key)
        if isinstance(schema, str):
            try:
                schema = json.loads(schema)
            except (ValueError, RecursionError):
                continue
        if isinstance(schema, dict | list) and schema:
            return schema
    return None


def _parameters(schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of a JSON Schema, or of a list with name and type; of anything else none."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        for name, described in properties.items() if isinstance(properties, dict) else ():
            if isinstance(described, dict):
                yield name, described
    elif isinstance(schema, list):
        for described in schema:
            if isinstance(described, dict) and isinstance(described.get("name"), str):
                yield described["name"], described


def _required(schema: Any) -> frozenset[str]:
    names = schema.get("required") if isinstance(schema, dict) else None
    return (
        frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else frozenset()
    )


def _type(described: Mapping[str, Any]) -> tuple[Type | None, bool]:
    """The type, where it is one that values are checked by, and whether a list of such."""
    named = described.get("type")
    items = described.get("items")
    if named == "array":
        inner = TYPES.get(str(items.get("type"))) if isinstance(items, dict) else None
        return inner, True
    return (TYPES.get(named.lower()) if isinstance(named, str) else None), described.get("list") is True


def _parameter(
    name: str, described: Mapping[str, Any], type_: Type, required: bool, is_list: bool
) -> Parameter:
    low, high = (_number(described.get(key)) for key in ("minimum", "maximum"))
    if type_ not in ("integer", "number") or (low is not None and high is not None and low > high):
        low = high = None
    allowed = described.get("enum", described.get("allowed"))
    default = described.get("default")
    named = PICTURE.search(name) if type_ == "string" else None
    media: Media | None = None if named is None else "mask" if named[1].lower() == "mask" else "image"
    return Parameter(
        name=name,
        type=type_,
        required=required,
        default=default if isinstance(default, str | int | float) else None,
        minimum=low,
        maximum=high,
        allowed=tuple(one for one in allowed if isinstance(one, str | int | float))
        if isinstance(allowed, list)
        else (),
        media=media,
        description=_first(described, ("description",)),
        is_list=is_list,
    )


def _first(entry: Mapping[str, Any], keys: Sequence[str], form: re.Pattern[str] | None = None) -> str:
    """The first of these keys that holds text (of that form), on one line."""
    for key in keys:
        value = entry.get(key)
        if isinstance(value, str) and value.strip() and (form is None or form.fullmatch(value)):
            return " ".join(value[:LONGEST].split())
    return ""


def _retired(entry: Mapping[str, Any]) -> bool | None:
    for key in RETIRED:
        value = entry.get(key)
        if isinstance(value, bool | int):
            return bool(value)
        if isinstance(value, str) and value.strip():
            return value.strip().lower() in ("true", "yes", "1", "y")
    return None


def _number(value: Any) -> int | float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if usable else None


def _plain(listed: ListedModel) -> dict[str, Any]:
    """As `read_list` understands it again."""
    return {
        "slug": listed.model.slug,
        "title": listed.model.title,
        "description": listed.model.description,
        "retired": listed.retired,
        "parameters": [
            {
                "name": p.name,
                "type": None if p.name in listed.unchecked else p.type,
                "required": p.required,
                "default": p.default,
                "minimum": p.minimum,
                "maximum": p.maximum,
                "allowed": list(p.allowed),
                "list": p.is_list,
                "description": p.description,
            }
            for p in listed.model.parameters.values()
        ],
    }
