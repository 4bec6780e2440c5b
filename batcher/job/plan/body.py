"""The request body: `params` compiled once, filled per task.

Rule: the body says what `params` says, nothing more. A local file in it counts by its content, not by
its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batcher.job.catalog import Model, canvas
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import Values
from batcher.job.plan.local_files import LocalFiles
from batcher.job.plan.param_templates import (
    BadValue,
    ParamTemplate,
    TemplateFault,
    as_json,
    compiled,
    may_be_file,
)
from batcher.job.plan.param_values import ABSENT, ParamValues
from batcher.job.plan.pickers import Picker
from batcher.job.plan.plan_context import PlanContext
from batcher.job.row import Row
from batcher.storage.addresses import has_no_host, is_url


class Body:
    """`params`, compiled. `constant` names what is the same in every task, `seeded` what needs the seed:
    `{{ seed }}` and the pickers. `arranges`: a `canvas` is worked out for each picture."""

    def __init__(self, manifest: Manifest, model: Model | None, plan_context: PlanContext) -> None:
        self._manifest = manifest
        self._read_size = plan_context.read_size
        self._model = model
        self.arranges = canvas.KEY in manifest.params and canvas.applies(model)
        self._files = LocalFiles(str(manifest.folder), plan_context)
        self._values = ParamValues(manifest, self._files)
        self._skeleton = dict(manifest.params)
        templates = [
            param for name in manifest.params if (param := compiled(name, manifest.params[name], model))
        ]
        self.constant = self._skeleton.keys() - {param.name for param in templates}
        self.seeded = tuple(param for param in templates if manifest.seed is not None and _needs_seed(param))
        # The order of the identity's text, which must not change when the manifest's order does.
        self._templates = tuple(
            sorted(
                (param for param in templates if param not in self.seeded),
                key=lambda param: param.name,
            )
        )
        self._linked = {
            param.name: self._skeleton[param.name] for param in self._templates if self._is_link(param)
        }
        self._layout = self._identity_layout()
        self._used = tuple((name, as_json(name)) for name in sorted(self._used_variables()))
        files = (param for param in self._templates if param.media or may_be_file(param))
        self._files_of_columns = tuple(param for param in files if param.variables)
        self._holding_files = {param.name for param in templates if param.media or may_be_file(param)}
        self._own = tuple(param for param in self._templates if param.name not in self._linked)

    @property
    def variables(self) -> list[str]:
        """Every variable that the body reads, in the manifest's order of parameters."""
        order = {name: index for index, name in enumerate(self._skeleton)}
        templates = sorted((*self._templates, *self.seeded), key=lambda param: order[param.name])
        text = (name for param in templates if not param.media for name in sorted(param.variables))
        return list(dict.fromkeys(text))

    @property
    def absent(self) -> Mapping[str, ParamTemplate]:
        """The variables that some row lacked, and the parameter that it left out therefore."""
        return self._values.absent

    @property
    def seeds(self) -> frozenset[str]:
        """Every variable of the templates that need the seed."""
        return frozenset().union(*(param.variables for param in self.seeded))

    @property
    def pictured(self) -> list[frozenset[str]]:
        """The variables of each parameter that may hold a picture."""
        templates = (*self._templates, *self.seeded)
        return [param.variables for param in templates if param.media or may_be_file(param)]

    def param(self, name: str) -> ParamTemplate | None:
        """The parameter of that name; None where the parameter is constant or not there."""
        return next((param for param in (*self._templates, *self.seeded) if param.name == name), None)

    def fill(
        self, row: Row, values: Values, wrong: list[BadValue]
    ) -> tuple[dict[str, Any], dict[str, str], str]:
        """The body but for what needs the seed, the digests of its files, and the text of its identity.

        What cannot be had goes to `wrong`.
        """
        params = self._skeleton.copy()
        media: dict[str, str] = {}
        texts = []
        for param in self._own:
            try:
                texts.append(self._put(param, values, row, params, media))
            except BadValue as error:
                wrong.append(error)
        if wrong:
            return params, media, ""
        if self.seeded:
            texts += [as_json(values.get(name)) for name in self._beside_seed]
        return params, media, self._layout % tuple(texts)

    def _put(
        self,
        param: ParamTemplate,
        values: Values,
        row: Row,
        params: dict[str, Any],
        media: dict[str, str],
    ) -> str:
        """Puts a parameter into `params`, or takes it out, and the digests of its files into `media`; gives
        the text by which a task is known. Raises BadValue."""
        value = self._values.of(param, values, row)
        if value is ABSENT:
            del params[param.name]
            return "null"
        files = self._files.named(param, value, row) if param.name in self._holding_files else None
        if files is None:
            params[param.name] = value
            return as_json(value)
        params[param.name] = files.value
        media |= files.digests
        return files.identity

    def used(self, values: Values, media: Mapping[str, str]) -> str:
        """The text of the columns and axes that `params` uses, files by content: what a seed hangs on."""
        texts = [f"{quoted}:{as_json(values.get(name))}" for name, quoted in self._used]
        for param in self._files_of_columns:
            if param.name in media:
                texts.append(f"{param.name}:{media[param.name]}")
            elif inside := sorted(name for name in media if name.startswith(f"{param.name}.")):
                texts += [f"{name}:{media[name]}" for name in inside]
            else:
                texts.append(
                    f"{param.name}:{as_json([values.get(name) for name in sorted(param.variables)])}"
                )
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
        for param in self.seeded:
            variables = Picker(seeded, param.name).added_to(values) if param.picks else values
            try:
                texts.append(self._put(param, variables, row, params, media))
            except BadValue as error:
                wrong.append(error)
        return ",".join(texts)

    def arrange(self, params: dict[str, Any], row: Row, wrong: list[BadValue]) -> None:
        """Puts the model's own parameters in place of `canvas`, for the picture at hand."""
        model = self._model
        assert model is not None, "`arranges` says so"
        assert model.geometry is not None, "`arranges` says so"
        param = self.param(canvas.KEY) or _CANVAS
        if params.get(canvas.KEY) is None:
            params.pop(canvas.KEY, None)  # the row asks for none
            return
        picture = params.get(model.geometry.input)
        try:
            asked = canvas.parse(model, params.pop(canvas.KEY))
        except ValueError as error:
            wrong.append(BadValue(param, str(error)))
            return
        if not isinstance(picture, str):
            return  # it is missing, which is told
        try:
            if is_url(picture):
                raise ValueError("the size of a picture behind a URL is not known before it is sent")
            params |= canvas.fill(model, asked, self._read_size(picture))
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            message = f"{row.origin if row.origin in picture else picture[:300]}: {reason}"
            wrong.append(BadValue(_CANVAS, message, cause=TemplateFault.PICTURE))

    def _identity_layout(self) -> str:
        """The model and the body as JSON, with a gap for each param; one thing, whatever the order."""
        gaps = [
            (param.name, _literal(self._linked[param.name]) if param.name in self._linked else "%s")
            for param in self._templates
        ]
        fixed = [
            (name, _literal(value)) for name, value in sorted(self._skeleton.items()) if name in self.constant
        ]
        sources = [(param.name, _literal({"seeded": self._skeleton[param.name]})) for param in self.seeded]
        beside = (name for param in self.seeded for name in param.variables - {"seed", "repeat"})
        self._beside_seed = sorted(set(beside))
        entries = [f"{_literal(name)}:{text}" for name, text in (*gaps, *fixed, *sources)]
        entries += ["%s"] * len(self._beside_seed)
        return f"{self._manifest.model}\n{{{','.join(entries)}}}"

    def _is_link(self, param: ParamTemplate) -> bool:
        """Whether it is one picture behind a URL for all: no file, and nothing to fill in."""
        value = self._skeleton[param.name]
        fixed = not param.variables and not param.picks
        return fixed and isinstance(value, str) and is_url(value) and not has_no_host(value)

    def _used_variables(self) -> set[str]:
        templates = [
            param for param in (*self._templates, *self.seeded) if not param.media and not may_be_file(param)
        ]
        return set().union(*(param.variables for param in templates)) - {"seed", "repeat"}


_CANVAS = ParamTemplate(canvas.KEY, lambda values: None)


def _literal(value: Any) -> str:
    """A JSON value in a layout with gaps."""
    return as_json(value).replace("%", "%%")


def _needs_seed(param: ParamTemplate) -> bool:
    return param.picks or "seed" in param.variables
