"""export: what was delivered, as a dataset."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import JOB, JSON, SANDBOX, SHARD_OF_JOB, Folder, cluster_of, on_ray, option

if TYPE_CHECKING:
    from batcher.results.export import ExportResult
    from batcher.shard import Shard

SHOWN = 20
"""Missing pictures that are listed for people; --json lists them all."""


@click.command("export", short_help="Write what was delivered as a dataset.")
@JOB
@option(
    "--to",
    type=click.Choice(["imagefolder", "webdataset", "parquet", "coco", "yolo", "voc"]),
    required=True,
    metavar="FORM",
    help="imagefolder: beside a metadata.jsonl; webdataset: tar shards; parquet: inside the table; coco, "
    "yolo, voc: for training detectors.",
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
@option("--resplit", is_flag=True, help="Draw the splits anew where the rows have some of their own.")
@option("--with-originals", is_flag=True, help="The source pictures too, beside their variants.")
@option(
    "--exclude",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Leave out the pictures named in FILE, one a line, or in its column file_name (CSV, JSON Lines).",
)
@option("--current", is_flag=True, help="Only pictures of tasks that the manifest has now.")
@option("--allow-missing", is_flag=True, help="Let --exclude name pictures that are not there.")
@option(
    "--captions",
    is_flag=False,
    flag_value="{{ prompt }}",
    metavar="[TEMPLATE]",
    help="A text file beside each picture: its prompt, or a template over its columns.",
)
@option(
    "--mask-outside",
    type=click.IntRange(0, 65_535),
    metavar="N",
    help="What masks say where the source does not lie; else 255, where they have it for no class, or 0.",
)
@on_ray
@SHARD_OF_JOB
@SANDBOX
@JSON
def export_command(
    job: Path,
    to: str,
    into: Path,
    split: str | None,
    resplit: bool,
    with_originals: bool,
    exclude: Path | None,
    current: bool,
    allow_missing: bool,
    captions: str | None,
    mask_outside: int | None,
    on: str | None,
    address: str | None,
    workers: int | None,
    shard: Shard | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Write what was delivered so far as a dataset; works while the job runs.

    Variants of one source picture stay in one split, and more pictures later move none; rows that have a
    column split keep it. Labels go along:
    columns, and boxes and masks where the model's geometry is known. README.md is the dataset's card; its
    licence is yours to fill in. Exit code 3: a picture is missing.
    """
    from batcher.cli.job_folder import resolve_output
    from batcher.ledger import database
    from batcher.results.export import ExportFormat, ExportOptions, Splits, export
    from batcher.storage import layout, ray

    cluster = cluster_of(on, address, workers)
    splits = None if split is None else Splits.parse(split)
    where = resolve_output(job, sandbox=sandbox, shard=shard)
    options = ExportOptions(
        to=ExportFormat(to),
        into=into,
        splits=splits,
        resplit=resplit,
        originals=with_originals,
        exclude=exclude,
        allow_missing=allow_missing,
        current=current,
        captions=captions,
        mask_outside=mask_outside,
        command=_command(
            job,
            {
                "--to": to,
                "--split": split,
                "--resplit": resplit,
                "--with-originals": with_originals,
                "--exclude": exclude and exclude.name,
                "--current": current,
                "--allow-missing": allow_missing,
                "--captions": captions,
                "--mask-outside": None if mask_outside is None else str(mask_outside),
                "--shard": shard,
                "--sandbox": sandbox,
            },
        ),
    )
    store = database.read_meta(layout.ledger_path(where), "destination")
    with ray.workers_for(cluster, where, store) as byte_workers:
        exported = export(where, options, byte_workers)
    if as_json:
        echo_json(exported.as_json())
    else:
        _tell(exported)
    return exported.exit_code


def _command(job: Path, options: Mapping[str, object]) -> str:
    """What gives the same dataset again, for whoever has the job; no path of this machine is in it."""
    words = ["batcher", "export", job.name if job.is_absolute() else str(job)]
    for name, value in options.items():
        if value is True:
            words.append(name)
        elif value not in (None, False):
            words.append(f"{name}={value}")
    return shlex.join([*words, "-o", "DIR"])


def _tell(exported: ExportResult) -> None:
    from batcher.progress.summary import several

    counts = [several(exported.pictures, "picture", "pictures")]
    counts += [several(exported.originals, "original", "originals")] if exported.originals else []
    counts += [several(exported.masks, "mask", "masks")] if exported.masks else []
    if exported.captions is not None:
        counts.append(several(exported.captions, "caption", "captions"))
    echo(f"{', '.join(counts)} in {exported.into} ({exported.to})")
    for name, number in exported.splits.items():
        echo(f"  {name}  {number:,}")
    if exported.excluded:
        echo(f"{exported.excluded:,} left out, as asked")
    for note in exported.notes:
        echo(f"note: {note}")
    if exported.missing:
        echo(f"{len(exported.missing):,} could not be exported:", err=True)
        for missing in exported.missing[:SHOWN]:
            echo(f"  {missing}", err=True)
        if len(exported.missing) > SHOWN:
            echo(f"  and {len(exported.missing) - SHOWN:,} more", err=True)
