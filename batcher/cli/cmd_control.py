"""pause, resume, set: a run that goes on is talked to through its ledger, and later runs hold to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import JOB, JSON, OUTPUT, SANDBOX, SHARD_OF_JOB

if TYPE_CHECKING:
    from batcher.shard import Shard


@click.command("pause", short_help="Let nothing more of a job be submitted, until `resume`.")
@JOB
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def pause_command(job: Path, shard: Shard | None, output: Path | None, sandbox: bool, as_json: bool) -> int:
    """Let nothing more be submitted; what is in flight is fetched. A run notices within a second, and waits.

    It holds for later runs too, until `batcher resume`.
    """
    from batcher.results import run_control

    where = _output(job, output, sandbox, shard)
    changed = run_control.pause(where, time.time())  # noqa: TID251  # the moment of the pause
    held = "submits nothing more" if changed else "was paused already"
    return _tell_turn(where, held, "its run fetches what is in flight, and waits", as_json)


@click.command("resume", short_help="Let a paused job go on.")
@JOB
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def resume_command(job: Path, shard: Shard | None, output: Path | None, sandbox: bool, as_json: bool) -> int:
    """Let a paused job go on: a run that waits submits again within a second."""
    from batcher.results import run_control

    where = _output(job, output, sandbox, shard)
    changed = run_control.resume(where)
    held = "may submit again" if changed else "was not paused"
    return _tell_turn(where, held, "its run goes on within a second", as_json)


@click.command("set", short_help="Change a limit of a run that goes on, and of later ones.")
@JOB
@click.argument("limits", nargs=-1, required=True, metavar="KEY=VALUE...")
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def set_command(
    job: Path, limits: Sequence[str], shard: Shard | None, output: Path | None, sandbox: bool, as_json: bool
) -> int:
    """Change limits.rpm, max_cost, max_cost_per.day, max_cost_per.month or in_flight; a run takes it over
    within a second.

    `none` takes a limit away; for in_flight that is `auto`. It holds for later runs until the manifest says
    another value than it says now. What is typed for a run (`--rpm 60`) holds for that run alone.
    """
    from batcher.ledger.controls import limit_text
    from batcher.progress.summary import several
    from batcher.results import run_control

    where = _output(job, output, sandbox, shard)
    changes = run_control.set_limits(where, limits)
    if as_json:
        told = {f"limits.{name}": {"from": one, "to": other} for name, (one, other) in changes.items()}
        echo_json({"changed": told, "running": _runs(where)})
        return 0
    for name, (one, other) in changes.items():
        now = "is" if one == other else f"{limit_text(name, one)} ->"
        echo(f"limits.{name}: {now} {limit_text(name, other)}")
    took = "the run that is going on takes it over within a second; " if _runs(where) else ""
    echo(f"{took}it holds for later runs until the manifest says another value than now")
    if "rpm" in changes and (beside := _running_beside(where)):
        jobs = several(beside, "other job runs", "other jobs run")
        echo(f"{jobs} beside it, and of all of them the lowest limits.rpm holds: it is a limit of theirs too")
    return 0


def _running_beside(where: Path) -> int:
    """How many other jobs of the account run now; none beside a rehearsal, which has no account."""
    from batcher.cli.job_folder import listed_jobs

    jobs = listed_jobs().jobs
    known = any(job.output == where for job in jobs)
    return sum(job.running and job.output != where for job in jobs) if known else 0


def _output(job: Path, output: Path | None, sandbox: bool, shard: Shard | None) -> Path:
    """The job's output folder, in which something was run. Raises UsageError."""
    from batcher.cli.job_folder import resolve_output
    from batcher.results import report

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    report.of_folder(where, now=0.0)
    return where


def _runs(where: Path) -> bool:
    from batcher.storage import layout, lock

    return lock.holder(layout.lock_path(where)) is not None


def _tell_turn(where: Path, held: str, running: str, as_json: bool) -> int:
    from batcher.results import report

    status = report.of_folder(where, now=time.time())  # noqa: TID251  # the wall clock of one look
    if as_json:
        echo_json({"job": status.job, "state": status.state, "running": _runs(where)})
        return 0
    echo(f"{status.job} {held}")
    if _runs(where):
        echo(running)
    elif status.state == "paused":
        echo("no run is going on; the next one waits as well, until `batcher resume`")
    return 0
