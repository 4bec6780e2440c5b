"""A JSON Schema of manifests, for editors: completion, descriptions, and a first check while typing.

    schema(models)      every key of the grammar, and for each model its parameters

Rule: what the grammar takes the schema takes; the schema alone may let a mistake pass, which the grammar
tells then. A test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from batcher.catalog import Model, Parameter, canvas
from batcher.manifest import grammar
from batcher.manifest.grammar import RESERVED

Json = dict[str, Any]

TEMPLATE: Json = {"type": "string", "pattern": r"\{[{%]"}
DURATION: Json = {
    "type": "string",
    "pattern": r"^\s*[0-9]{1,9}(\.[0-9]{1,9})? ?(ms|s|m|h|d)\s*$",
    "examples": ["500ms", "2s", "5m", "1h", "7d"],
}


def schema(models: Iterable[Model]) -> Json:
    """The schema (draft 7) as plain data, with the parameters of these models."""
    known = list(models)
    top = _section(grammar.Manifest, _TOP)
    top["properties"]["model"] = _told(
        {"anyOf": [{"enum": [model.slug for model in known]}, {"type": "string", "pattern": _SLUG}]},
        "The slug of the model to run; one that the catalogue does not know runs unchecked.",
    )
    top["required"] = ["model"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A batcher job",
        "description": "A manifest: it expands into one task per image.",
        **top,
        "allOf": [rule for model in known for rule in _rules(model)],
        "definitions": {model.slug: _parameters(model) for model in known},
    }


def _section(part: type[grammar.Part] | type[grammar.Matrix], keys: Mapping[str, Json]) -> Json:
    """The keys of a part of the grammar; those with few words, and defaults, are taken from it."""
    properties: Json = {}
    for name, found in keys.items():
        words = _words(part.model_fields[name].annotation)
        default = part.model_fields[name].default
        plain = isinstance(default, str | int | float) and "default" not in found
        properties[name] = {
            **({"enum": words} if words else {}),
            **({"default": default} if plain and not _is_duration(found) else {}),
            **found,
        }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _words(annotation: Any) -> list[str]:
    """The words of a Literal, or of one that may be left out."""
    inner = get_args(annotation)
    if inner and all(isinstance(one, str) for one in inner):
        return list(inner)
    return next((found for one in inner if one is not type(None) and (found := _words(one))), [])


def _is_duration(found: Json) -> bool:
    return bool(found.get("pattern") == DURATION["pattern"])


def _told(found: Json, description: str, **more: Any) -> Json:
    return {**found, "description": description, **more}


def _words_of(description: str) -> Json:
    """A key whose words stand in the grammar."""
    return {"description": description}


def _text(description: str, **more: Any) -> Json:
    return {"type": "string", "description": description, **more}


def _whole(description: str, least: int = 1, **more: Any) -> Json:
    return {"type": "integer", "minimum": least, "description": description, **more}


def _one_or_more(item: Json, description: str) -> Json:
    return {"anyOf": [item, {"type": "array", "items": item}], "description": description}


_SLUG = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_VARIABLE = {"pattern": r"^[^\W\d]\w*$", "not": {"enum": list(RESERVED)}}
_ROW: Json = {"type": "object"}

_SOURCE = _section(
    grammar.Source,
    {
        "images": _one_or_more(
            {"type": "string"},
            "Pictures: a glob, a folder, a file, a URL, s3://bucket/..., or a list of these. Columns: image, "
            "stem, name, suffix, folder; width and height when a template names them.",
        ),
        "table": _text(
            "A table: .csv, .tsv, .jsonl, .json, .parquet, or .txt (a row per line, column text); s3://...; "
            "- reads JSON Lines from standard input."
        ),
        "dataset": _text(
            "A Hugging Face imagefolder (metadata.jsonl or .csv beside the pictures, or class folders as the "
            "column label), a dataset that `datasets` saved to disk, or Parquet with pictures inside."
        ),
        "rows": {"type": "array", "items": _ROW, "description": "Rows written down here."},
        "filter": _text(
            "Keeps the rows for which this is true.", pattern=r"^\s*\{\{", examples=["{{ width >= 512 }}"]
        ),
        "sample": _whole("So many rows, drawn by the job's seed: the same rows every time."),
        "order": _one_or_more({"type": "string"}, "Columns to sort by; a - in front sorts downwards."),
        "limit": _whole("At most so many rows, after filter, sample and order."),
        "companions": {
            "type": "object",
            "propertyNames": _VARIABLE,
            "additionalProperties": {"type": "string"},
            "description": "Files beside each row, as columns.",
            "examples": [{"mask": "../masks/{{ stem }}.png"}],
        },
        "missing": _words_of("What a missing companion is: wrong, or meant: the row is left out then."),
        "empty": _words_of("Whether the source may have no rows, as a nightly inbox may."),
    },
)
_SOURCE["oneOf"] = [{"required": [kind]} for kind in grammar.SOURCE_KINDS]

_MATRIX: Json = {
    "type": "object",
    "description": "Axes, as in GitHub Actions: every combination of their values.",
    "propertyNames": _VARIABLE,
    "properties": {
        "include": {
            "type": "array",
            "items": {"type": "object", "propertyNames": _VARIABLE},
            "description": "Extends the combinations that it does not change, or stands as one of its own.",
        },
        "exclude": {
            "type": "array",
            "items": {"type": "object", "minProperties": 1},
            "description": "Combinations to leave out, by axes and columns.",
        },
    },
    "additionalProperties": {"type": "array", "minItems": 1},
}

_LIMITS = _section(
    grammar.Limits,
    {
        "rpm": {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "none"}],
            "default": 60,
            "description": "Calls per minute that the account allows; none: unpaced (dedicated endpoints).",
        },
        "metered": _words_of("Which calls count against the rate; auto finds out."),
        "in_flight": _whole("Tasks in flight at a time.", maximum=100_000),
        "downloads": _whole("Downloads at a time.", maximum=1_000),
        "max_cost": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Credits that a run may spend; it stops before.",
        },
        "max_duration": _told(DURATION, "Stops submitting in time to be done after so long."),
    },
)

_RETRY = _section(
    grammar.Retry,
    {
        "attempts": _whole("Submits of one task."),
        "statuses": {
            "type": "array",
            "items": {"type": "integer", "minimum": 400, "maximum": 599},
            "default": [429, 502, 503, 504],
            "description": "Answers to a submit after which it is tried again.",
        },
        "backoff": _section(
            grammar.Backoff,
            {
                "first": _told(DURATION, "The first wait.", default="1s"),
                "max": _told(DURATION, "The longest wait.", default="60s"),
            },
        ),
        "failed": _whole("How often a task that ran and FAILED is submitted again.", 0),
        "doubtful": _words_of("What to do when the answer to a submit was lost."),
        "expired": _words_of("What to do when a result was gone before it could be fetched."),
    },
)

_POLL = _section(
    grammar.Poll,
    {
        "delay": _told(DURATION, "Wanted mean delay between a result and noticing it.", default="1s"),
        "every": _told(DURATION, "A fixed interval instead."),
    },
)
_POLL["not"] = {"required": ["delay", "every"]}

_OUTPUT = _section(
    grammar.Output,
    {
        "dir": _text("Where pictures go, from the manifest's folder; default out/<name>."),
        "name": _text(
            "The name of each picture, without suffix; default: the stem and every axis.",
            minLength=1,
            examples=["{{ stem }}-{{ season }}"],
        ),
    },
)

_TOP: Mapping[str, Json] = {
    "name": _text("The job's name; default: the file's.", minLength=1, maxLength=100),
    "model": {},
    "api": _words_of("The API's version; default: the catalogue's, else v2."),
    "inputs": _one_or_more(_SOURCE, "Where rows come from: one source, or a list of them."),
    "combine": _words_of("How several sources meet: every row with every row, or side by side."),
    "matrix": _MATRIX,
    "repeat": _whole("Variants of each; the column repeat is 0, 1, ...", maximum=1_000_000),
    "seed": {
        "type": "integer",
        "description": "Makes {{ seed }}, choice(...), uniform(a, b), randint(a, b) stable per task.",
    },
    "params": {
        "type": "object",
        "description": "The request body. Text in {{ }} is filled in; a lone {{ x }} keeps its type.",
    },
    "output": _OUTPUT,
    "limits": _LIMITS,
    "retry": _RETRY,
    "poll": _POLL,
    "result_ttl": _told(DURATION, "How long the provider keeps a result, from submission.", default="1h"),
    "uploads": _words_of("Local pictures are uploaded once per content, or sent inside the request."),
    "price": {
        "type": "number",
        "minimum": 0,
        "description": "Credits per image, for estimates until bills are known; max_cost reserves no less.",
    },
    "unchecked": _one_or_more({"type": "string"}, "Parameters of a known model to pass without a check."),
}


def _rules(model: Model) -> list[Json]:
    """The parameters of a model where it is the job's; strictly, unless some pass unchecked."""
    its = {"properties": {"model": {"const": model.slug}}, "required": ["model"]}
    arranged = canvas.parameters(model) if canvas.applies(model) else ()
    names = [*model.parameters, *([canvas.KEY] if arranged else [])]
    strict: Json = {"propertyNames": {"enum": names}, "required": list(model.required)}
    params = {"$ref": f"#/definitions/{model.slug}"}
    return [
        {"if": its, "then": {"properties": {"params": params}}},
        {
            "if": {**its, "not": {"required": ["unchecked"]}},
            "then": {
                "properties": {"params": strict},
                **({"required": ["params"]} if model.required else {}),
            },
        },
    ]


