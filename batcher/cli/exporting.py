"""export: what was delivered, as a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.options import JOB, JSON, SANDBOX, SHARE, Folder, cluster_of, on_ray, option

if TYPE_CHECKING:
    from batcher.export import Exported
    from batcher.shard import Shard

SHOWN = 20
"""Missing pictures that are listed for people; --json lists them all."""


@click.command("export", short_help="Write what was delivered as a dataset.")
@JOB
@option(
    "--to",
    type=click.Choice(["imagefolder", "webdataset", "parquet"]),
    required=True,
    metavar="FORM",
    help="imagefolder: beside a metadata.jsonl; webdataset: tar shards; parquet: inside the table.",
)
@click.option(
    "-o",
    "--output",
    "into",
    type=Folder(),
    required=True,
    metavar="DIR",
    help="The dataset's folder: a new or an empty one.",
)
@option("--split", metavar="NAME=SHARE,...", help="Splits by source picture: train=0.8,test=0.2.")
@option("--with-originals", is_flag=True, help="The source pictures too, beside their variants.")
@option(
    "--exclude",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Leave out the pictures named in FILE, one a line.",
)
@on_ray
@SHARE
@SANDBOX
@JSON
def export_command(
    job: Path,
    to: str,
    into: Path,
    split: str | None,
    with_originals: bool,
    exclude: Path | None,
    on: str | None,
    address: str | None,
    workers: int | None,
    shard: Shard | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Write what was delivered so far as a dataset; works while the job runs.

    Variants of one source picture stay in one split, and more pictures later move none. Labels go along:
    columns, and boxes and masks where the model's geometry is known. Exit code 3: a picture is missing.
    """
    from batcher import distribute, place
    from batcher.export import Splits, Wishes, export
    from batcher.run.starting import noted_destination

    cluster = cluster_of(on, address, workers)
    splits = Splits() if split is None else Splits.parse(split)
    where = place.output_of(job, sandbox=sandbox, shard=shard)
    wishes = Wishes(to=to, into=into, splits=splits, originals=with_originals, exclude=exclude)  # type: ignore[arg-type]  # click has checked the word
    with distribute.hands(cluster, where, noted_destination(where)) as hands:
        exported = export(where, wishes, hands)
    if as_json:
        click.echo(json.dumps(exported.as_json(), ensure_ascii=False))
    else:
        _tell(exported)
    return exported.exit_code


def _tell(exported: Exported) -> None:
    from batcher.progress.summary import several

    counts = [several(exported.pictures, "picture", "pictures")]
    counts += [several(exported.originals, "original", "originals")] if exported.originals else []
    counts += [several(exported.masks, "mask", "masks")] if exported.masks else []
    click.echo(f"{', '.join(counts)} in {exported.into} ({exported.to})")
    for name, number in exported.splits.items():
        click.echo(f"  {name}  {number:,}")
    if exported.excluded:
        click.echo(f"{exported.excluded:,} left out, as asked")
    for note in exported.notes:
        click.echo(f"note: {_printable(note)}")
    if exported.missing:
        click.echo(f"{len(exported.missing):,} could not be exported:", err=True)
        for missing in exported.missing[:SHOWN]:
            click.echo(f"  {_printable(missing)}", err=True)
        if len(exported.missing) > SHOWN:
            click.echo(f"  and {len(exported.missing) - SHOWN:,} more", err=True)


def _printable(text: str) -> str:
    import sys

    from batcher.progress.summary import printable

    return printable(text, sys.stdout.encoding)
