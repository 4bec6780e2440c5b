"""verify, retry: what was delivered is looked at and mended; what failed may be submitted again."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import JOB, JSON, OUTPUT, SANDBOX, SHARD_OF_JOB, cluster_of, on_ray, option

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
        _tell_found(check, where, as_json=as_json)
        return 3 if check.findings else 0
    from batcher import engine

    mended = asyncio.run(
        engine.repair(
            where,
            None if job.is_dir() else job,
            repay=repay,
            warn=lambda text: echo(text, err=as_json),
            listener=_warn,
            base_url=base_url,
            signals=True,
            on=cluster,
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
@SHARD_OF_JOB
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

    from batcher import errors
    from batcher.cli.job_folder import resolve_output
    from batcher.ledger import database
    from batcher.ledger.retry_failed import retry
    from batcher.results import report
    from batcher.storage import layout, lock

    if doubtful and not failed and reason is not None:
        raise errors.UsageError("only failed tasks have a reason; leave --reason away, or add --failed")
    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    stands = report.of_folder(where, now=time.time())  # noqa: TID251  # the wall clock of one look
    path = layout.ledger_path(where)
    with database.disk_errors(path), closing(database.open_file(path)) as connection:
        retried = retry(
            connection, failed=failed or not doubtful, doubtful=doubtful, reason=reason, only=only
        )
    running = lock.holder(layout.lock_path(where)) is not None
    if as_json:
        counts = {"failed": retried.failed, "doubtful": retried.doubtful}
        echo_json({"job": stands.job, "retried": counts, "running": running})
        return 0
    from batcher.progress.summary import several

    for number, kind in ((retried.failed, "failed"), (retried.doubtful, "doubtful")):
        if number:
            echo(f"{several(number, f'{kind} task is', f'{kind} tasks are')} planned again")
    if not retried.failed and not retried.doubtful:
        echo("no task fits; nothing was changed")
    elif running:
        echo("the run that is going on submits them")
    else:
        echo(f"`{_run_of(job, shard)}` submits them")
    return 0


def _warn(event: Event) -> None:
    from batcher.progress import Message

    if isinstance(event, Message):
        echo(event.text, err=True)


# --- verify: what is told


def _tell_found(found: CheckResult, where: Path, *, as_json: bool) -> None:
    from batcher.progress.summary import several

    if as_json:
        echo_json(_object(found, found.findings, where))
        return
    echo(f"{several(found.checked, 'delivered file', 'delivered files')} checked in {where}")
    if found.beside:
        echo("a run is going on there: what it is working on was not judged")
    _list(found.findings)
    _tell_answers(found)
    if not found.findings:
        echo("all is well")
    else:
        echo(f"`batcher verify {shlex.quote(str(where))} --repair` mends what can be mended without paying")


def _tell_mended(mended: RepairResult, where: Path, *, as_json: bool) -> None:
    from batcher.progress.summary import several

    if as_json:
        facts = {
            "fetched": mended.fetched,
            "aside": mended.aside,
            "repaid": mended.repaid,
            "cost": mended.cost,
        }
        answer = _object(mended.found, mended.remaining, where) | {"mended": facts, "causes": mended.causes}
        echo_json(answer)
        return
    found = mended.found
    echo(f"{several(found.checked, 'delivered file', 'delivered files')} checked in {where}")
    _list(found.findings)
    _tell_answers(found)
    if mended.aside:
        echo(f"{several(mended.aside, 'file', 'files')} moved to {where / '.batcher' / 'aside'}")
    if mended.fetched:
        echo(f"{several(mended.fetched, 'file', 'files')} in place again")
    if mended.repaid:
        echo(f"{several(mended.repaid, 'task', 'tasks')} submitted again for {mended.cost:g} credits more")
    for cause in mended.causes:
        echo(f"the run that fetches was stopped: {cause}")
    if mended.remaining:
        echo("what remains wrong:")
        _list(mended.remaining)
    else:
        echo("all is well" + (" again" if found.findings else ""))


def _tell_answers(found: CheckResult) -> None:
    """What lies in the folder of answers that nobody understood."""
    from batcher.progress.summary import several

    if not found.answers:
        return
    shown = ", ".join(f"{answer.name} ({answer.state})" for answer in found.answers[:SHOWN])
    more = f" and {len(found.answers) - SHOWN:,} more" if len(found.answers) > SHOWN else ""
    answers = several(len(found.answers), "answer of the API is", "answers of the API are")
    echo(f"{answers} kept in .batcher/answers, not understood or without a picture: {shown}{more}")


def _object(found: CheckResult, remaining: Sequence[Finding], where: Path) -> dict[str, Any]:
    """The object of `verify --json`: counts of what was found, and each thing that is wrong now."""
    from batcher.results.verify import FindingKind

    return {
        "output": str(where),
        "running": found.beside,
        "checked": found.checked,
        "found": {kind.value: len(found.of(kind)) for kind in FindingKind},
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
            for answer in found.answers
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


def _run_of(job: Path, shard: Shard | None) -> str:
    """The command that submits; a folder's manifest is not known here."""
    share = [] if shard is None else ["--shard", str(shard)]
    return "batcher run" if job.is_dir() else shlex.join(["batcher", "run", str(job), *share])
