"""Templates of a manifest: `{{ }}` over columns and axes, compiled once and rendered a million times.

Rule: a template is foreign code. It runs in a sandbox (`template_sandbox.py`), strictly, and gives the same
value for the same variables, always: nothing random, nothing of the clock, nothing that is not there. What a
picker (`choice`, `uniform`, `randint`) gives is a variable too: whoever renders brings it (`plan.picking`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta, nodes

from batcher.job.manifest import template_sandbox
from batcher.job.manifest.template_sandbox import MAX_TEXT, NullInText
from batcher.job.yaml_document import LONE_SURROGATE

PICKERS = frozenset({"choice", "uniform", "randint"})
"""Functions that draw a value for the task; a variable of such a name that is not called is a variable."""

Values = Mapping[str, Any]


class TemplateError(Exception):
    """A template that cannot be read or rendered; `variable` is the name that is not there, if any, and
    `is_null` says that one has no value: null in a text, or what is not in a list."""

    def __init__(self, message: str, variable: str = "", *, is_null: bool = False) -> None:
        super().__init__(message)
        self.variable = variable
        self.is_null = is_null


@dataclass(frozen=True, slots=True)
class Template:
    """One compiled template.

    `variables` are the names it reads, `required` those it cannot do without (no `default`, no
    `is defined`). `lone` is the name where the template is nothing but `{{ name }}`. `expression` says that
    it is one `{{ }}` and nothing else, `picks` that it calls a picker, `draws` that one has several values to
    choose from. `render` raises TemplateError.
    """

    source: str
    render: Callable[[Values], Any]
    variables: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    lone: str | None = None
    expression: bool = False
    picks: bool = False
    draws: bool = False

    @property
    def constant(self) -> bool:
        """Whether there is nothing to render: the text is the value."""
        return self.render is _UNRENDERED


def compile_template(source: str) -> Template:
    """The template of one text. A lone `{{ expression }}` keeps its type; all else gives text.

    Raises TemplateError when its syntax is wrong.
    """
    if not _DELIMITER.search(source):
        return Template(source, _UNRENDERED)
    if len(source) > MAX_TEXT:
        raise TemplateError(f"the template is longer than {MAX_TEXT} characters")
    template_sandbox.begin()
    try:
        tree = _ENVIRONMENT.parse(source)
        picked = _picked(tree)
        variables = frozenset(meta.find_undeclared_variables(tree)) - frozenset(_ENVIRONMENT.globals) - picked
        lone = _lone(tree)
        render = _fast(tree) or (_expression(source) if lone else _text(source))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"the template cannot be read: {error.message or error}") from None
    except (jinja2.TemplateError, RecursionError, ValueError, TypeError, OverflowError) as error:
        raise TemplateError(f"the template cannot be read: {error}") from None
    name = lone.name if isinstance(lone, nodes.Name) and lone.name in variables else None
    required = variables - _optional(tree)
    return Template(
        source,
        render,
        variables,
        required,
        name,
        expression=bool(lone),
        picks=bool(picked),
        draws=any(_may_differ(call) for call in _picks(tree)),
    )


_DELIMITER = re.compile(r"\{[{%#]")


def _never(values: Values) -> Any:
    raise AssertionError("a constant is not rendered")


_UNRENDERED: Callable[[Values], Any] = _never


_ENVIRONMENT = template_sandbox.environment()


def _lone(tree: nodes.Template) -> nodes.Expr | None:
    """The expression where the whole template is one `{{ expression }}`."""
    if len(tree.body) == 1 and isinstance(output := tree.body[0], nodes.Output) and len(output.nodes) == 1:
        only = output.nodes[0]
        return None if isinstance(only, nodes.TemplateData) else only
    return None


def _fast(tree: nodes.Template) -> Callable[[Values], Any] | None:
    """Text and plain variables only, as almost all templates are: no Jinja at run time."""
    if len(tree.body) != 1 or not isinstance(output := tree.body[0], nodes.Output):
        return None
    layout, names = "", list[str]()
    for node in output.nodes:
        if isinstance(node, nodes.TemplateData):
            layout += node.data.replace("%", "%%")
        elif isinstance(node, nodes.Name) and node.name not in _ENVIRONMENT.globals:
            layout += "%s"
            names.append(node.name)
        else:
            return None
    if layout == "%s" and len(names) == 1:
        return _variable(names[0])
    return _layout(layout, tuple(names))


def _variable(name: str) -> Callable[[Values], Any]:
    def render(values: Values) -> Any:
        try:
            return values[name]
        except KeyError:
            raise _unknown(name) from None

    return render


def _layout(layout: str, names: tuple[str, ...]) -> Callable[[Values], str]:
    def one(values: Values) -> str:
        try:
            value = values[first]
        except KeyError:
            raise _unknown(first) from None
        if value is None:
            raise _null(f"`{first}`")
        return layout % (value,)

    def several(values: Values) -> str:
        try:
            filled = tuple([values[name] for name in names])
        except KeyError as error:
            raise _unknown(error.args[0]) from None
        if None in filled:
            raise _null(f"`{names[filled.index(None)]}`")
        return layout % filled

    first = names[0] if names else ""
    return one if len(names) == 1 else several


def _expression(source: str) -> Callable[[Values], Any]:
    inner = source.strip()[2:-2].removeprefix("-").removeprefix("+").removesuffix("-").removesuffix("+")
    evaluate = _ENVIRONMENT.compile_expression(inner, undefined_to_none=False)
    return _guarded(lambda values: plain(evaluate(values)))


def _text(source: str) -> Callable[[Values], Any]:
    template = _ENVIRONMENT.from_string(source)
    return _guarded(template.render)


def _guarded(render: Callable[[Values], Any]) -> Callable[[Values], Any]:
    def guarded(values: Values) -> Any:
        template_sandbox.begin()
        try:
            value = render(values)
        except TemplateError:
            raise
        except NullInText as error:
            raise _null(str(error)) from None
        except jinja2.UndefinedError as error:
            raise _undefined(str(error.message)) from None
        except jinja2.TemplateError as error:
            raise TemplateError(error.message or type(error).__name__) from None
        except Exception as error:  # whatever a foreign expression may raise is its own problem
            raise TemplateError(f"{type(error).__name__}: {error}"[:300]) from None
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise TemplateError(f"gives more than {MAX_TEXT} characters")
        return _whole(value) if isinstance(value, str) else value

    return guarded


def _whole(text: str) -> str:
    """The text, if every encoding takes it."""
    if not text.isascii() and LONE_SURROGATE.search(text):
        raise TemplateError("holds half a character (a lone surrogate)")
    return text


def _undefined(message: str) -> TemplateError:
    """What Jinja says of a value that is not there: a variable, or something inside one."""
    name = _UNDEFINED.fullmatch(message)
    return _unknown(name[1]) if name else TemplateError(message, is_null=bool(_OF_A_LIST.match(message)))


_OF_A_LIST = re.compile(r"list object has no element|No \w+ item, sequence was empty")
"""What is not in a row's list, as the class of the first box in a picture without objects, is no value."""
_UNDEFINED = re.compile(r"'([^']+)' is undefined")


