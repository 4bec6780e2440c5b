"""report, watch: a job as a page, written once or live."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import JOB, JSON, SANDBOX, SHARD_OF_JOB, Folder, option

if TYPE_CHECKING:
    from batcher.shard import Shard

FOLDER = option(
    "--output",
    type=Folder(),
    metavar="DIR",
    help="Output folder of the job, if not its own.",
)
OPEN = option("--open", "opened", is_flag=True, help="Open the page in a browser.")


@click.command("report", short_help="Write the report page of a job.")
@JOB
@option(
    "-o",
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to. [report.html beside the pictures]",
)
@option(
    "--thumbnails",
    type=click.IntRange(0),
    metavar="N",
    help="Tasks whose thumbnails travel inside the page. [240]",
)
@SHARD_OF_JOB
@FOLDER
@SANDBOX
@JSON
@OPEN
def report_command(
    job: Path,
    file: Path | None,
    thumbnails: int | None,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    as_json: bool,
    opened: bool,
) -> int:
    """Write the report page of a job: figures, money, failures and a gallery. Works while it runs."""
    from batcher import errors
    from batcher.cli.job_folder import resolve_output
    from batcher.results import report
    from batcher.results.report.page import TRAVELLING, write_page

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    status = report.of_folder(where, now=time.time())  # noqa: TID251  # the wall clock of one look
    page = write_page(status, file, thumbnails=TRAVELLING if thumbnails is None else thumbnails)
    if as_json:
        facts = {**status.as_json(), "model": status.model, "per_image": status.per_image, "page": str(page)}
        echo_json(facts)
    else:
        echo(str(page))
    if opened:
        if isinstance(page, str):
            raise errors.UsageError(f"no browser opens {page}; -o FILE writes the page to this machine")
        click.launch(page.as_uri())
    return 0


@click.command("watch", short_help="Watch a job live in a browser.")
@JOB
@option("--port", default=0, type=click.IntRange(0, 65535), metavar="N", help="0 picks one. [0]")
@SHARD_OF_JOB
@FOLDER
@SANDBOX
@OPEN
def watch_command(
    job: Path, port: int, shard: Shard | None, output: Path | None, sandbox: bool, opened: bool
) -> int:
    """Watch a job live in a browser, beside whatever run there is. The first line on stdout is the page's
    address; only this machine can open it, and only with the token in it. Its buttons do what `batcher
    pause`, `resume` and `set` do; `batcher review` is the page on which pictures are kept and rejected."""
    import asyncio

    from batcher.cli.job_folder import resolve_output
    from batcher.results.dashboard import serve

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(where, port=port, announce=_announcing(opened)))
    return 0


def _announcing(opened: bool) -> Callable[[str], None]:
    def announce(address: str) -> None:
        echo(address)
        if sys.stderr.isatty():
            echo("Open this address in a browser; Ctrl-C here ends it.", err=True)
        if opened:
            click.launch(address)

    return announce
