"""run, demo, plan, validate."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcher.cli.confirming import ASKED_OVER, confirmation
from batcher.cli.options import (
    JOB,
    JSON,
    OUTPUT,
    SANDBOX,
    SET,
    SHARD,
    STRICT,
    cluster_of,
    duration,
    on_ray,
    option,
)

if TYPE_CHECKING:
    from batcher.manifest import Manifest
    from batcher.progress import Listener
    from batcher.report import Report
    from batcher.run import Outlook
    from batcher.shard import Shard


FIRST_COLLECTION = 10_000
"""Objects that a run makes, and keeps, before Python's collector looks for cycles among them."""


@click.command("run")
@JOB
@option("-n", "--dry-run", is_flag=True, help="Show what would be done, as `batcher plan` does.")
@option("-j", "--in-flight", type=click.IntRange(1), metavar="N", help="At most so many tasks in flight.")
@option("--rpm", metavar="N", help="Calls per minute; none: unpaced.")
@option("--limit", type=click.IntRange(0), metavar="N", help="At most so many tasks this time.")
@option("--retry-failed", is_flag=True, help="Submit failed tasks again.")
@option(
    "--max-cost",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="Stop before more credits are spent than X.",
)
@option("--max-duration", metavar="D", help="Stop submitting in time to be done after so long (2h).")
@SHARD
@on_ray
@SET
@STRICT
@OUTPUT
@SANDBOX
@option("--base-url", metavar="URL", help="The API's address, before SEGMIND_BASE_URL.")
@option(
    "--grace", default="30s", callback=duration, metavar="D", help="After Ctrl-C, fetch for so long. [30s]"
)
@JSON
@option("--log-json", is_flag=True, help="One JSON object per event on stderr.")
@option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep the run as Prometheus metrics in FILE (node_exporter's textfile).",
)
@option("--watch", is_flag=True, help="Serve the live page beside the run; its address is told on stderr.")
@option("-q", "--quiet", is_flag=True, help="Only problems.")
@option(
    "--confirm-over",
    type=click.FloatRange(0),
    metavar="X",
    help=f"Ask before a run that would cost more than X credits. [{ASKED_OVER:g} at a terminal, else never]",
)
@option(
    "--stop-after",
    type=click.IntRange(1),
    default=10,
    metavar="N",
    help="Stop when the first N tasks all fail for one reason. [10]",
)
@option("-y", "--yes", is_flag=True, help="Never ask.")
def run_command(
    job: Path,
    dry_run: bool,
    in_flight: int | None,
    rpm: str | None,
    limit: int | None,
    retry_failed: bool,
    max_cost: float | None,
    max_duration: str | None,
    shard: Shard | None,
    on: str | None,
    address: str | None,
    workers: int | None,
    settings: Sequence[str],
    strict: bool,
    output: Path | None,
    sandbox: bool,
    base_url: str | None,
    grace: float,
    as_json: bool,
    log_json: bool,
    metrics: Path | None,
    watch: bool,
    quiet: bool,
    confirm_over: float | None,
    stop_after: int,
    yes: bool,
) -> int:
    """Run a job; the same command resumes it."""
    flags = {
        "limits.in_flight": in_flight,
        "limits.rpm": rpm,
        "limits.max_cost": max_cost,
        "limits.max_duration": max_duration,
    }
    overrides = [*settings, *(f"{key}={value}" for key, value in flags.items() if value is not None)]
    cluster = cluster_of(on, address, workers)
    manifest = _load(job, overrides)
    if dry_run:
        return _show_plan(manifest, output, sandbox=sandbox, shard=shard, strict=strict, as_json=as_json)
    from batcher import place
    from batcher.run import Wishes

    listening = _listening(
        as_json=as_json,
        log_json=log_json,
        quiet=quiet,
        command=_command(sys.argv[1:]),
        repair=_repair(
            place.output_in(manifest.output.dir, output=output, sandbox=sandbox, shard=shard), base_url
        ),
    )
    wishes = Wishes(
        most=limit,
        strict=strict,
        retry_failed=retry_failed,
        same_failures=stop_after,
        confirm=None if yes or sandbox else confirmation(manifest.name, listening, confirm_over),
        grace=grace,
        signals=True,
        shard=shard,
        on=cluster,
    )
    return _run(
        manifest,
        listening,
        wishes,
        output=output,
        sandbox=sandbox,
        base_url=base_url,
        as_json=as_json,
        metrics=metrics,
        watch=watch,
    )


@click.command("demo", short_help="Run the shipped demo on the embedded sandbox.")
@OUTPUT
@option("-q", "--quiet", is_flag=True, help="Only problems.")
def demo_command(output: Path | None, quiet: bool) -> int:
    """Run the shipped demo on the embedded sandbox: real photographs, no key, no money."""
    from importlib.resources import files

    from batcher import place
    from batcher.run import Wishes

    shipped = Path(str(files("batcher"))) / "shipped" / "jobs" / "demo.yaml"
    checkout = Path(__file__).parents[2] / "jobs" / "demo.yaml"
    manifest = _load(shipped if shipped.exists() else checkout, [])
    where = output or Path("out/demo")
    repair = _repair(place.output_in(where, sandbox=True), None)
    listening = _listening(as_json=False, log_json=False, quiet=quiet, command="batcher demo", repair=repair)
    return _run(
        manifest, listening, Wishes(signals=True), output=where, sandbox=True, base_url=None, as_json=False
    )


