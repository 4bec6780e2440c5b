"""schema: what an editor needs to complete and check manifests."""

from __future__ import annotations

from pathlib import Path

import click

from batcher.cli.echo import echo_json


@click.command("schema", short_help="Print the JSON Schema of manifests, for editors.")
def schema_command() -> int:
    """Print the JSON Schema of manifests, with the models of the catalogue and of this folder.

    batcher schema > batcher.schema.json; an editor takes it from the first line of a manifest:
    "# yaml-language-server: $schema=batcher.schema.json".
    """
    from batcher.job import catalog
    from batcher.job.manifest.schema import schema

    echo_json(schema(catalog.models(Path.cwd())), indent=2)
    return 0
