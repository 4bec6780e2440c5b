"""What a parameter is for one row: a cell as the parameter's type has it, nothing where the row says nothing.

Rule: nothing is paid for that nobody meant. A parameter that the model needs and that comes out empty, a null
that would be sent as a word, and the path of a file where a text is wanted are no values.
"""

from __future__ import annotations

from typing import Any

from batcher.job.catalog import convert
from batcher.job.manifest import Manifest
from batcher.job.manifest.templates import TemplateError, Values
from batcher.job.plan.local_files import LocalFiles
from batcher.job.plan.param_templates import BadValue, ParamTemplate, TemplateFault
from batcher.job.row import Row
from batcher.storage.pictures import has_picture_suffix

ABSENT = object()
"""Of a parameter that a row leaves out."""

HELD = 20_000
"""Converted cells kept in memory."""
LONGEST_SUFFIX = 6
"""Characters of a picture's, with its dot."""


class ParamValues:
    """The values of a job's parameters. `absent` has the variables that some row lacked, and the parameters
    that these rows left out therefore."""

    def __init__(self, manifest: Manifest, files: LocalFiles) -> None:
        self.absent: dict[str, ParamTemplate] = {}
        self._unchecked = frozenset(manifest.unchecked)
        self._files = files
        self._cells: dict[tuple[str, str], Any] = {}

    def of(self, param: ParamTemplate, values: Values, row: Row) -> Any:
        """The value, or ABSENT. Raises BadValue."""
        try:
            value = param.render(values)
        except TemplateError as error:
            if error.variable and error.variable == param.lone and param.optional:
                self.absent.setdefault(error.variable, param)
                return ABSENT
            cause = TemplateFault.EMPTY if error.is_null else TemplateFault.VALUE
            raise BadValue(param, str(error), error.variable, cause=cause) from None
        # What the catalogue does not know is sent as it is, and so are the manifest's own words.
        if param.parameter is None or not param.variables or param.name in self._unchecked:
            return value
        if isinstance(value, str) and _shows(value):
            return self._of_text(param, value, values, row)
        if isinstance(value, float) and param.parameter.type == "integer" and value.is_integer():
            return int(value)  # pandas writes whole numbers so, where a column has gaps
        return self._of_nothing(param, value) if value is None or isinstance(value, str) else value

    def _of_text(self, param: ParamTemplate, text: str, values: Values, row: Row) -> Any:
        if param.converts and param.lone in row.text:
            return self._converted(param, text)
        # A text without any of these holds no path: most prompts are done with here.
        if param.media or not ("/" in text or "." in text or "~" in text):
            return text
        for name in param.variables:
            value = values.get(name)
            if isinstance(value, str) and _may_be_path(value) and value in text:
                folder = row.part(name).folder if name in row.columns else ""
                if self._files.is_local(value, folder):
                    raise BadValue(
                        param,
                        f"`{name}` holds the path of a file of this machine, which would be sent as a text; "
                        f"{param.name} takes no picture",
                        cause=TemplateFault.PATH,
                    )
        return text

    def _of_nothing(self, param: ParamTemplate, value: str | None) -> Any:
        """Of a null, or a text that is empty or blank."""
        if not param.optional:
            raise BadValue(param, f"is empty; {param.name} must have a value", cause=TemplateFault.EMPTY)
        return value if value is not None and param.takes_empty_text else ABSENT

    def _converted(self, param: ParamTemplate, text: str) -> Any:
        key = (param.name, text)
        if key not in self._cells:
            if len(self._cells) >= HELD:
                self._cells.clear()
            assert param.parameter is not None, "`converts` says so"
            try:
                self._cells[key] = convert(param.parameter, text)
            except ValueError as error:
                raise BadValue(param, str(error)) from None
        return self._cells[key]


def _shows(text: str) -> bool:
    """Whether a person sees anything of a text: neither blanks nor signs without width, as spreadsheets and
    web pages leave them in a cell."""
    return any(one.isprintable() and not one.isspace() for one in text)


def _may_be_path(text: str) -> bool:
    return (
        text[:1] in ("/", "~")
        or "://" in text
        or ("." in text[-LONGEST_SUFFIX:] and has_picture_suffix(text))
    )
