"""plan, status and models as tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from batcher.catalog import Model, Parameter
    from batcher.manifest import Manifest
    from batcher.report import Report
    from batcher.run import Outlook


def plan_table(found: Outlook, manifest: Manifest) -> None:
    """What a run would do: counts, estimate, the first tasks with their bodies."""
    console = Console()
    facts = _facts()
    facts.add_row("tasks", f"{found.total:,}: {found.new:,} new, {found.done:,} done")
    for name, values in manifest.matrix.axes.items():
        facts.add_row(f"axis {name}", Text(", ".join(str(value) for value in values)))
    cost = (
        "not known: no price in the manifest or the catalogue"
        if found.cost is None
        else f"{found.cost:,.4g} credits"
    )
    facts.add_row("estimated cost", cost)
    facts.add_row("estimated calls", f"{found.calls:,}")
    facts.add_row("estimated time", duration(found.seconds))
    facts.add_row("output", Text(str(manifest.output.dir)))
    console.print(Text(f"{found.job} ({manifest.model})", style="bold"))
    console.print(facts)
    for task in found.sample:
        console.print(Text(f"\n{task['name']}", style="bold"), Text(f"  {task['key'][:8]}", style="dim"))
        body = json.dumps(task["params"], ensure_ascii=False, indent=2)
        console.print(Text("\n".join(f"  {one}" for one in body.splitlines()[1:-1])))
    if found.total > len(found.sample):
        console.print(f"\nand {found.total - len(found.sample):,} more", style="dim")


def status_table(report: Report) -> None:
    """Where a job stands."""
    console = Console()
    facts = _facts()
    facts.add_row("state", report.state)
    shown = ((state, n) for state, n in report.counts.items() if n)
    facts.add_row(
        "tasks", f"{report.total:,}: " + (", ".join(f"{n:,} {state}" for state, n in shown) or "none")
    )
    facts.add_row("images", f"{report.images:,}")
    facts.add_row("credits", ", ".join(f"{value:,.6g} {kind}" for kind, value in report.cost.items()))
    facts.add_row("calls", ", ".join(f"{n:,} {kind}" for kind, n in report.calls.items() if n) or "none")
    facts.add_row("output", Text(str(report.output)))
    console.print(Text(report.job, style="bold"))
    console.print(facts)
    if report.failures:
        table = Table("failed", "why", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for reason, n in report.failures.items():
            table.add_row(f"{n:,}", Text(reason))
        console.print()
        console.print(table)


def models_table(models: Iterable[Model]) -> None:
    """The catalogue, a line each."""
    table = Table(
        "model", "api", "seconds", "credits", "title", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for model in models:
        table.add_row(model.slug, model.api, _number(model.seconds), _number(model.price), Text(model.title))
    Console().print(table)


def model_table(model: Model) -> None:
    """One model with all its parameters."""
    console = Console()
    console.print(Text(f"{model.slug}: {model.title}", style="bold"))
    console.print(Text(model.description))
    facts = _facts()
    facts.add_row("api", model.api)
    facts.add_row("typical time", "not told" if model.seconds is None else f"{model.seconds:g} s")
    facts.add_row("price", "not told" if model.price is None else f"{model.price:g} credits an image")
    facts.add_row("source", Text(model.source))
    console.print(facts)
    console.print()
    table = Table("parameter", "type", "default", "values", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for parameter in model.parameters.values():
        name = Text(parameter.name, style="bold" if parameter.required else "")
        kind = parameter.media or parameter.type
        default = (
            "required" if parameter.required else "" if parameter.default is None else str(parameter.default)
        )
        table.add_row(name, kind, Text(default), Text(_values(parameter)))
    console.print(table)


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
            "description": p.description,
        }
        for p in model.parameters.values()
    ]
    return {**models_as_json([model])[0], "description": model.description, "parameters": parameters}


def duration(seconds: float) -> str:
    """Seconds for people: 12 s, 3 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60:,} h {minutes % 60:02} min"


def _facts() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    return table


def _values(parameter: Parameter) -> str:
    if parameter.allowed:
        listed = ", ".join(str(value) for value in parameter.allowed)
        return listed if parameter.complete else f"{listed}, ..."
    if parameter.minimum is not None or parameter.maximum is not None:
        return f"{_number(parameter.minimum)} to {_number(parameter.maximum)}"
    return ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
