"""The request body: `params` compiled once, filled per task.

Rule: the body says what `params` says, nothing more. A local file in it counts by its content, not by
its path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batcher.catalog import Model, canvas, convert
from batcher.manifest import Manifest
from batcher.manifest.templates import TemplateError, Values
from batcher.plan.files import Digest, Files
from batcher.plan.parts import BadValue, Part, as_json, compiled, may_be_file
from batcher.plan.picking import Picker
from batcher.plan.rows import Row, is_url

Measure = Callable[[str], tuple[int, int]]

HELD = 20_000
"""Converted cells kept in memory."""


class Body:
    """`params`, compiled. `constant` names what is the same in every task, `seeded` what needs the seed:
    `{{ seed }}` and the pickers. `arranges`: a `canvas` is worked out for each picture."""

    def __init__(self, manifest: Manifest, model: Model | None, digest: Digest, measure: Measure) -> None:
        self._manifest = manifest
        self._measure = measure
        self._model = model
        self.arranges = canvas.KEY in manifest.params and canvas.applies(model)
        self._files = Files(str(manifest.folder), digest)
        self._cells: dict[tuple[str, str], Any] = {}
        self._skeleton = dict(manifest.params)
        parts = [part for name in manifest.params if (part := compiled(name, manifest.params[name], model))]
        self.constant = self._skeleton.keys() - {part.name for part in parts}
        self.seeded = tuple(part for part in parts if manifest.seed is not None and _needs_seed(part))
        # The order of the identity's text, which must not change when the manifest's order does.
        self._parts = tuple(sorted((p for p in parts if p not in self.seeded), key=lambda part: part.name))
        self._linked = {part.name: self._skeleton[part.name] for part in self._parts if self._is_link(part)}
        self._layout = self._identity_layout()
        self._used = tuple((name, as_json(name)) for name in sorted(self._used_variables()))
        files = (part for part in self._parts if part.media or may_be_file(part))
        self._files_of_columns = tuple(part for part in files if part.variables)
        self._own = tuple(
            (part, part.converts, part.media or may_be_file(part))
            for part in self._parts
            if part.name not in self._linked
        )

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
        return [part.variables for part in parts if part.media or may_be_file(part)]

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
        for part, converts, holds_files in self._own:
            try:
                value = part.render(values)
                if converts and part.lone in row.text:
                    value = self._converted(part, value)
                elif holds_files:
                    found = self._files.named(part, value, row)
                    if found is not None:
                        params[part.name], of_part, text = found
                        media |= of_part
                        texts.append(text)
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
            elif inside := sorted(name for name in media if name.startswith(f"{part.name}.")):
                texts += [f"{name}:{media[name]}" for name in inside]
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
                found = self._files.named(part, value, row) if part.media or may_be_file(part) else None
            except TemplateError as error:
                wrong.append(BadValue(part, str(error), error.variable))
            except BadValue as error:
                wrong.append(error)
            else:
                params[part.name] = value
                if found is not None:
                    params[part.name], of_part, _ = found
                    media |= of_part
                texts.append(found[2] if found else as_json(value))
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
        gaps = [
            (part.name, _literal(self._linked[part.name]) if part.name in self._linked else "%s")
            for part in self._parts
        ]
        fixed = [
            (name, _literal(value)) for name, value in sorted(self._skeleton.items()) if name in self.constant
        ]
        sources = [(part.name, _literal({"seeded": self._skeleton[part.name]})) for part in self.seeded]
        beside = (name for part in self.seeded for name in part.variables - {"seed", "repeat"})
        self._beside_seed = sorted(set(beside))
        entries = [f"{_literal(name)}:{text}" for name, text in (*gaps, *fixed, *sources)]
        entries += ["%s"] * len(self._beside_seed)
        return f"{self._manifest.model}\n{{{','.join(entries)}}}"

    def _is_link(self, part: Part) -> bool:
        """Whether it is one picture behind a URL for all: no file, and nothing to fill in."""
        value = self._skeleton[part.name]
        return not part.variables and not part.picks and isinstance(value, str) and is_url(value)

    def _used_variables(self) -> set[str]:
        parts = [part for part in (*self._parts, *self.seeded) if not part.media and not may_be_file(part)]
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


_CANVAS = Part(canvas.KEY, lambda values: None)


def _literal(value: Any) -> str:
    """A JSON value in a layout with gaps."""
    return as_json(value).replace("%", "%%")


def _needs_seed(part: Part) -> bool:
    return part.picks or "seed" in part.variables
