"""jobs: every job of the account on this machine, in one place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.job_folder import listed_accounts, only_one
from batcher.cli.shared_options import BASE_URL, JSON, option

if TYPE_CHECKING:
    from pathlib import Path

    from batcher.results.account_jobs import AccountJobs


@click.command("jobs", short_help="List the jobs of your account on this machine.")
@option("--forget", metavar="JOB", help="List a job no more: its name, manifest or output folder.")
@BASE_URL
@JSON
def jobs_command(forget: str | None, base_url: str | None, as_json: bool) -> int:
    """List every job of your account that has run on this machine: how far it is, how its last run ended, and
    what was spent on it today, this month (UTC) and in all.

    The other commands take a name that is listed here for JOB.

    Without a key, those of all accounts. What ran with --sandbox, or as a share (--shard), is not listed.
    """
    from batcher.results import account_jobs
    from batcher.storage import user_state

    paths, known = listed_accounts(base_url)
    now = time.time()  # noqa: TID251  # the wall clock of one look
    found = account_jobs.of_accounts(paths, now)
    if forget is not None:
        _forget(found, forget, paths)
        found = account_jobs.of_accounts(paths, now)
    if as_json:
        echo_json(found.as_json())
        return 0
    if not found.jobs:
        whose = "this account" if known else "any account"
        folder = user_state.user_state() / "accounts"
        if (at := user_state.unwritable(folder)) is not None:
            echo(f"no job of {whose} is noted in {folder}, and none can be: {at} may not be written to")
            return 0
        echo(f"no job of {whose} has run on this machine yet; rehearsals in the sandbox are not listed")
        return 0
    from batcher.cli.text_tables import jobs_table

    jobs_table(found)
    if not known:
        echo("no API key is set, so the jobs of every account on this machine are listed")
    return 0


def _forget(found: AccountJobs, text: str, paths: list[Path]) -> None:
    from batcher import errors
    from batcher.results import account_jobs

    job = only_one(found, text)
    if job is None:
        raise errors.UsageError(f"no job here is called {text}, nor has it as manifest or output folder")
    account_jobs.forget(next(path for path in paths if path.stem == job.account), job)
    echo(f"{job.job} in {job.output} is forgotten; what it spent still counts", err=True)
