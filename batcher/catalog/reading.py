"""The text of a model file -> Model, with the line of everything that is wrong.

Rule: the file is foreign data. It is composed to nodes, never constructed as objects, and only as
deep as a model file goes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

import yaml

from batcher.catalog.checking import KINDS, check
from batcher.catalog.model import Api, Media, Model, Parameter, Role, Type, nearest
from batcher.errors import ManifestError, Problem
from batcher.geometry import Geometry
from batcher.geometry.placing import Fit

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_TYPES: tuple[Type, ...] = get_args(Type)
SIDES = ("left", "top", "right", "bottom")
MAX_LENGTH = 1_000_000
MAX_DEPTH = 20


def read(text: str, file: str) -> Model:
    """The model that `text` describes; `file` is named in problems.

    Raises ManifestError with every problem found.
    """
    reader = _Reader(file, text.splitlines())
    if len(text) > MAX_LENGTH:
        reader.problem(f"is longer than {MAX_LENGTH} characters: no model file is", None)
        raise ManifestError(reader.problems)
    try:
        _refuse_depth(text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "nesting depth" in what:  # the C parser of a newer PyYAML gives up by itself, and earlier
            what = "nested too deeply"
        reader.problem(f"is not YAML: {what}", mark)
        raise ManifestError(reader.problems) from None
    model = reader.model(root)
    if reader.problems or model is None:
        raise ManifestError(reader.problems)
    return model


class _Reader:
    """Walks the nodes of one file and collects its problems."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.file = file
        self._lines = lines
        self.problems: list[Problem] = []

    def problem(self, message: str, mark: Any, key: str = "") -> None:
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        excerpt = self._lines[line - 1].replace("\t", " ") if 0 < line <= len(self._lines) else ""
        shown = len(excerpt) <= 200 and excerpt.isprintable()
        self.problems.append(Problem(message, self.file, line, column, key, excerpt if shown else ""))

    def model(self, root: yaml.Node | None) -> Model | None:
        keys = ("slug", "title", "description", "source", "api", "seconds", "price")
        if root is None:
            self.problem("is empty; a model file has `slug` and `parameters`", None)
            return None
        top = self.mapping(root, "", (*keys, "parameters", "example", "geometry"))
        slug = self.text(top, "slug")
        told = any(problem.key == "slug" for problem in self.problems)
        if "slug" in top and not told and not _SLUG.fullmatch(slug):
            what = f"{slug!r} is not a slug: letters, digits, '.', '_', '-'"
            self.problem(what, top["slug"].start_mark, "slug")
        for key in ("slug", "parameters"):
            if key not in top:
                self.problem(f"`{key}` is missing", root.start_mark, key)
        if self.problems and "parameters" not in top:
            return None
        model = Model(
            slug=slug,
            title=self.text(top, "title") or slug,
            api=self.one_of(top, "api", get_args(Api)) or "v2",
            seconds=self.positive(top, "seconds"),
            price=self.positive(top, "price"),
            parameters=self.parameters(top["parameters"]),
            description=self.text(top, "description"),
            source=self.text(top, "source"),
            example=self.values(top.get("example"), "example"),
        )
        if "geometry" in top:
            model = replace(model, geometry=self.geometry(top["geometry"], model))
        self.one_per_role(model, top["parameters"])
        self.example_fits(model, top.get("example"))
        return model

    def parameters(self, node: yaml.Node) -> Mapping[str, Parameter]:
        found = {}
        for name, child in self.mapping(node, "parameters").items():
            if not _NAME.fullmatch(name):
                self.problem(f"{name!r} is not a parameter name", child.start_mark, "parameters")
            found[name] = self.parameter(name, child)
        return found

    def parameter(self, name: str, node: yaml.Node) -> Parameter:
        path = f"parameters.{name}"
        keys = ("type", "required", "default", "minimum", "maximum", "allowed", "allowed_total", "list")
        fields = self.mapping(node, path, (*keys, "media", "role", "description"))
        type_: Type = self.one_of(fields, "type", _TYPES, path) or "string"
        if "type" not in fields:
            self.problem(f"`type` is missing: {', '.join(_TYPES)}", node.start_mark, path)
        allowed = self.sequence(fields.get("allowed"), f"{path}.allowed")
        total = self.whole(fields, "allowed_total", path)
        parameter = Parameter(
            name=name,
            type=type_,
            required=self.truth(fields, "required", path),
            default=self.value(fields.get("default"), f"{path}.default"),
            minimum=self.number(fields, "minimum", path),
            maximum=self.number(fields, "maximum", path),
            allowed=tuple(allowed),
            complete=total is None or total == len(allowed),
            allowed_total=total,
            media=self.one_of(fields, "media", get_args(Media), path),
            role=self.one_of(fields, "role", get_args(Role), path),
            description=self.text(fields, "description", path),
            many=self.truth(fields, "list", path),
        )
        self.makes_sense(parameter, fields, path)
        return parameter

    def geometry(self, node: yaml.Node, model: Model) -> Geometry | None:
        """Where the source lies; every word of it but `fit` and the numbers names a parameter."""
        path, before = "geometry", len(self.problems)
        names = ("input", "scale", "sides", "x", "y")
        fields = self.mapping(node, path, (*names, "fit", "canvas", "square", "share", "margins"))
        pictures = [name for name in model.media if model.parameters[name].media == "image"]
        margins = self.mapping(fields["margins"], f"{path}.margins", SIDES) if "margins" in fields else {}
        around = tuple(self.text(margins, side, f"{path}.margins") for side in SIDES) if margins else ()
        canvas = tuple(str(name) for name in self.sequence(fields.get("canvas"), f"{path}.canvas"))
        words: dict[str, Any] = {name: self.text(fields, name, path) for name in names}
        words["input"] = words["input"] or next(iter(pictures), "")
        rule = Geometry(
            **words,
            fit=self.one_of(fields, "fit", get_args(Fit), path) or "stretch",
            canvas=canvas,
            square=self.number(fields, "square", path),
            share=self.number(fields, "share", path) or 0.0,
            margins=around,
        )
        for name in (rule.input, *rule.parameters):
            if name not in model.parameters:
                self.problem(f"{name or 'input'!r} is not a parameter of the model", node.start_mark, path)
        if "" in around or len(canvas) > 2:
            self.problem(
                "`margins` has left, top, right, bottom; `canvas` one or two names", node.start_mark, path
            )
        if len(self.problems) > before:
            return None
        defaults = {name: model.parameters[name].default for name in rule.parameters}
        return replace(rule, defaults={name: value for name, value in defaults.items() if value is not None})

    def makes_sense(self, parameter: Parameter, fields: Mapping[str, yaml.Node], path: str) -> None:
        """What each key may be by itself is known; this is how they go together."""

        def wrong(key: str, message: str) -> None:
            self.problem(message, fields[key].start_mark, f"{path}.{key}")

        low, high = parameter.minimum, parameter.maximum
        for key in ("minimum", "maximum"):
            if key in fields and parameter.type not in ("integer", "number"):
                wrong(key, f"a {parameter.type} has no {key}")
                return
        if low is not None and high is not None and low > high:
            wrong("maximum", f"{high} is below the minimum, {low}")
        if parameter.media and parameter.type != "string":
            wrong("media", "a media input is a string (a path or a URL)")
        if parameter.role and parameter.type != "integer":
            wrong("role", f"the {parameter.role} is an integer")
        if parameter.many and (parameter.role or "default" in fields):
            wrong("list", "a list has no role and no default")
            return
        if parameter.allowed_total is not None and parameter.allowed_total < len(parameter.allowed):
            wrong("allowed_total", f"{len(parameter.allowed)} values are listed already")
        for key, values in (("allowed", parameter.allowed), ("default", (parameter.default,))):
            for value in values if key in fields else ():
                if reason := _misfit(parameter, value):
                    wrong(key, reason)

    def one_per_role(self, model: Model, node: yaml.Node) -> None:
        for role in get_args(Role):
            names = [p.name for p in model.parameters.values() if p.role == role]
            if len(names) > 1:
                self.problem(f"only one can be the {role}: {', '.join(names)}", node.start_mark, "parameters")

    def example_fits(self, model: Model, node: yaml.Node | None) -> None:
        if node is None or self.problems:
            return
        for finding in check(model, model.example):
            if not finding.warning:
                self.problem(finding.message, node.start_mark, f"example.{finding.parameter}")

    # Single values. A value of the wrong kind is a problem and reads as absent.

    def mapping(self, node: yaml.Node, path: str, keys: Iterable[str] = ()) -> dict[str, yaml.Node]:
        """Children by key. Keys outside `keys` (when given) and keys given twice are problems."""
        if not isinstance(node, yaml.MappingNode):
            self.problem("must be a mapping (`key: value` lines)", node.start_mark, path)
            return {}
        known, found = tuple(keys), dict[str, yaml.Node]()
        for key_node, child in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            inside = f"{path}.{key}".strip(".")
            if known and key not in known:
                meant = nearest(key, known)
                guess = f"did you mean {meant}?" if meant else f"known are {', '.join(known)}"
                self.problem(f"unknown key; {guess}", key_node.start_mark, inside)
            elif key in found:
                self.problem("is given twice", key_node.start_mark, inside)
            else:
                found[key] = child
        return found

    def sequence(self, node: yaml.Node | None, path: str) -> list[Any]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.problem("must be a list of values", node.start_mark, path)
            return []
        return [self.value(child, path) for child in node.value]

    def values(self, node: yaml.Node | None, path: str) -> dict[str, Any]:
        if node is None:
            return {}
        return {key: self.value(child, f"{path}.{key}") for key, child in self.mapping(node, path).items()}

    def value(self, node: yaml.Node | None, path: str) -> Any:
        """A single value; None for an absent node."""
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode):
            value = _scalar(node)
            if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
                return value
        self.problem("must be text, a number, or true or false", node.start_mark, path)
        return None

    def text(self, fields: Mapping[str, yaml.Node], key: str, path: str = "") -> str:
        value = self.of_type(fields, key, path, str, KINDS["string"])
        return " ".join(value.split()) if value else ""

    def truth(self, fields: Mapping[str, yaml.Node], key: str, path: str) -> bool:
        return bool(self.of_type(fields, key, path, bool, KINDS["boolean"]))

    def whole(self, fields: Mapping[str, yaml.Node], key: str, path: str) -> int | None:
        value = self.of_type(fields, key, path, int, KINDS["integer"])
        return value if isinstance(value, int) else None

    def number(self, fields: Mapping[str, yaml.Node], key: str, path: str = "") -> int | float | None:
        value = self.of_type(fields, key, path, int | float, KINDS["number"])
        return value if isinstance(value, int | float) else None

    def positive(self, fields: Mapping[str, yaml.Node], key: str) -> float | None:
        value = self.number(fields, key)
        if value is not None and value < 0:
            self.problem(f"{value} is negative", fields[key].start_mark, key)
        return None if value is None else float(value)

    def one_of(
        self, fields: Mapping[str, yaml.Node], key: str, words: tuple[Any, ...], path: str = ""
    ) -> Any:
        value = self.text(fields, key, path)
        if not value or value in words:
            return value or None
        meant = nearest(value, words)
        guess = f"; did you mean {meant}?" if meant else ""
        inside = f"{path}.{key}".strip(".")
        self.problem(f"{value!r} is not one of {', '.join(words)}{guess}", fields[key].start_mark, inside)
        return None

    def of_type(self, fields: Mapping[str, yaml.Node], key: str, path: str, type_: Any, kind: str) -> Any:
        node = fields.get(key)
        if node is None:
            return None
        value = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, type_) and (type_ is bool or not isinstance(value, bool)):
            return value
        self.problem(f"must be {kind}", node.start_mark, f"{path}.{key}".strip("."))
        return None


def _refuse_depth(text: str) -> None:
    """Composing recurses, in C beyond the end of the stack; parsing does not."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            mark: Any = event.start_mark  # the C parser has a class of its own for it
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)


def _misfit(parameter: Parameter, value: Any) -> str | None:
    model = Model(slug="a", parameters={parameter.name: parameter})
    whole = [value] if parameter.many else value
    finding = next(iter(check(model, {parameter.name: whole})), None)
    return None if finding is None or finding.warning else finding.message


def _scalar(node: yaml.ScalarNode) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError):
        return None  # a tag that its text does not fit: `!!int x`