@click.command("plan")
@JOB
@SHARD
@SET
@STRICT
@OUTPUT
@SANDBOX
@JSON
def plan_command(
    job: Path,
    shard: Shard | None,
    settings: Sequence[str],
    strict: bool,
    output: Path | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Show what a run would do, and what it would cost."""
    manifest = _load(job, settings)
    return _show_plan(manifest, output, sandbox=sandbox, shard=shard, strict=strict, as_json=as_json)


@click.command("validate", short_help="Check a manifest and everything it names.")
@JOB
@SET
@STRICT
def validate_command(job: Path, settings: Sequence[str], strict: bool) -> int:
    """Check a manifest and everything it names; nothing is called, nothing is written."""
    from batcher import destination
    from batcher.run import outlook

    manifest = _load(job, settings)
    destination.at(manifest.store, manifest.output.dir)
    found = outlook(manifest, manifest.output.dir, strict=strict)
    _warn(found)
    click.echo(f"{job} is valid: {found.total} tasks")
    return 0


def _warn(found: Outlook) -> None:
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    for problem in found.left_out[1:]:
        click.echo(f"  left out: {problem}", err=True)


def _load(job: Path, overrides: Sequence[str]) -> Manifest:
    from batcher.run import load

    return load(job, overrides)


def _run(
    manifest: Manifest,
    listening: AbstractContextManager[Listener],
    wishes: Any,
    *,
    output: Path | None,
    sandbox: bool,
    base_url: str | None,
    as_json: bool,
    metrics: Path | None = None,
    watch: bool = False,
) -> int:
    import asyncio
    import gc

    # What tasks hold goes by itself when they end; the collector would look through it hundreds of times.
    gc.freeze()
    gc.set_threshold(FIRST_COLLECTION, 20, 100)
    with listening as listener:
        if metrics is not None:
            from batcher.progress import both
            from batcher.progress.metrics import Metrics

            listener = both(listener, Metrics(metrics, now=time.time))  # noqa: TID251  # the wall clock of metrics
        report = asyncio.run(
            _watched(
                manifest,
                watch=watch,
                listener=listener,
                base_url=base_url,
                sandbox=sandbox,
                output=output,
                wishes=wishes,
            )
        )
    if as_json:
        with suppress(BrokenPipeError):  # which does not change how the run ended
            click.echo(json.dumps(report.as_json()))
    return report.exit_code


async def _watched(
    manifest: Manifest, *, watch: bool, output: Path | None, sandbox: bool, wishes: Any, **more: Any
) -> Report:
    """The run, with the live page beside it if asked for; the page sees the run's end."""
    from batcher.run import run

    if not watch:
        return await run(manifest, output=output, sandbox=sandbox, wishes=wishes, **more)
    import anyio

    from batcher import dashboard, place
    from batcher.errors import BatcherError

    where = place.output_in(manifest.output.dir, output=output, sandbox=sandbox, shard=wishes.shard)
    ended: Report | BatcherError | click.Abort
    async with anyio.create_task_group() as beside:
        beside.start_soon(partial(dashboard.serve, where, port=0, announce=_beside_the_block))
        try:
            ended = await run(manifest, output=output, sandbox=sandbox, wishes=wishes, **more)
        except (BatcherError, click.Abort) as error:  # as it is, not in a group
            ended = error
        beside.cancel_scope.cancel()
    if isinstance(ended, (BatcherError, click.Abort)):
        raise ended
    return ended


def _beside_the_block(text: str) -> None:
    """A line on stderr. `click.echo` would pass by the live block, which then draws over it."""
    print(text, file=sys.stderr, flush=True)


def _listening(
    *, as_json: bool, log_json: bool, quiet: bool, command: str, repair: str
) -> AbstractContextManager[Listener]:
    """Who listens: a live block on a terminal, lines elsewhere, JSON lines if asked; stdout stays free for
    `--json`."""
    from batcher.progress import silent
    from batcher.progress.lines import JsonLines, Lines

    now = time.time  # noqa: TID251  # the wall clock of what is shown
    stream = sys.stderr if as_json else sys.stdout
    if log_json:
        return nullcontext(JsonLines(sys.stderr, now=now))
    if quiet:
        return nullcontext(Lines(sys.stderr, command=command, repair=repair, now=now, quiet=True))
    if stream.isatty():
        from batcher.progress.terminal import Terminal, plain_console

        console = plain_console(stream)
        if not console.is_dumb_terminal:
            return Terminal(command, repair=repair, console=console)
    if as_json:
        return nullcontext(silent)
    return nullcontext(Lines(stream, command=command, repair=repair, now=now))


def _command(arguments: Sequence[str]) -> str:
    """What the user typed, for "what to do next"."""
    return shlex.join(["batcher", *arguments])


def _repair(where: Path, base_url: str | None) -> str:
    """The command that pays again for files of this output folder that are gone. The folder names the job as
    it was run, with all that `--set` said."""
    address = [] if base_url is None else ["--base-url", base_url]
    return shlex.join(["batcher", "verify", str(where), *address, "--repair", "--repay"])


def _show_plan(
    manifest: Manifest,
    output: Path | None,
    *,
    sandbox: bool,
    shard: Shard | None,
    strict: bool,
    as_json: bool,
) -> int:
    from batcher import destination, place
    from batcher.run import outlook

    where = place.output_in(manifest.output.dir, output=output, sandbox=sandbox, shard=shard)
    store = place.store_of(manifest.store, sandbox=sandbox, shard=shard) if output is None else None
    destination.at(store, where)  # a library that is missing is told now
    found = outlook(manifest, where, shard=shard, strict=strict, sandbox=sandbox)
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return 0
    from batcher.cli.tables import plan_table

    _warn(found)
    plan_table(found, manifest, store or str(where))
    return 0
