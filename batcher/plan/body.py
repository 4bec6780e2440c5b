"""The request body: `params` compiled once, filled per task.

Rule: the body says what `params` says, nothing more. A local file in it counts by its content, not by
its path.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from batcher.catalog import Model, Parameter, canvas, convert
from batcher.errors import BadDownload
from batcher.manifest import Manifest
from batcher.manifest.templates import TemplateError, Values, compile_template
from batcher.plan.picking import Picker
from batcher.plan.rows import PICTURE_SUFFIXES, Row, is_stored, is_url, placed

Digest = Callable[[str], str]
Measure = Callable[[str], tuple[int, int]]
Render = Callable[[Values], Any]

HELD = 20_000
"""Digests and converted cells kept in memory, each; the ledger keeps all digests."""


class BadValue(Exception):
    """A parameter that cannot be had for a row; `variable` is the name that is not there, if any, and
    `picture` says that it is the row's picture that does not allow it."""

    def __init__(self, part: Part, message: str, variable: str = "", *, picture: bool = False) -> None:
        super().__init__(message)
        self.part = part
        self.variable = variable
        self.picture = picture


@dataclass(frozen=True, slots=True)
class Part:
    """One parameter of the body that has something to fill in; `lone` where it is but `{{ lone }}`."""

    name: str
    render: Render
    variables: frozenset[str] = frozenset()
    lone: str = ""
    parameter: Parameter | None = None
    nested: bool = False
    picks: bool = False

    @property
    def media(self) -> bool:
        """Whether the model says that it holds a picture."""
        return bool(self.parameter and self.parameter.media)

    @property
    def converts(self) -> bool:
        """Whether a table's text has to become something else here."""
        return bool(self.lone and self.parameter and self.parameter.type != "string")


