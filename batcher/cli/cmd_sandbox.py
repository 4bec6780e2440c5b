"""sandbox: a local server of the API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo
from batcher.cli.shared_options import duration, option
from batcher.errors import ManifestError, UsageError

if TYPE_CHECKING:
    from batcher.sandbox import Faults


def _rate(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """`none` as `run --rpm` has it: BATCHER_RPM speaks to both."""
    if value is None or value == "none":
        return None
    found: float = click.FloatRange(0, min_open=True)(value, parameter, context)
    return found


@click.command("sandbox", short_help="Serve the API on this machine: no key, no money.")
@option("--port", default=0, type=click.IntRange(0, 65535), metavar="N", help="0 picks one. [0]")
@option("--service", callback=duration, metavar="D", help="Mean time of a job. [the model's typical]")
@option("--sigma", default=0.3, type=click.FloatRange(0), metavar="X", help="Lognormal spread of it. [0.3]")
@option("--workers", default=16, type=click.IntRange(1), metavar="N", help="Jobs that run at once. [16]")
@option("--rpm", callback=_rate, metavar="N", help="Calls per minute; none: no limit. [none]")
@option("--metered", default="submits", type=click.Choice(["submits", "all"]), help="What counts. [submits]")
@option("--ttl", default="1h", callback=duration, metavar="D", help="Life of a request's record. [1h]")
@option(
    "--credits",
    "balance",
    default=1000.0,
    type=click.FloatRange(0),
    metavar="X",
    help="What the account holds. [1000]",
)
@option("--price", type=click.FloatRange(0), metavar="X", help="Credits per image. [the model's]")
@option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A script of faults (YAML).",
)
@option("--seed", default=0, type=int, metavar="N", help="Of service times and faults. [0]")
def sandbox_command(
    port: int,
    service: float | None,
    sigma: float,
    workers: int,
    rpm: float | None,
    metered: str,
    ttl: float,
    balance: float,
    price: float | None,
    faults: Path | None,
    seed: int,
) -> int:
    """Serve the API on this machine: no key to buy, no money. Its first line on stdout is its address."""
    import asyncio

    from batcher.sandbox import Options, serve

    script = None if faults is None else _script(faults, seed)
    try:
        options = Options(
            port=port,
            service=service,
            sigma=sigma,
            workers=workers,
            rpm=rpm,
            metered="all" if metered == "all" else "submits",
            ttl=ttl,
            credits=balance,
            price=price,
            faults=script,
            seed=seed,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        asyncio.run(serve(options, echo))
    except OSError as error:
        raise UsageError(f"port {port} cannot be had: {error.strerror}") from error
    return 0


def _script(path: Path, seed: int) -> Faults:
    """The script of faults of a YAML file. Raises ManifestError with the place of all that is wrong in it."""
    from batcher.job.yaml_document import read_text, read_yaml
    from batcher.sandbox import Faults, FaultsError

    document = read_yaml(read_text(path, "script of faults"), str(path))
    if document.problems:
        raise ManifestError(document.problems)
    try:
        return Faults.load(document.data, seed=seed)
    except FaultsError as error:
        raise ManifestError([document.problem(*problem) for problem in error.problems]) from error
