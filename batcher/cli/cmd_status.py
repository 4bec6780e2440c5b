"""status: it reads, and starts at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo_json
from batcher.cli.shared_options import JOB, JSON, OUTPUT, SANDBOX, SHARD_OF_JOB

if TYPE_CHECKING:
    from batcher.shard import Shard


@click.command("status")
@JOB
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def status_command(job: Path, shard: Shard | None, output: Path | None, sandbox: bool, as_json: bool) -> int:
    """Show where a job stands; works while it runs."""
    from batcher.cli.job_folder import resolve_output
    from batcher.results import report, run_control

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    now = time.time()  # noqa: TID251  # the wall clock of one look
    status = report.of_folder(where, now=now)
    if as_json:
        echo_json(status.as_json())
        return 0
    from batcher.cli.text_tables import status_table

    status_table(status, run_control.budgets(where, now))
    return 0