class Body:
    """`params`, compiled. `constant` names what is the same in every task, `seeded` what needs the seed:
    `{{ seed }}` and the pickers. `arranges`: a `canvas` is worked out for each picture."""

    def __init__(self, manifest: Manifest, model: Model | None, digest: Digest, measure: Measure) -> None:
        self._manifest = manifest
        self._digest = digest
        self._measure = measure
        self._model = model
        self.arranges = canvas.KEY in manifest.params and canvas.applies(model)
        self._files: dict[tuple[str, str], tuple[str, str] | None] = {}
        self._cells: dict[tuple[str, str], Any] = {}
        self._skeleton = dict(manifest.params)
        parts = [part for name in manifest.params if (part := _part(name, manifest.params[name], model))]
        self.constant = self._skeleton.keys() - {part.name for part in parts}
        self.seeded = tuple(part for part in parts if manifest.seed is not None and _needs_seed(part))
        # The order of the identity's text, which must not change when the manifest's order does.
        self._parts = tuple(sorted((p for p in parts if p not in self.seeded), key=lambda part: part.name))
        self._layout = self._identity_layout()
        self._used = tuple((name, as_json(name)) for name in sorted(self._used_variables()))
        files = (part for part in self._parts if part.media or _may_be_file(part))
        self._files_of_columns = tuple(part for part in files if part.variables)
        self._own = tuple((part, part.media, part.converts, _may_be_file(part)) for part in self._parts)

    @property
    def variables(self) -> list[str]:
        """Every variable that the body reads, in the manifest's order of parameters."""
        order = {name: index for index, name in enumerate(self._skeleton)}
        parts = sorted((*self._parts, *self.seeded), key=lambda part: order[part.name])
        text = (name for part in parts if not part.media for name in sorted(part.variables))
        return list(dict.fromkeys(text))

    @property
    def seeds(self) -> frozenset[str]:
        """Every variable of the parts that need the seed."""
        return frozenset().union(*(part.variables for part in self.seeded))

    @property
    def pictured(self) -> list[frozenset[str]]:
        """The variables of each parameter that may hold a picture."""
        parts = (*self._parts, *self.seeded)
        return [part.variables for part in parts if part.media or _may_be_file(part)]

    def part(self, name: str) -> Part | None:
        """The part of that name; None where the parameter is constant or not there."""
        return next((part for part in (*self._parts, *self.seeded) if part.name == name), None)

    def fill(
        self, row: Row, values: Values, wrong: list[BadValue]
    ) -> tuple[dict[str, Any], dict[str, str], str]:
        """The body but for what needs the seed, the digests of its files, and the text of its identity.

        What cannot be had goes to `wrong`.
        """
        params = self._skeleton.copy()
        media: dict[str, str] = {}
        texts = []
        for part, is_media, converts, may_be_file in self._own:
            try:
                value = part.render(values)
                if converts and part.lone in row.text:
                    value = self._converted(part, value)
                elif is_media or may_be_file:
                    found = self._file(part, value, row)
                    if found is not None:
                        params[part.name], media[part.name] = found
                        texts.append(f'{{"file":"{found[1]}"}}')
                        continue
            except TemplateError as error:
                wrong.append(BadValue(part, str(error), error.variable))
                continue
            except BadValue as error:
                wrong.append(error)
                continue
            params[part.name] = value
            texts.append(as_json(value))
        if wrong:
            return params, media, ""
        if self.seeded:
            texts += [as_json(values.get(name)) for name in self._beside_seed]
        return params, media, self._layout % tuple(texts)

    def used(self, values: Values, media: Mapping[str, str]) -> str:
        """The text of the columns and axes that `params` uses, files by content: what a seed hangs on."""
        texts = [f"{quoted}:{as_json(values.get(name))}" for name, quoted in self._used]
        for part in self._files_of_columns:
            if part.name in media:
                texts.append(f"{part.name}:{media[part.name]}")
            else:
                texts.append(f"{part.name}:{as_json([values.get(name) for name in sorted(part.variables)])}")
        return ",".join(texts)

    def fill_seeded(
        self,
        params: dict[str, Any],
        media: dict[str, str],
        row: Row,
        values: Values,
        seeded: str,
        wrong: list[BadValue],
    ) -> str:
        """Fills in what needs the seed; gives its text. `seeded` is what the pickers hang on."""
        texts = []
        for part in self.seeded:
            try:
                value = part.render(Picker(seeded, part.name).beside(values) if part.picks else values)
                found = self._file(part, value, row) if part.media or _may_be_file(part) else None
            except TemplateError as error:
                wrong.append(BadValue(part, str(error), error.variable))
            except BadValue as error:
                wrong.append(error)
            else:
                params[part.name] = value
                if found is not None:
                    params[part.name], media[part.name] = found
                texts.append(as_json({"file": found[1]} if found else value))
        return ",".join(texts)

    def arrange(self, params: dict[str, Any], row: Row, wrong: list[BadValue]) -> None:
        """Puts the model's own parameters in place of `canvas`, for the picture at hand."""
        model = self._model
        assert model is not None, "`arranges` says so"
        assert model.geometry is not None, "`arranges` says so"
        part = self.part(canvas.KEY) or _CANVAS
        picture = params.get(model.geometry.input)
        try:
            asked = canvas.read(model, params.pop(canvas.KEY))
        except ValueError as error:
            wrong.append(BadValue(part, str(error)))
            return
        if not isinstance(picture, str):
            return  # it is missing, which is told
        try:
            if is_url(picture):
                raise ValueError("the size of a picture behind a URL is not known before it is sent")
            params |= canvas.arranged(model, asked, self._measure(picture))
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            message = f"{row.origin if row.origin in picture else picture[:300]}: {reason}"
            wrong.append(BadValue(_CANVAS, message, picture=True))

    def _identity_layout(self) -> str:
        """The model and the body as JSON, with a gap for each part; one thing, whatever the order."""
        filled = {part.name for part in self._parts}
        gaps = [(name, "%s") for name in sorted(filled)]
        fixed = [
            (name, as_json(value).replace("%", "%%"))
            for name, value in sorted(self._skeleton.items())
            if name in self.constant
        ]
        sources = [
            (part.name, as_json({"seeded": self._skeleton[part.name]}).replace("%", "%%"))
            for part in self.seeded
        ]
        beside = (name for part in self.seeded for name in part.variables - {"seed", "repeat"})
        self._beside_seed = sorted(set(beside))
        entries = [f"{as_json(name).replace('%', '%%')}:{text}" for name, text in (*gaps, *fixed, *sources)]
        entries += ["%s"] * len(self._beside_seed)
        return f"{self._manifest.model}\n{{{','.join(entries)}}}"

    def _used_variables(self) -> set[str]:
        parts = [part for part in (*self._parts, *self.seeded) if not part.media and not _may_be_file(part)]
        return set().union(*(part.variables for part in parts)) - {"seed", "repeat"}

    def _converted(self, part: Part, value: Any) -> Any:
        if not isinstance(value, str) or part.parameter is None:
            return value
        key = (part.name, value)
        if key not in self._cells:
            if len(self._cells) >= HELD:
                self._cells.clear()
            try:
                self._cells[key] = convert(part.parameter, value)
            except ValueError as error:
                raise BadValue(part, str(error)) from None
        return self._cells[key]

    def _file(self, part: Part, value: Any, row: Row) -> tuple[str, str] | None:
        """The absolute path and the digest of the local file that a value names; None when it is none."""
        if part.nested:
            for text in _strings(value):
                whole = os.path.isabs(text) or "://" in text
                if _like_picture(text) and whole and not is_url(text) and self._found(part, text, ""):
                    message = (
                        f"holds the local file {text} inside a list; only a parameter of its own is uploaded"
                    )
                    raise BadValue(part, message)
            return None
        if not isinstance(value, str) or is_url(value) or (not part.media and not _like_picture(value)):
            return None
        folder = row.part(part.lone).folder if part.lone in row.columns else ""
        found = self._found(part, value, folder)
        if found is None and part.media and value:
            places = [place for place in dict.fromkeys((folder, str(self._manifest.folder))) if place]
            looked = "" if os.path.isabs(value) or is_stored(value) else f" in {' or '.join(places)}"
            raise BadValue(part, f"there is no file {value[:300]!r}{looked}")
        return found

    def _found(self, part: Part, path: str, folder: str) -> tuple[str, str] | None:
        key = (folder, path)
        if key in self._files:
            return self._files[key]
        if len(self._files) >= HELD:
            self._files.clear()
        found = None
        for place in dict.fromkeys((folder, str(self._manifest.folder))):
            if place and found is None:
                found = self._digested(part, placed(place, path))
        self._files[key] = found
        return found

    def _digested(self, part: Part, path: str) -> tuple[str, str] | None:
        try:
            return path, self._digest(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except IsADirectoryError:
            raise BadValue(part, f"{path} is a folder, not a picture") from None
        except OSError as error:
            raise BadValue(part, f"{path} cannot be read: {error.strerror or error}") from None
        except BadDownload as error:
            raise BadValue(part, f"{path}: {error.message}", picture=True) from None


def as_json(value: Any) -> str:
    """One ASCII text per JSON value, whatever the order of its keys."""
    if type(value) is str:
        return encode_basestring_ascii(value)
    if type(value) is int or (type(value) is float and isfinite(value)):
        return repr(value)
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


_CANVAS = Part(canvas.KEY, lambda values: None)


def _needs_seed(part: Part) -> bool:
    return part.picks or "seed" in part.variables


def _part(name: str, value: Any, model: Model | None) -> Part | None:
    """The parameter, compiled; None where it is constant (a local file is not: its content counts)."""
    parameter = model.parameters.get(name) if model else None
    render, variables, lone, picks = _compiled(value)
    if render is None:
        if not (parameter and parameter.media):
            return None
        return Part(name, lambda values: value, parameter=parameter)
    return Part(name, render, variables, lone, parameter, nested=not isinstance(value, str), picks=picks)


def _compiled(value: Any) -> tuple[Render | None, frozenset[str], str, bool]:
    """How to render a value of `params`, lists and mappings with all that is in them (None: constant); the
    variables it reads; the one it is, if it is but that; whether it draws."""
    if isinstance(value, str):
        template = compile_template(value)
        render = None if template.constant else template.render
        return render, template.variables, template.lone or "", template.picks
    if not isinstance(value, dict | list):
        return None, frozenset(), "", False
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    inner = [(key, value[key], *_compiled(value[key])) for key in keys]
    variables = frozenset().union(*(names for _, _, _, names, _, _ in inner))
    picks = any(one for *_, one in inner)
    if not any(render for _, _, render, *_ in inner):
        return None, variables, "", False

    def render_mapping(values: Values) -> Any:
        return {key: render(values) if render else constant for key, constant, render, *_ in inner}

    def render_list(values: Values) -> Any:
        return [render(values) if render else constant for _, constant, render, *_ in inner]

    return (render_mapping if isinstance(value, dict) else render_list), variables, "", picks


def _may_be_file(part: Part) -> bool:
    """A model that the catalogue does not know may take a picture anywhere."""
    return part.parameter is None and (bool(part.lone) or part.nested)


def _like_picture(text: str) -> bool:
    return len(text) < 4096 and os.path.splitext(text)[1].lower() in PICTURE_SUFFIXES and "\n" not in text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
