"""schema: what an editor needs to complete and check manifests."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("schema", short_help="Print the JSON Schema of manifests, for editors.")
def schema_command() -> int:
    """Print the JSON Schema of manifests, with the models of the catalogue and of this folder.

    batcher schema > batcher.schema.json; an editor takes it from the first line of a manifest:
    "# yaml-language-server: $schema=batcher.schema.json".
    """
    from batcher import catalog
    from batcher.manifest.schema import schema

    click.echo(json.dumps(schema(catalog.models(Path.cwd())), ensure_ascii=False, indent=2))
    return 0
