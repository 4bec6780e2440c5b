"""verify, retry: what was delivered is looked at and mended; what failed may be submitted again."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcher.cli.options import JOB, JSON, OUTPUT, SANDBOX, SHARE, cluster_of, on_ray, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batcher.account import Account
    from batcher.distribute import Ray
    from batcher.manifest import Manifest
    from batcher.progress import Event
    from batcher.report import Report
    from batcher.shard import Shard
    from batcher.verify import Finding, Found, Mended
    from batcher.verify.mending import Fetch

SHOWN = 20
"""Findings of one kind that are listed for people; --json lists them all."""


@click.command("verify", short_help="Check every delivered file against the ledger, and mend.")
@JOB
@SHARE
@OUTPUT
@SANDBOX
@option("--base-url", metavar="URL", help="The API's address, before SEGMIND_BASE_URL.")
@option("--repair", is_flag=True, help="Set wrong files aside and fetch again, without paying.")
@option("--repay", is_flag=True, help="With --repair: submit again what cannot be fetched; this costs.")
@on_ray
@JSON
def verify_command(
    job: Path,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    base_url: str | None,
    repair: bool,
    repay: bool,
    on: str | None,
    address: str | None,
    workers: int | None,
    as_json: bool,
) -> int:
    """Check that every delivered file is there, whole, and the one that was delivered.

    Without --repair nothing is written, and it works beside a run. Exit code 0: all is well, or was mended;
    3: something is wrong and remains.
    """
    import asyncio

    from batcher import distribute, errors, place, verify

    if repay and not repair:
        raise errors.UsageError("--repay pays for what --repair cannot fetch; give both")
    cluster = cluster_of(on, address, workers)
    where = place.output_of(job, output=output, sandbox=sandbox, shard=shard)
    with distribute.hands(cluster, where, _note_of(where, "destination")) as hands:
        if not repair:
            found = asyncio.run(verify.look(where, hands=hands))
            _tell_found(found, where, as_json=as_json)
            return 3 if found.findings else 0
        mended = asyncio.run(
            verify.mend(
                where,
                fetcher=lambda: _fetch_of(job, where, base_url, cluster),
                repay=repay,
                tell=lambda text: click.echo(text, err=as_json),
                now=time.time,  # noqa: TID251  # the wall clock enters at the roof
                hands=hands,
            )
        )
    _tell_mended(mended, where, as_json=as_json)
    return mended.exit_code


@click.command("retry", short_help="Let failed or doubtful tasks be submitted again.")
@JOB
@option("--failed", is_flag=True, help="Failed tasks; the default.")
@option(
    "--doubtful", is_flag=True, help="Tasks whose answer was lost: perhaps paid, perhaps paid twice then."
)
@option("--reason", metavar="TEXT", help="Only failed tasks whose reason has this text in it.")
@option("--only", metavar="GLOB", help="Only tasks whose name fits, as in 'paris-*'.")
@SHARE
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

    from batcher import errors, place, report
    from batcher.ledger import store
    from batcher.ledger.retrying import retry

    if doubtful and not failed and reason is not None:
        raise errors.UsageError("only failed tasks have a reason; leave --reason away, or add --failed")
    where = place.output_of(job, output=output, sandbox=sandbox, shard=shard)
    stands = report.of_folder(where, now=time.time())  # noqa: TID251  # the wall clock of one look
    path = place.ledger_of(where)
    with store.disk_errors(path), closing(store.open_file(path)) as connection:
        retried = retry(
            connection, failed=failed or not doubtful, doubtful=doubtful, reason=reason, only=only
        )
    running = stands.state == "running"
    if as_json:
        counts = {"failed": retried.failed, "doubtful": retried.doubtful}
        click.echo(json.dumps({"job": stands.job, "retried": counts, "running": running}))
        return 0
    for number, kind in ((retried.failed, "failed"), (retried.doubtful, "doubtful")):
        if number:
            click.echo(f"{_several(number, f'{kind} task is', f'{kind} tasks are')} planned again")
    if not retried.failed and not retried.doubtful:
        click.echo("no task fits; nothing was changed")
    elif running:
        click.echo("the run that is going on submits them")
    else:
        click.echo(f"`{_run_of(job, shard)}` submits them")
    return 0


# --- verify: the run that fetches


def _fetch_of(job: Path, where: Path, base_url: str | None, cluster: Ray | None) -> Fetch:
    """The run that fetches for a repair; what keeps it from starting is raised here, before anything is
    changed: MissingKey, ManifestError, UsageError."""
    from batcher import place
    from batcher.run import run
    from batcher.run.starting import SANDBOX_ORIGIN, Wishes, account_for
    from batcher.shard import Shard

    embedded = _note_of(where, "origin") == SANDBOX_ORIGIN
    share = _note_of(where, "shard")
    manifest = _manifest_of(job, where)
    who: Account | None = None if embedded else account_for(manifest, base_url)
    output = place.before_sandbox(where) if embedded else where

    async def fetch(most: int) -> Report:
        shard = Shard.parse(share) if share else None
        wishes = Wishes(most=most, replan=False, signals=True, shard=shard, on=cluster)
        return await run(
            manifest, listener=_warn, account=who, sandbox=embedded, output=output, wishes=wishes
        )

    return fetch


def _manifest_of(job: Path, where: Path) -> Manifest:
    """The job's manifest; for an output folder the one that its last run left there. Its limits and retries
    are what a repair needs; the plan stays as it is."""
    from batcher.run import load

    return load(where / ".batcher" / "manifest.yaml" if job.is_dir() else job)


def _note_of(where: Path, key: str) -> str | None:
    from contextlib import closing

    from batcher import place
    from batcher.ledger import store

    path = place.ledger_of(where)
    if not path.exists():
        return None
    with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
        return store.meta(connection, key)


def _warn(event: Event) -> None:
    from batcher.progress import Noted

    if isinstance(event, Noted):
        click.echo(event.text, err=True)


# --- verify: what is told


def _tell_found(found: Found, where: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_object(found, found.findings, where), ensure_ascii=False))
        return
    click.echo(f"{_several(found.checked, 'delivered file', 'delivered files')} checked in {where}")
    if found.beside:
        click.echo("a run is going on there: what it is working on was not judged")
    _list(found.findings)
    if not found.findings:
        click.echo("all is well")
    else:
        click.echo("`batcher verify --repair` mends what can be mended without paying")


def _tell_mended(mended: Mended, where: Path, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "fetched": mended.fetched,
            "aside": mended.aside,
            "repaid": mended.repaid,
            "cost": mended.cost,
        }
        told = _object(mended.found, mended.remaining, where) | {"mended": facts, "causes": mended.causes}
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    found = mended.found
    click.echo(f"{_several(found.checked, 'delivered file', 'delivered files')} checked in {where}")
    _list(found.findings)
    if mended.aside:
        click.echo(f"{_several(mended.aside, 'file', 'files')} moved to {where / '.batcher' / 'aside'}")
    if mended.fetched:
        click.echo(f"{_several(mended.fetched, 'file', 'files')} in place again")
    if mended.repaid:
        click.echo(
            f"{_several(mended.repaid, 'task', 'tasks')} submitted again for {mended.cost:g} credits more"
        )
    for cause in mended.causes:
        click.echo(f"the run that fetches was stopped: {_printable(cause)}")
    if mended.remaining:
        click.echo("what remains wrong:")
        _list(mended.remaining)
    else:
        click.echo("all is well" + (" again" if found.findings else ""))


def _object(found: Found, remaining: Sequence[Finding], where: Path) -> dict[str, Any]:
    """The object of `verify --json`: counts of what was found, and each thing that is wrong now."""
    from batcher.verify import Kind

    return {
        "output": str(where),
        "running": found.beside,
        "checked": found.checked,
        "found": {kind.value: len(found.of(kind)) for kind in Kind},
        "wrong": [
            {"kind": finding.kind.value, "path": finding.path, "why": finding.why} for finding in remaining
        ],
    }


def _list(findings: Sequence[Finding]) -> None:
    from batcher.verify import Kind

    for kind in Kind:
        these = [finding for finding in findings if finding.kind is kind]
        for finding in these[:SHOWN]:
            click.echo(f"  {kind.value}  {_printable(finding.path)}: {_printable(finding.why)}")
        if len(these) > SHOWN:
            click.echo(f"  {kind.value}  and {len(these) - SHOWN:,} more")


def _printable(text: str) -> str:
    from batcher.progress.summary import printable

    return printable(text, sys.stdout.encoding)


def _several(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _run_of(job: Path, shard: Shard | None) -> str:
    """The command that submits; a folder's manifest is not known here."""
    share = [] if shard is None else ["--shard", str(shard)]
    return "batcher run" if job.is_dir() else shlex.join(["batcher", "run", str(job), *share])
