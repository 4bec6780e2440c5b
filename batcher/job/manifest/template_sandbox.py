"""Where templates run: Jinja's sandbox, which changes no row, without chance, and with an end.

Rule: a rendering has so much work to spend, and every step of a loop, every call, filter and operation takes
its share beforehand. What is counted is steps and characters, never seconds: a template that is refused on
one machine is refused on all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_TEXT = 1_000_000
"""Characters that one rendered value may have."""
WORK = 50 * MAX_TEXT
"""What one rendering may spend: characters made, and what steps and calls cost."""
STEP = 500
"""What a step of a loop costs, and a call: so many are 100,000 in one rendering."""
SPELLED = 5
"""Characters that a value in a list takes at least."""
MAX_BITS = 10_000
"""Of a whole number."""

WIDE = frozenset({"center", "indent", "truncate", "wordwrap", "batch", "slice", "round"}) | frozenset(
    {"ljust", "rjust", "zfill", "expandtabs", "to_bytes"}
)
"""Filters and methods to which a number is a length."""
CONTAINERS = (list, tuple, dict, set, frozenset)
FORMATS = frozenset({"format", "format_map"})
_LENGTH = re.compile(r"\*|[0-9]{5,}")
"""A width or precision in a format that no text needs."""

TEXT_FILTERS = frozenset(
    {"capitalize", "center", "e", "escape", "format", "indent", "lower", "replace", "string", "striptags"}
    | {"title", "trim", "truncate", "upper", "urlencode", "wordcount", "wordwrap"}
)
"""Filters that make a text of what they get: of a null the word None."""


class NullInText(jinja2.TemplateRuntimeError):
    """A null stands in a text, where it would be sent as the word None."""


class _Work(threading.local):
    left = WORK


_work = _Work()


def begin() -> None:
    """A rendering begins, with all its work to spend."""
    _work.left = WORK


def _spend(amount: int) -> None:
    _work.left -= amount
    if _work.left < 0:
        raise jinja2.TemplateRuntimeError("takes too many steps; is there a loop in a loop?")


def size(value: Any) -> int:
    """Characters of a text, or about those of a list with all that is in it. Raises TemplateRuntimeError as
    soon as it is too many."""
    if isinstance(value, str):  # almost always
        if len(value) > MAX_TEXT:
            raise jinja2.TemplateRuntimeError(f"gives more than {MAX_TEXT} characters")
        return len(value)
    seen, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        seen += len(one) if isinstance(one, str | bytes | range) else SPELLED
        if seen + SPELLED * len(waiting) > MAX_TEXT:
            raise jinja2.TemplateRuntimeError(f"gives more than {MAX_TEXT} characters")
        if isinstance(one, dict):
            waiting.extend(one.keys())
            waiting.extend(one.values())
        elif isinstance(one, CONTAINERS):
            waiting.extend(one)
    return seen


def _bounded(value: Any) -> Any:
    """The value, if it is no larger than what a request holds."""
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise jinja2.TemplateRuntimeError("gives a number of thousands of digits")
    elif isinstance(value, str | bytes):
        _spend(size(value))
    elif isinstance(value, CONTAINERS):
        _spend(5 * size(value))
    return value


def _steps(values: Iterable[Any], cost: int = STEP) -> Iterator[Any]:
    """The values one by one, each of which is a step."""
    for value in values:
        _spend(cost)
        yield value


def _before(name: str, value: Any, arguments: Iterable[Any]) -> None:
    """Spends what a filter or method may make of a value and its arguments, before it makes it."""
    longest = 1
    for argument in arguments:
        if isinstance(argument, int) and name in WIDE:
            longest = max(longest, abs(argument))
        elif isinstance(argument, str):
            longest = max(longest, len(argument))
        else:
            longest = max(longest, size(argument))
    if name == "round" and longest > 300:
        raise jinja2.TemplateRuntimeError("a number is not rounded to so many digits")
    if name in FORMATS and isinstance(value, str) and _LENGTH.search(value):
        raise jinja2.TemplateRuntimeError("a format has no such width")
    items = size(value)
    if name == "striptags" and isinstance(value, str):
        longest = 1 + value.count("<")
    elif name == "sum":
        longest = max(longest, items // 100)
    _spend(STEP + items * longest)


def _counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, which spends its work first."""
    # Some take Jinja's environment first; the value comes next.
    first = 1 if hasattr(original, "jinja_pass_arg") else 0

    @wraps(original)
    def counted(*arguments: Any, **named: Any) -> Any:
        value = arguments[first]
        if value is None and name in TEXT_FILTERS:
            raise NullInText("an expression")
        _before(name, value, (*arguments[first + 1 :], *named.values()))
        made = original(*arguments, **named)
        return _steps(made) if isinstance(made, Iterator) else _bounded(made)

    return counted


class _Counting(NodeTransformer):
    """Every loop counts its steps, and what puts values together without an operator looks at its size."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  # Jinja's names
        self.generic_visit(node)
        texts = sum(len(text.data) for text in node.find_all(nodes.TemplateData))
        node.iter = _filter(node.iter, "steps", nodes.Const(STEP + texts))
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "bounded") if node.ctx == "load" else node

    def _put_together(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, "bounded")

    visit_List = visit_Dict = _put_together  # noqa: N815

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [_filter(part, "bounded") for part in node.nodes]
        return _filter(node, "bounded")


def _filter(node: nodes.Node, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, list(arguments), [], None, None, lineno=node.lineno)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, whose operations and calls spend work."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            _before_times(left, right)
        elif operator == "**":
            _before_power(left, right)
        elif isinstance(left, str | list | tuple):
            _before("format" if operator == "%" else "+", left, ())
            _spend(size(right))
        return _bounded(super().call_binop(context, operator, left, right))

    def call(self, context: Any, called: Any, /, *arguments: Any, **named: Any) -> Any:
        # The sandbox has a function of its own in the place of a text's `format`.
        value = getattr(getattr(called, "__wrapped__", called), "__self__", None)
        _before(getattr(called, "__name__", ""), value, (*arguments, *named.values()))
        return _bounded(super().call(context, called, *arguments, **named))

    def _generate(self, source: nodes.Template, *arguments: Any, **named: Any) -> str:
        return super()._generate(_Counting().visit(source), *arguments, **named)


def _before_times(left: Any, right: Any) -> None:
    for times, value in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(value, str | bytes | list | tuple):
            if max(times, 0) * size(value) > MAX_TEXT:
                raise jinja2.TemplateRuntimeError(f"gives more than {MAX_TEXT} characters")
            return


def _before_power(left: Any, right: Any) -> None:
    if not (isinstance(right, int | float) and abs(right) <= 64):
        raise jinja2.TemplateRuntimeError("a power above 64 is not computed here")


def _finalized(value: Any) -> Any:
    """What stands in a text."""
    if value is None:
        raise NullInText("an expression")
    if isinstance(value, str):
        _spend(len(value))
    elif isinstance(value, CONTAINERS):
        _spend(size(value))
    return value


def environment() -> SandboxedEnvironment:
    """The environment of all templates."""
    made = _Sandbox(undefined=jinja2.StrictUndefined, autoescape=False, cache_size=0, finalize=_finalized)
    made.globals = {"range": made.globals["range"], "dict": dict}
    del made.filters["random"]
    for name, original in made.filters.items():
        made.filters[name] = _counted(name, original)
    made.filters |= {"steps": _steps, "bounded": _bounded}
    return made
