"""merge: shares of one plan, together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import JSON


@click.command("merge", short_help="Bring the shares of one plan together.")
@click.argument(
    "outputs", metavar="OUT...", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path)
)
@click.option(
    "-o",
    "--output",
    "into",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The whole's output folder: a new one, or that of the same merge.",
)
@JSON
def merge_command(outputs: Sequence[Path], into: Path, as_json: bool) -> int:
    """Bring the output folders of all shares of one plan (`run --shard I/N`) together in one.

    Pictures are linked where that is possible, and checked; calls and money add up; every command takes DIR.
    Exit code 3: a share is missing or not finished, and nothing was merged; or some tasks failed.
    """
    from batcher.cli.text_tables import status_table
    from batcher.results.merge import merge

    merged = merge(outputs, into, now=time.time)  # noqa: TID251  # the wall clock enters at the roof
    if as_json:
        echo_json(merged.as_json())
        return merged.exit_code
    for old, new in merged.renamed:
        echo(f"{old} is images/{new} now: another share's picture has its name")
    echo(f"{merged.shares} shares are one")
    status_table(merged.report)
    return merged.exit_code
