"""plan, validate: what a manifest comes to, before anything is paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json, echo_sentences
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
)

if TYPE_CHECKING:
    from batcher.api.account import Account
    from batcher.engine import Outlook
    from batcher.job.manifest import Manifest
    from batcher.shard import Shard


@click.command("plan")
@JOB
@LIMIT
@SAMPLE
@MAX_COST
@SHARD
@SET
@STRICT
@OUTPUT
@SANDBOX
@BASE_URL
@PAY_AGAIN
@JSON
def plan_command(
    job: Path,
    limit: int | None,
    sample: int | None,
    max_cost: float | None,
    shard: Shard | None,
    settings: Sequence[str],
    strict: bool,
    output: Path | None,
    sandbox: bool,
    base_url: str | None,
    pay_again: bool,
    as_json: bool,
) -> int:
    """Show what a run would do, and what it would cost."""
    manifest = load_manifest(job, settings, {"max-cost": max_cost})
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


@click.command("validate", short_help="Check a manifest and everything it names.")
@JOB
@SET
@STRICT
def validate_command(job: Path, settings: Sequence[str], strict: bool) -> int:
    """Check a manifest and everything it names; nothing is called, nothing is written."""
    from batcher.engine import outlook
    from batcher.progress.summary import several
    from batcher.storage import destination

    manifest = load_manifest(job, settings)
    destination.open_destination(manifest.store, manifest.output.dir)
    plan = outlook(manifest, manifest.output.dir, strict=strict)
    _warn(plan)
    echo(f"{job} is valid: {several(plan.total, 'task', 'tasks')}")
    return 0


def _warn(found: Outlook) -> None:
    # The first row that is left out is in a warning already.
    echo_sentences([f"warning: {warning}" for warning in found.warnings], err=True)
    for problem in found.left_out[1:]:
        sentence, *excerpt = problem.lines
        echo_sentences([f"left out: {sentence}", *excerpt], err=True)


def load_manifest(job: Path, settings: Sequence[str], options: Mapping[str, object] = {}) -> Manifest:
    """The manifest, with what the command line says over it: `--set`, and options that are named as a limit
    (None: not given). Raises ManifestError, which names what was typed."""
    from batcher.engine import load
    from batcher.errors import ManifestError

    given = {
        f"limits.{name.replace('-', '_')}={value}": f"--{name} {value}"
        for name, value in options.items()
        if value is not None
    }
    try:
        return load(job, overrides=[*settings, *given])
    except ManifestError as error:
        typed = [given.get(problem.file.removeprefix("--set ")) for problem in error.problems]
        if not any(typed):
            raise
        told = zip(error.problems, typed, strict=True)
        raise ManifestError(
            [replace(one, file=text, line=0, column=0, excerpt="") if text else one for one, text in told]
        ) from error


def _account(base_url: str | None) -> Account | None:
    """The environment's account; None where there is no key."""
    from batcher.api import account
    from batcher.errors import MissingKey

    try:
        return account.from_environment(base_url=base_url)
    except MissingKey:
        return None


def show_plan(
    manifest: Manifest,
    output: Path | None,
    *,
    sandbox: bool,
    shard: Shard | None,
    strict: bool,
    pay_again: bool,
    limit: int | None,
    sample: int | None,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Prints what a run would do, as `plan` and `run --dry-run` do; the exit code."""
    from batcher.api import account
    from batcher.engine import outlook
    from batcher.ledger.database import SANDBOX_ORIGIN
    from batcher.storage import destination, layout

    origin = SANDBOX_ORIGIN if sandbox else account.origin(base_url=base_url)
    where = layout.output_folder(manifest.output.dir, output=output, sandbox=sandbox, shard=shard)
    store = layout.store_of(manifest.store, sandbox=sandbox, shard=shard) if output is None else None
    destination.open_destination(store, where)  # a library that is missing is told now
    plan = outlook(
        manifest,
        where,
        shard=shard,
        strict=strict,
        sandbox=sandbox,
        origin=origin,
        pay_again=pay_again,
        limit=limit,
        sample=sample,
        account=_account(base_url),
        keep=True,
    )
    if as_json:
        echo_json(plan.as_json())
        return 0
    from batcher.cli.text_tables import plan_table

    _warn(plan)
    plan_table(plan, manifest, store or str(where))
    return 0
