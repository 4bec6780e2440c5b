"""The options that several commands share; each can be given as BATCHER_<NAME> in the environment too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from batcher.shard import Shard
    from batcher.storage.ray import Ray

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


JOB = click.argument("job", type=click.Path(path_type=Path))


def option(*names: str, **settings: Any) -> Decorator:
    """A click option that BATCHER_<ITS LONG NAME> mirrors."""
    long = next(name for name in names if name.startswith("--")).partition("/")[0]
    variable = "BATCHER_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=False, **settings)


def duration(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Seconds from `500ms 2s 5m 1h 7d`."""
    from batcher.job.manifest import seconds

    if value is None:
        return None
    try:
        return seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> Shard | None:
    from batcher.shard import Shard

    if value is None:
        return None
    try:
        return Shard.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class NumberOrAuto(click.types.StringParamType):
    """A number of at least 1, or auto."""

    name = "number or auto"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if value == "auto":
            return value
        try:
            return click.IntRange(1).convert(value, parameter, context)
        except click.BadParameter:
            self.fail(f"{value!r} is no number of tasks; give one from 1 on, or auto", parameter, context)


class Folder(click.Path):
    """A folder of this machine, relative to the current one; `hint`, with {value}, tells whoever gives a URL
    what to do."""

    def __init__(self, hint: str = "") -> None:
        super().__init__(path_type=Path)
        self._hint = hint

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, str) and "://" in value:
            self.fail(
                f"{value} is no folder of this machine{self._hint.format(value=value)}",
                parameter,
                context,
            )
        return super().convert(value, parameter, context)


class Setting(click.types.StringParamType):
    """KEY=VALUE; in BATCHER_SET one a line, for values have spaces."""

    name = "setting"
    envvar_list_splitter = "\n"


SET = option(
    "--set",
    "settings",
    type=Setting(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Lay a value over the manifest (dotted key, repeatable).",
)
OUTPUT = option(
    "-o",
    "--output",
    type=Folder("; pictures go there with `--set output.dir={value}`"),
    metavar="DIR",
    help="Output folder, relative to the current one.",
)


def model_slugs(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """For the shell's Tab: models that begin so."""
    from batcher.job import catalog

    return [model.slug for model in catalog.models(Path.cwd()) if model.slug.startswith(begun)]


def on_ray(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --on, --address and --workers, which `cluster_of` understands."""
    workers = option("--workers", type=click.IntRange(1), metavar="N", help="With --on: at most N at a time.")
    address = option("--address", metavar="A", help="With --on: auto, or host:port. [one of this machine]")
    on = option("--on", type=click.Choice(["ray"]), help="Let a Ray cluster work on the bytes.")
    return on(address(workers(command)))


def cluster_of(on: str | None, address: str | None, workers: int | None) -> Ray | None:
    """The cluster that was asked for; None: none. Raises UsageError."""
    from batcher import errors

    if on is None:
        # BATCHER_WORKERS speaks to the sandbox too: alone it is no mistake.
        given = click.get_current_context().get_parameter_source("workers")
        if address is not None or given is click.core.ParameterSource.COMMANDLINE:
            raise errors.UsageError("--address and --workers go with --on ray")
        return None
    from batcher.storage import ray

    ray.require_installed()
    return ray.Ray(address, workers)


SHARD = option(
    "--shard",
    callback=_share,
    metavar="I/N",
    help="Only share I of N (from 1), in <dir>/shard-I-of-N; with 1/N of --rpm and --max-cost.",
)
SHARD_OF_JOB = option(
    "--shard", callback=_share, metavar="I/N", help="That share of the job, in <dir>/shard-I-of-N."
)
SANDBOX = option("--sandbox", is_flag=True, help="Use the embedded sandbox; results go to <dir>-sandbox.")
LIMIT = option("--limit", type=click.IntRange(0), metavar="N", help="At most so many tasks this time.")
SAMPLE = option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Only N tasks, spread over sources and axes, the same each time.",
)
MAX_COST = option(
    "--max-cost",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="Stop before more credits are spent than X.",
)
BASE_URL = option("--base-url", metavar="URL", help="The API's address, before SEGMIND_BASE_URL.")
PAY_AGAIN = option(
    "--pay-again", is_flag=True, help="Begin although another output folder has paid for half of it or more."
)
STRICT = option("--strict", is_flag=True, help="A row that cannot be used is an error, not left out.")
JSON = option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else there.")
