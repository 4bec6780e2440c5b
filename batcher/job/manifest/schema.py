"""A JSON Schema of manifests, for editors: completion, descriptions, and a first check while typing.

    schema(models)          every key of the grammar, and for each model its parameters
    params_schema(model)    those of one model

Rule: it is drawn from the grammar: its types, its defaults, and the docstrings below its keys. What the
grammar takes the schema takes; the schema alone may let a mistake pass, which the grammar tells then.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from batcher.job.catalog import Model, Parameter, canvas
from batcher.job.catalog.model_file import SLUG
from batcher.job.manifest import durations
from batcher.job.manifest.field_types import DURATION, Json
from batcher.job.manifest.grammar import ManifestFile

TEMPLATE: Json = {"type": "string", "pattern": r"\{[{%]"}


def schema(models: Iterable[Model]) -> Json:
    """The schema (draft 7) as plain data, with the parameters of these models."""
    models = list(models)
    keys = ManifestFile.model_json_schema(schema_generator=_Generator)
    keys = _inlined(keys, keys.pop("$defs"))
    slugs = [model.slug for model in models]
    keys["properties"]["model"] |= {"anyOf": [{"enum": slugs}, {"type": "string", "pattern": f"^{SLUG}$"}]}
    del keys["properties"]["model"]["type"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A batcher job",
        **keys,
        "description": "A manifest: it expands into one task per image.",
        "required": ["model"],
        "allOf": [rule for model in models for rule in _rules(model)],
        "definitions": {model.slug: _parameters(model) for model in models},
    }


class _Generator(GenerateJsonSchema):
    """Draws what people may write: an absent key instead of null, durations with their units."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        drawn = self.generate_inner(schema["schema"])
        default = schema.get("default")
        if default in (None, ()) or isinstance(default, BaseModel):
            return drawn
        if drawn.get("pattern") == DURATION["pattern"]:
            default = durations.spelled(default)
        elif isinstance(default, float) and default.is_integer():
            default = int(default)
        return {**drawn, "default": list(default) if isinstance(default, tuple) else default}

    def dict_schema(self, schema: core_schema.DictSchema) -> Json:
        names = self.generate_inner(schema["keys_schema"])
        values = self.generate_inner(schema["values_schema"])
        return {
            "type": "object",
            **({"propertyNames": names} if names != {"type": "string"} else {}),
            **({"additionalProperties": values} if values else {}),
            **({"minProperties": schema["min_length"]} if "min_length" in schema else {}),
        }

    def model_schema(self, schema: core_schema.ModelSchema) -> Json:
        drawn = super().model_schema(schema)
        for section in schema["cls"].__mro__:
            if section is BaseModel:
                break
            for key, description in _docstrings(section).items():
                drawn["properties"][key]["description"] = description
        # What the grammar requires and a file may lack comes from the file's place: `schema` has the rest.
        return {key: value for key, value in drawn.items() if key not in ("title", "description", "required")}

    def field_title_should_be_set(self, _: Any) -> bool:
        return False


def _docstrings(section: type[BaseModel]) -> dict[str, str]:
    """What stands below the keys of a section of the grammar, each as one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        key.target.id: " ".join(ast.literal_eval(below.value).split())
        for key, below in pairwise(tree.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def _inlined(schema: Any, definitions: Json) -> Any:
    """The schema with each section where it is used: draft 7 knows no words beside a `$ref`."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _inlined(value, definitions) for key, value in schema.items()}
    if reference := schema.pop("$ref", None):
        section = _inlined(definitions[reference.removeprefix("#/$defs/")], definitions)
        return {**section, **schema}
    return schema


def _rules(model: Model) -> list[Json]:
    """The parameters of a model where it is the job's; strictly, unless some pass unchecked."""
    its = {"properties": {"model": {"const": model.slug}}, "required": ["model"]}
    names = [*model.parameters, *([canvas.KEY] if canvas.applies(model) else [])]
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


def params_schema(model: Model) -> Json:
    """The schema (draft 7) of `params` of one model, strictly: what a form asks for."""
    whole = _parameters(model)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **whole,
        "required": list(model.required),
        "additionalProperties": False,
    }


def _parameters(model: Model) -> Json:
    properties = {name: _parameter(one) for name, one in model.parameters.items()}
    if canvas.applies(model):
        properties[canvas.KEY] = _CANVAS
    return {"type": "object", "title": model.title, "properties": properties}


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
    value: Json = {"type": parameter.type}
    if parameter.minimum is not None:
        value["minimum"] = parameter.minimum
    if parameter.maximum is not None:
        value["maximum"] = parameter.maximum
    kinds = [value]
    if parameter.allowed:
        kinds = [{"enum": list(parameter.allowed)}] + ([] if parameter.complete else [value])
    if parameter.is_list:
        items = {"anyOf": [*kinds, TEMPLATE]}
        kinds = [{"type": "array", "items": items}, TEMPLATE]
    elif parameter.type != "string" or parameter.allowed:
        kinds.append(TEMPLATE)
    drawn: Json = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    drawn = {**drawn, "description": parameter.description or parameter.name}
    if parameter.default is not None:
        drawn["default"] = parameter.default
    return drawn
