"""status, models: they read, and start at once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.options import JOB, JSON, OUTPUT, SANDBOX, SHARE

if TYPE_CHECKING:
    from batcher.shard import Shard


@click.command("status")
@JOB
@SHARE
@OUTPUT
@SANDBOX
@JSON
def status_command(job: Path, shard: Shard | None, output: Path | None, sandbox: bool, as_json: bool) -> int:
    """Show where a job stands; works while it runs."""
    from batcher import place, report

    where = place.output_of(job, output=output, sandbox=sandbox, shard=shard)
    found = report.of_folder(where, now=time.time())  # noqa: TID251  # the wall clock of one look
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return 0
    from batcher.cli.tables import status_table

    status_table(found)
    return 0


def _slugs(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """For the shell's Tab: models that begin so."""
    from batcher import catalog

    return [model.slug for model in catalog.models(Path.cwd()) if model.slug.startswith(begun)]


@click.command("models", short_help="List the models of the catalogue, or show one.")
@click.argument("slug", required=False, shell_complete=_slugs)
@JSON
def models_command(slug: str | None, as_json: bool) -> int:
    """List the models of the catalogue, or show one with all its parameters."""
    from batcher import catalog, errors

    folder = Path.cwd()
    if slug is None:
        from batcher.cli.tables import models_as_json, models_table

        found = catalog.models(folder)
        click.echo(json.dumps(models_as_json(found))) if as_json else models_table(found)
        return 0
    model = catalog.find(slug, folder)
    if model is None:
        near = catalog.nearest(slug, [known.slug for known in catalog.models(folder)])
        hint = f"; did you mean {near}?" if near else "; `batcher models` lists them"
        raise errors.UsageError(f"{slug} is not in the catalogue{hint}")
    from batcher.cli.tables import model_as_json, model_table

    click.echo(json.dumps(model_as_json(model))) if as_json else model_table(model)
    return 0
