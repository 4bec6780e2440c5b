"""ack: what a person has seen counts in no later exit code."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import JOB, JSON, OUTPUT, SANDBOX, SHARD_OF_JOB, option

if TYPE_CHECKING:
    from batcher.shard import Shard


@click.command("ack", short_help="Take failures that you have seen out of the exit code.")
@JOB
@option("--reason", metavar="TEXT", help="Kept with them in the ledger: what became of it.")
@option("--only", metavar="GLOB", help="Only tasks whose name fits, and left-out rows whose file does.")
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def ack_command(
    job: Path,
    reason: str | None,
    only: str | None,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Acknowledge what failed, was left out or is doubtful: it stays in counts and records, and makes no
    later run end with 3.

    What fails again after a retry is news again. Works while a run goes on.
    """
    from contextlib import closing

    from batcher.cli.job_folder import resolve_output
    from batcher.ledger import database
    from batcher.ledger.notices import acknowledge
    from batcher.progress.closing_text import news_words
    from batcher.results import report
    from batcher.storage import layout

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    now = time.time()  # noqa: TID251  # the wall clock of one look
    report.of_folder(where, now=now)  # refuses a folder in which nothing was run
    path = layout.ledger_path(where)
    with database.disk_errors(path), closing(database.open_file(path)) as connection:
        acked = acknowledge(connection, now=now, reason=reason, only=only)
    status = report.of_folder(where, now=now)
    if as_json:
        echo_json({"job": status.job, "acked": acked, "unseen": status.unseen})
        return 0
    if not any(acked.values()):
        fits = "nothing fits" if only is not None and status.unseen else "there is nothing to acknowledge"
        echo(f"{fits}; nothing was changed")
        return 0
    echo(f"{news_words(acked)}: acknowledged, and in no later exit code; counts and records keep it")
    if status.unseen:
        echo(f"{status.unseen:,} not acknowledged yet")
    return 0
