"""plan, status and models as text for people.

Law: plain text, laid out here, so that `batcher status` starts at once; on a terminal it is folded to its
width, elsewhere a row is a line. What came from outside passes `printable` before it is shown.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from batcher.progress import summary

if TYPE_CHECKING:
    from batcher.catalog import Model, Parameter
    from batcher.manifest import Manifest
    from batcher.report import Report
    from batcher.run import Outlook

WIDEST = 120
"""Columns; longer lines are hard to read."""
NARROWEST = 20
GAP = 2
NO_PRICE = "not known: neither the manifest nor the catalogue has a price"


def plan_table(found: Outlook, manifest: Manifest, output: str) -> None:
    """What a run would do: counts, estimate, the first tasks with their bodies."""
    axes = manifest.matrix.axes.items()
    _title(found.job, manifest.model)
    _facts(
        {
            "tasks": f"{found.total:,}: {found.new:,} new, {found.done:,} done",
            **{f"axis {name}": ", ".join(_spelled(value) for value in values) for name, values in axes},
            "cost": NO_PRICE if found.cost is None else f"about {summary.credits(found.cost)} credits",
            "calls": f"about {found.calls:,}",
            "time": f"about {summary.duration(found.seconds)}",
            "output": output,
        }
    )
    for task in found.sample:
        click.echo()
        _title(task["name"], task["key"][:8])
        _facts({name: _spelled(value) for name, value in task["params"].items()}, indent=2)
    if found.total > len(found.sample):
        click.echo(f"\nand {found.total - len(found.sample):,} more")


def status_table(report: Report) -> None:
    """Where a job stands."""
    _title(report.job)
    _facts(
        {
            "state": report.state,
            "tasks": f"{report.total:,}: {_counted(report.counts) or 'none'}",
            **({"left out": _left_out(report.left_out)} if report.left_out else {}),
            "images": f"{report.images:,}",
            "credits": ", ".join(f"{summary.credits(value)} {kind}" for kind, value in report.cost.items()),
            "calls": _counted(report.calls) or "none",
            "output": str(report.output),
        }
    )
    if report.failures:
        click.echo()
        _rows(("failed", "why"), ((f"{n:,}", reason) for reason, n in report.failures.items()))


def _left_out(rows: int) -> str:
    return f"{summary.several(rows, 'row', 'rows')}; errors.jsonl names {'it' if rows == 1 else 'them'}"


def models_table(models: Iterable[Model]) -> None:
    """The catalogue, a line each."""
    rows = ((m.slug, m.api, _number(m.seconds), _number(m.price), m.title) for m in models)
    _rows(("model", "api", "seconds", "credits", "title"), rows)


def model_table(model: Model) -> None:
    """One model with all its parameters."""
    _title(model.slug, model.title)
    click.echo(textwrap.fill(summary.printable(model.description), _width()))
    click.echo()
    _facts(
        {
            "api": model.api,
            "time": "not told" if model.seconds is None else f"typically {model.seconds:g} s",
            "price": "not told" if model.price is None else f"{model.price:g} credits an image",
            "page": model.source or "none",
        }
    )
    click.echo()
    rows = (
        (
            parameter.name,
            f"{'list of ' if parameter.many else ''}{parameter.media or parameter.type}",
            "required" if parameter.required else _default(parameter),
            ": ".join(part for part in (parameter.description.rstrip("."), _values(parameter)) if part),
        )
        for parameter in model.parameters.values()
    )
    _rows(("parameter", "type", "default", "what it is"), rows)


def models_as_json(models: Iterable[Model]) -> list[dict[str, Any]]:
    """The catalogue as JSON."""
    return [
        {"slug": m.slug, "title": m.title, "api": m.api, "seconds": m.seconds, "price": m.price}
        for m in models
    ]


def model_as_json(model: Model) -> dict[str, Any]:
    """One model as JSON."""
    parameters = [
        {
            "name": p.name,
            "type": p.type,
            "required": p.required,
            "default": p.default,
            "minimum": p.minimum,
            "maximum": p.maximum,
            "allowed": list(p.allowed),
            "complete": p.complete,
            "media": p.media,
            "role": p.role,
            "list": p.many,
            "description": p.description,
        }
        for p in model.parameters.values()
    ]
    return {**models_as_json([model])[0], "description": model.description, "parameters": parameters}


def _title(name: str, beside: str = "") -> None:
    shown = click.style(summary.printable(name), bold=True)
    click.echo(f"{shown}  {click.style(summary.printable(beside), dim=True)}" if beside else shown)


def _facts(facts: Mapping[str, str], *, indent: int = 0) -> None:
    """A label and its value a line; values are folded beside their labels."""
    labels = {name: summary.printable(name) for name in facts}
    room = indent + max((len(label) for label in labels.values()), default=0) + GAP
    for name, value in facts.items():
        label = labels[name]
        beginning = " " * indent + click.style(label, dim=True) + " " * (room - indent - len(label))
        for line in _folded(value, room):
            click.echo(f"{beginning}{line}")
            beginning = " " * room


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is folded."""
    shown = [tuple(summary.printable(cell) for cell in row) for row in rows]
    widths = [max(len(row[place]) for row in (header, *shown)) + GAP for place in range(len(header) - 1)]
    click.echo(click.style("".join(_padded(header, widths)), dim=True))
    for *cells, last in shown:
        beginning = "".join(_padded(cells, widths))
        for line in _folded(last, sum(widths)):
            click.echo(f"{beginning}{line}".rstrip())
            beginning = " " * sum(widths)


def _padded(cells: Iterable[str], widths: Sequence[int]) -> Iterator[str]:
    padding = (*widths, 0)
    return (cell.ljust(padding[place]) for place, cell in enumerate(cells))


def _folded(value: str, taken: int) -> list[str]:
    """Words are kept whole, and so are paths and URLs, which are there to be copied."""
    room = max(NARROWEST, _width() - taken)
    flat = summary.printable(value)
    return textwrap.wrap(flat, room, break_long_words=False, break_on_hyphens=False) or [""]


def _width() -> int:
    """Columns to fold to: the terminal's; endless where a program reads."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS")):
        return sys.maxsize
    return min(shutil.get_terminal_size().columns, WIDEST)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)


def _default(parameter: Parameter) -> str:
    return "" if parameter.default is None else _spelled(parameter.default).strip('"')


def _values(parameter: Parameter) -> str:
    """What a parameter may be, in words."""
    if parameter.allowed:
        listed = ", ".join(_spelled(value).strip('"') for value in parameter.allowed)
        if parameter.complete:
            return listed
        unnamed = (parameter.allowed_total or 0) - len(parameter.allowed)
        return f"{listed} and {unnamed} that the page does not name"
    low, high = _number(parameter.minimum), _number(parameter.maximum)
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else ""


def _spelled(value: Any) -> str:
    """A value as JSON and YAML spell it."""
    return json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