def _unknown(name: str) -> TemplateError:
    return TemplateError(f"unknown variable `{name}`", name)


def _null(name: str) -> TemplateError:
    return TemplateError(f"{name} is null, and stands in a text", is_null=True)


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON knows it. Raises TemplateError for what JSON cannot hold."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _whole(str(value))
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise TemplateError(f"gives {value}, which is no number for a request")
    if isinstance(value, jinja2.Undefined):
        raise _undefined(value._undefined_message)
    if depth == 0 and isinstance(value, list | tuple | dict):
        template_sandbox.size(value)
    if depth < 50 and isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    if depth < 50 and isinstance(value, dict):
        return {str(key): plain(inner, depth + 1) for key, inner in value.items()}
    raise TemplateError(
        f"gives a {type(value).__name__}, which no request can hold; try `| list` or `| string`"
    )


def _picked(tree: nodes.Template) -> frozenset[str]:
    """The pickers that the template calls."""
    return frozenset(call.node.name for call in _picks(tree) if isinstance(call.node, nodes.Name))


def _picks(tree: nodes.Template) -> list[nodes.Call]:
    """The calls of pickers."""
    calls = tree.find_all(nodes.Call)
    return [call for call in calls if isinstance(call.node, nodes.Name) and call.node.name in PICKERS]


def _may_differ(call: nodes.Call) -> bool:
    """Whether a picker may give another value next time: not `choice('red')`, nor `uniform(1, 1)`. What only
    the task's variables tell may."""
    options: list[nodes.Expr] = call.args
    if len(options) == 1 and isinstance(options[0], nodes.List | nodes.Tuple):
        options = options[0].items
    if call.dyn_args is not None or not all(isinstance(one, nodes.Const) for one in options):
        return True
    return len({repr(one.value) for one in options if isinstance(one, nodes.Const)}) > 1


def _optional(tree: nodes.Template) -> frozenset[str]:
    """Names that the template itself allows to be absent."""
    filters = (node.node for node in tree.find_all(nodes.Filter) if node.name in ("default", "d"))
    tests = (node.node for node in tree.find_all(nodes.Test) if node.name in ("defined", "undefined"))
    return frozenset(node.name for node in (*filters, *tests) if isinstance(node, nodes.Name))
