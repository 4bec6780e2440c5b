"""verify: every delivered file against the ledger, and the repair."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import (
    BASE_URL,
    JOB,
    JSON,
    OUTPUT,
    SANDBOX,
    SHARD_OF_JOB,
    cluster_of,
    on_ray,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batcher.progress import Event
    from batcher.results.verify import CheckResult, Finding, RepairResult
    from batcher.shard import Shard

SHOWN = 20
"""Findings of one kind that are listed for people; --json lists them all."""


@click.command("verify", short_help="Check every delivered file against the ledger, and mend.")
@JOB
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@BASE_URL
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

    from batcher import errors
    from batcher.cli.job_folder import resolve_output
    from batcher.ledger import database
    from batcher.results import verify
    from batcher.storage import layout, ray

    if repay and not repair:
        raise errors.UsageError("--repay pays for what --repair cannot fetch; give both")
    cluster = cluster_of(on, address, workers)
    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    if not repair:
        store = database.read_meta(layout.ledger_path(where), "destination")
        with ray.workers_for(cluster, where, store) as byte_workers:
            check = asyncio.run(verify.check_output(where, workers=byte_workers))
        _show_check(check, where, as_json=as_json)
        return 3 if check.findings else 0
    from batcher import engine

    repaired = asyncio.run(
        engine.repair(
            where,
            job if job.is_file() else None,
            repay=repay,
            warn=lambda text: echo(text, err=as_json),
            listener=_warn,
            base_url=base_url,
            signals=True,
            on=cluster,
        )
    )
    _show_repair(repaired, where, as_json=as_json)
    return repaired.exit_code


def _warn(event: Event) -> None:
    from batcher.progress import Message

    if isinstance(event, Message):
        echo(event.text, err=True)


def _show_check(check: CheckResult, where: Path, *, as_json: bool) -> None:
    from batcher.progress.summary import several

    if as_json:
        echo_json(_object(check, check.findings, where))
        return
    echo(f"{several(check.checked, 'delivered file', 'delivered files')} checked in {where}")
    if check.is_running:
        echo("a run is going on there: what it is working on was not judged")
    _list(check.findings)
    _show_answers(check)
    if not check.findings:
        echo("all is well")
    else:
        echo(f"`batcher verify {shlex.quote(str(where))} --repair` mends what can be mended without paying")


def _show_repair(repaired: RepairResult, where: Path, *, as_json: bool) -> None:
    from batcher.progress.summary import several

    if as_json:
        facts = {
            "fetched": repaired.fetched,
            "aside": repaired.set_aside,
            "repaid": repaired.repaid,
            "cost": repaired.cost,
        }
        answer = _object(repaired.check, repaired.remaining, where) | {
            "mended": facts,
            "causes": repaired.causes,
        }
        echo_json(answer)
        return
    check = repaired.check
    echo(f"{several(check.checked, 'delivered file', 'delivered files')} checked in {where}")
    _list(check.findings)
    _show_answers(check)
    if repaired.set_aside:
        echo(f"{several(repaired.set_aside, 'file', 'files')} moved to {where / '.batcher' / 'aside'}")
    if repaired.fetched:
        echo(f"{several(repaired.fetched, 'file', 'files')} in place again")
    if repaired.repaid:
        echo(
            f"{several(repaired.repaid, 'task', 'tasks')} submitted again for {repaired.cost:g} credits more"
        )
    for cause in repaired.causes:
        echo(f"the run that fetches was stopped: {cause}")
    if repaired.remaining:
        echo("what remains wrong:")
        _list(repaired.remaining)
    else:
        echo("all is well" + (" again" if check.findings else ""))


def _show_answers(check: CheckResult) -> None:
    """What lies in the folder of answers that nobody understood."""
    from batcher.progress.summary import several

    if not check.answers:
        return
    shown = ", ".join(f"{answer.name} ({answer.state})" for answer in check.answers[:SHOWN])
    more = f" and {len(check.answers) - SHOWN:,} more" if len(check.answers) > SHOWN else ""
    answers = several(len(check.answers), "answer of the API is", "answers of the API are")
    echo(f"{answers} kept in .batcher/answers, not understood or without a picture: {shown}{more}")


def _object(check: CheckResult, remaining: Sequence[Finding], where: Path) -> dict[str, Any]:
    """The object of `verify --json`: counts of what was found, and each thing that is wrong now."""
    from batcher.results.verify import FindingKind

    return {
        "output": str(where),
        "running": check.is_running,
        "checked": check.checked,
        "found": {kind.value: len(check.of(kind)) for kind in FindingKind},
        "wrong": [
            {"kind": finding.kind.value, "path": finding.path, "why": finding.why} for finding in remaining
        ],
        "answers": [
            {
                "path": answer.path,
                "task": answer.name,
                "state": answer.state,
                "picture": answer.has_picture,
            }
            for answer in check.answers
        ],
    }


def _list(findings: Sequence[Finding]) -> None:
    from batcher.results.verify import FindingKind

    for kind in FindingKind:
        these = [finding for finding in findings if finding.kind is kind]
        for finding in these[:SHOWN]:
            echo(f"  {kind.value}  {finding.path}: {finding.why}")
        if len(these) > SHOWN:
            echo(f"  {kind.value}  and {len(these) - SHOWN:,} more")
