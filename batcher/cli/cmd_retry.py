"""retry: failed and doubtful tasks may be submitted again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import JOB, JSON, OUTPUT, SANDBOX, SHARD_OF_JOB, option

if TYPE_CHECKING:
    from batcher.shard import Shard


@click.command("retry", short_help="Let failed or doubtful tasks be submitted again.")
@JOB
@option("--failed", is_flag=True, help="Failed tasks; the default.")
@option(
    "--doubtful", is_flag=True, help="Tasks whose answer was lost: perhaps paid, perhaps paid twice then."
)
@option("--reason", metavar="TEXT", help="Only failed tasks whose reason has this text in it.")
@option("--only", metavar="GLOB", help="Only tasks whose name fits, as in 'paris-*'.")
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def retry_command(
    job: Path,
    failed: bool,
    doubtful: bool,
    reason: str | None,
    only: str | None,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Let failed tasks be submitted again; works while a run goes on, which then picks them up."""
    from contextlib import closing

    from batcher import errors
    from batcher.cli.job_folder import resolve_output, run_of
    from batcher.ledger import database
    from batcher.ledger.retry_failed import retry
    from batcher.results import report
    from batcher.storage import layout, lock

    if doubtful and not failed and reason is not None:
        raise errors.UsageError("only failed tasks have a reason; leave --reason away, or add --failed")
    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    status = report.of_folder(where, now=time.time())  # noqa: TID251  # the wall clock of one look
    path = layout.ledger_path(where)
    with database.disk_errors(path), closing(database.open_file(path)) as connection:
        retried = retry(
            connection, failed=failed or not doubtful, doubtful=doubtful, reason=reason, only=only
        )
    running = lock.holder(layout.lock_path(where)) is not None
    if as_json:
        counts = {"failed": retried.failed, "doubtful": retried.doubtful}
        echo_json({"job": status.job, "retried": counts, "running": running})
        return 0
    from batcher.progress.summary import several

    for number, kind in ((retried.failed, "failed"), (retried.doubtful, "doubtful")):
        if number:
            echo(f"{several(number, f'{kind} task is', f'{kind} tasks are')} planned again")
    if not retried.failed and not retried.doubtful:
        echo("no task fits; nothing was changed")
    elif running:
        echo("the run that is going on submits them")
    else:
        echo(f"`{run_of(job, output=output, sandbox=sandbox, shard=shard)}` submits them")
    return 0
