"""The tables of the pages that are drawn from the code: options, events, faults.

python -m tests.tools.tables           draws them anew (`make tables`)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from pydantic import TypeAdapter

from batcher.cli import COMMANDS, root
from batcher.progress import Event, event_name
from batcher.sandbox.faults import KINDS, Fault, Route
from batcher.task import State

EXAMPLES = Path(__file__).parents[2] / "examples"
STAMP = {
    "ts": {"type": "string", "format": "date-time"},
    "event": {"type": "string"},
}
"""What every line of `--log-json` begins with."""


def options() -> str:
    """Every command with its options, in the words of its help."""
    return _table("| | |", "|---|---|", *_options())


def _options() -> Iterator[str]:
    for name in COMMANDS:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        context = click.Context(command, info_name=name)
        arguments = [part for part in command.collect_usage_pieces(context) if part != "[OPTIONS]"]
        yield _row(
            f"**`{' '.join(['batcher', name, *arguments])}`**", f"**{command.get_short_help_str(200)}**"
        )
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if isinstance(parameter, click.Option) and record is not None:
                yield _row(f"`{record[0]}`", record[1].replace("<", r"\<"))


def events() -> str:
    """Every event with its fields and their types."""
    rows = [
        _row(f"`{event_name(kind)}`", _first_sentence(kind), ", ".join(_fields(kind)))
        for kind in get_args(Event)
    ]
    return _table("| `event` | | fields |", "|---|---|---|", *rows)


def faults() -> str:
    """Every fault that the sandbox plays, with its routes and settings."""
    rows = [
        _row(
            f"`{name}`",
            _routes(kind),
            ", ".join(_settings(kind)),
            kind.__doc__ or "",
        )
        for name, kind in KINDS.items()
    ]
    return _table("| `fault` | routes | settings | what happens |", "|---|---|---|---|", *rows)


def _routes(kind: type[Fault]) -> str:
    if kind.possible == frozenset(Route):
        return "any" if not kind.usual else "any; all unless named"
    possible = ", ".join(route for route in Route if route in kind.possible)
    usual = ", ".join(route for route in Route if route in kind.usual)
    return possible if kind.usual in (kind.possible, frozenset()) else f"{possible}; {usual} unless named"


def _settings(kind: type[Fault]) -> Iterator[str]:
    types = kind.model_json_schema()["properties"]
    for name, field in kind.model_fields.items():
        if name not in Fault.model_fields:
            unit = "s" if "duration" in str(types[name]) else ""
            yield f"`{name}`" if field.is_required() else f"`{name}: {_in_yaml(field.default, unit)}`"


def _in_yaml(value: Any, unit: str) -> str:
    if isinstance(value, float):
        return f"{value:g}{unit}"
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def schema() -> dict[str, Any]:
    """The JSON Schema of one line of `--log-json`: an event, with all of its fields and no others."""
    return {"oneOf": [_line(kind) for kind in get_args(Event)]}


def _line(kind: type) -> dict[str, Any]:
    fields = _json(kind)["properties"]
    named = {**STAMP, "event": {"const": event_name(kind)}}
    properties = {**named, **fields}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _json(kind: type) -> dict[str, Any]:
    """Its JSON Schema, without references."""
    found = TypeAdapter(kind).json_schema(mode="serialization")
    return dict(_resolved(found, found.get("$defs", {})))


def _resolved(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            return _resolved(definitions[value["$ref"].rpartition("/")[2]], definitions)
        return {key: _resolved(item, definitions) for key, item in value.items() if key != "$defs"}
    return [_resolved(item, definitions) for item in value] if isinstance(value, list) else value


def _fields(kind: type) -> Iterator[str]:
    hints = get_type_hints(kind)
    for name, facts in _json(kind)["properties"].items():
        by = "state" if get_args(hints[name])[:1] == (State,) else "name"
        yield f"`{name}` {_spelled(facts, by)}"


def _spelled(facts: dict[str, Any], by: str) -> str:
    """A type in words; `by` says what the keys of an object are."""
    if "anyOf" in facts:
        return " or ".join(_spelled(one, by) for one in facts["anyOf"])
    if facts.get("title") == "State":
        return "state"
    if "enum" in facts:
        return " or ".join(facts["enum"])
    if "properties" in facts:
        return f"object: the fields of `{facts['title'].lower()}`"
    if facts["type"] == "array":
        return f"list of {_spelled(facts['items'], by)}s"
    if facts["type"] == "object":
        return f"{_spelled(facts['additionalProperties'], by)}s by {by}"
    return str(facts["type"])


def _first_sentence(kind: type) -> str:
    return re.split(r"(?<=\.)\s|;", " ".join((kind.__doc__ or "").split()))[0].rstrip(".")


def _table(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


TABLES: Mapping[str, tuple[Path, Callable[[], str]]] = {
    "options": (EXAMPLES / "reference.md", options),
    "events": (EXAMPLES / "reference.md", events),
    "faults": (EXAMPLES / "sandbox.md", faults),
}
"""By name: the page that has it, and what draws it."""


def drawn_in(page: str, name: str) -> str:
    """A table as the page has it. Raises ValueError unless it has exactly one of that name."""
    found = re.findall(rf"<!-- {name}: `make tables` -->\n(.*?)<!-- end -->", page, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} tables of {name}; it should have one")
    return str(found[0])


def redrawn(page: str, name: str) -> str:
    """The page with that table as the code says it."""
    mark = f"<!-- {name}: `make tables` -->\n"
    _, table = TABLES[name]
    return page.replace(f"{mark}{drawn_in(page, name)}<!-- end -->", f"{mark}{table()}<!-- end -->")


if __name__ == "__main__":
    for name, (path, _) in TABLES.items():
        path.write_text(redrawn(path.read_text("utf-8"), name), "utf-8")
