"""run, demo."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcher.cli.cmd_plan import load_manifest, show_plan
from batcher.cli.confirm import ASKED_OVER, confirmation, edit_confirmation
from batcher.cli.echo import echo, echo_json, raw
from batcher.cli.shared_options import (
    BASE_URL,
    JOB,
    JSON,
    LIMIT,
    MAX_COST,
    OUTPUT,
    PAY_AGAIN,
    SAMPLE,
    SANDBOX,
    SET,
    SHARD,
    STRICT,
    NumberOrAuto,
    cluster_of,
    duration,
    on_ray,
    option,
)

if TYPE_CHECKING:
    from batcher.job.manifest import Manifest
    from batcher.progress import Listener
    from batcher.results.report import Report
    from batcher.shard import Shard


FIRST_COLLECTION = 10_000
"""Objects that a run makes, and keeps, before Python's collector looks for cycles among them."""


@click.command("run")
@JOB
@option("-n", "--dry-run", is_flag=True, help="Show what would be done, as `batcher plan` does.")
@option(
    "-j",
    "--in-flight",
    type=NumberOrAuto(),
    metavar="N",
    help="At most so many tasks in flight; auto: what the rate needs.",
)
@option("--rpm", metavar="N", help="Calls per minute; none: unpaced.")
@LIMIT
@SAMPLE
@option("--retry-failed", is_flag=True, help="Submit failed tasks again.")
@MAX_COST
@option("--max-duration", metavar="D", help="Stop submitting in time to be done after so long (2h).")
@SHARD
@on_ray
@SET
@STRICT
@OUTPUT
@SANDBOX
@BASE_URL
@option(
    "--grace",
    default="30s",
    callback=duration,
    metavar="D",
    help="After Ctrl-C, or --max-duration, fetch for so long. [30s]",
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
@PAY_AGAIN
@option("-y", "--yes", is_flag=True, help="Never ask.")
def run_command(
    job: Path,
    dry_run: bool,
    in_flight: int | str | None,
    rpm: str | None,
    limit: int | None,
    sample: int | None,
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
    pay_again: bool,
    yes: bool,
) -> int:
    """Run a job; the same command resumes it."""
    flags = {
        "in-flight": in_flight,
        "rpm": rpm,
        "max-cost": max_cost,
        "max-duration": max_duration,
    }
    cluster = cluster_of(on, address, workers)
    manifest = load_manifest(job, settings, flags)
    if dry_run:
        return show_plan(
            manifest,
            output,
            sandbox=sandbox,
            shard=shard,
            strict=strict,
            pay_again=pay_again,
            limit=limit,
            sample=sample,
            base_url=base_url,
            as_json=as_json,
        )
    from batcher.engine import RunOptions
    from batcher.storage import layout

    where = layout.output_folder(manifest.output.dir, output=output, sandbox=sandbox, shard=shard)
    listening = _listening(
        as_json=as_json,
        log_json=log_json,
        quiet=quiet,
        command=_command(sys.argv[1:]),
        repair=_repair(where, base_url),
        job=shlex.quote(str(where if output or sandbox or shard else job)),
    )
    options = RunOptions(
        limit=limit,
        sample=sample,
        pay_again=pay_again,
        strict=strict,
        retry_failed=retry_failed,
        stop_after=stop_after,
        confirm=None if yes or sandbox else confirmation(manifest.name, listening, confirm_over),
        confirm_edit=None if yes or sandbox else edit_confirmation(manifest.name, listening),
        grace=grace,
        signals=True,
        shard=shard,
        on=cluster,
    )
    return _run(
        manifest,
        listening,
        options,
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

    from batcher.engine import RunOptions
    from batcher.storage import layout

    shipped = Path(str(files("batcher"))) / "shipped" / "jobs" / "demo.yaml"
    checkout = Path(__file__).parents[2] / "jobs" / "demo.yaml"
    manifest = load_manifest(shipped if shipped.exists() else checkout, [])
    where = output or Path("out/demo")
    folder = layout.output_folder(where, sandbox=True)
    listening = _listening(
        as_json=False,
        log_json=False,
        quiet=quiet,
        command="batcher demo",
        repair=_repair(folder, None),
        job=shlex.quote(str(folder)),
    )
    return _run(
        manifest,
        listening,
        RunOptions(signals=True, pay_again=True),
        output=where,
        sandbox=True,
        base_url=None,
        as_json=False,
    )


def _run(
    manifest: Manifest,
    listening: AbstractContextManager[Listener],
    options: Any,
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
            from batcher.progress.metrics import MARK, Metrics
            from batcher.storage.user_file import write_user_file

            def write(text: str) -> None:
                write_user_file(metrics, [text], mark=MARK, patient=False)

            listener = both(listener, Metrics(write, now=time.time))  # noqa: TID251  # the wall clock of metrics
        report = asyncio.run(
            _watched(
                manifest,
                watch=watch,
                listener=listener,
                base_url=base_url,
                sandbox=sandbox,
                output=output,
                options=options,
            )
        )
    if as_json:
        with suppress(BrokenPipeError):  # which does not change how the run ended
            echo_json(report.as_json())
    return report.exit_code


async def _watched(
    manifest: Manifest, *, watch: bool, output: Path | None, sandbox: bool, options: Any, **more: Any
) -> Report:
    """The run, with the live page beside it if asked for; the page sees the run's end."""
    from batcher.engine import run

    if not watch:
        return await run(manifest, output=output, sandbox=sandbox, options=options, **more)
    import anyio

    from batcher.errors import BatcherError
    from batcher.results import dashboard
    from batcher.storage import layout

    where = layout.output_folder(manifest.output.dir, output=output, sandbox=sandbox, shard=options.shard)
    ended: Report | BatcherError | click.Abort
    async with anyio.create_task_group() as beside:
        beside.start_soon(partial(dashboard.serve, where, port=0, announce=partial(echo, err=True)))
        try:
            ended = await run(manifest, output=output, sandbox=sandbox, options=options, **more)
        except (BatcherError, click.Abort) as error:  # as it is, not in a group
            ended = error
        beside.cancel_scope.cancel()
    if isinstance(ended, (BatcherError, click.Abort)):
        raise ended
    return ended


def _listening(
    *, as_json: bool, log_json: bool, quiet: bool, command: str, repair: str, job: str
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
        return nullcontext(Lines(sys.stderr, command=command, repair=repair, job=job, now=now, quiet=True))
    if stream.isatty():
        from batcher.progress.terminal import Terminal, plain_console

        console = plain_console(raw(stream))
        if not console.is_dumb_terminal:
            return Terminal(command, repair=repair, job=job, console=console)
    if as_json:
        return nullcontext(silent)
    return nullcontext(Lines(stream, command=command, repair=repair, job=job, now=now))


def _command(arguments: Sequence[str]) -> str:
    """What the user typed, for "what to do next"."""
    return shlex.join(["batcher", *arguments])


def _repair(where: Path, base_url: str | None) -> str:
    """The command that pays again for files of this output folder that are gone. The folder names the job as
    it was run, with all that `--set` said."""
    address = [] if base_url is None else ["--base-url", base_url]
    return shlex.join(["batcher", "verify", str(where), *address, "--repair", "--repay"])