def _parameters(model: Model) -> Json:
    found = {name: _parameter(one) for name, one in model.parameters.items()}
    if canvas.applies(model):
        found[canvas.KEY] = _CANVAS
    return {"type": "object", "title": model.title, "properties": found}


_ASPECT: Json = {"type": "string", "examples": ["16:9", "4:3", "1:1", "{{ aspect }}"]}
_CANVAS: Json = {
    "description": "The shape that each picture is extended to, in the model's own parameters.",
    "anyOf": [
        _ASPECT,
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["aspect"],
            "properties": {
                "aspect": _ASPECT,
                "anchor": {"anyOf": [{"enum": list(canvas.ANCHORS)}, TEMPLATE], "default": "center"},
            },
        },
    ],
}


def _parameter(parameter: Parameter) -> Json:
    """The values that a parameter takes, or a template that gives one."""
    found: Json = {"type": parameter.type}
    if parameter.minimum is not None:
        found["minimum"] = parameter.minimum
    if parameter.maximum is not None:
        found["maximum"] = parameter.maximum
    kinds = [found]
    if parameter.allowed:
        kinds = [{"enum": list(parameter.allowed)}] + ([] if parameter.complete else [found])
    if parameter.many:
        items = {"anyOf": [*kinds, TEMPLATE]}
        kinds = [{"type": "array", "items": items}, TEMPLATE]
    elif parameter.type != "string" or parameter.allowed:
        kinds.append(TEMPLATE)
    told: Json = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    told = {**told, "description": parameter.description or parameter.name}
    if parameter.default is not None:
        told["default"] = parameter.default
    return told
