"""audit: the ledger against the provider's statement, request by request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import BASE_URL, JOB, JSON, OUTPUT, SANDBOX, SHARD_OF_JOB, option

if TYPE_CHECKING:
    from batcher.results.audit import Audit, Orphan
    from batcher.shard import Shard

SHOWN = 20
"""Orphans and differences that are listed for people; --json lists them all."""


@click.command("audit", short_help="Compare what was spent with the provider's statement.")
@JOB
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@BASE_URL
@option("--adopt", is_flag=True, help="Take pictures that were paid for without our knowing.")
@JSON
def audit_command(
    job: Path,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    base_url: str | None,
    adopt: bool,
    as_json: bool,
) -> int:
    """Compare the ledger with the request history of your account, request by request.

    It reads and pays for nothing, and works beside a run; --adopt writes to the ledger, and waits for no run.
    What was made with --sandbox has no statement, and is refused.
    Exit code 0: every credit is explained; 3: something is not, or was paid for and never came.
    """
    import asyncio

    from batcher import engine
    from batcher.cli.job_folder import resolve_output, run_of

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    found, adopted = asyncio.run(
        engine.audit(where, adopt=adopt, warn=lambda text: echo(text, err=True), base_url=base_url)
    )
    if as_json:
        echo_json(found.as_json() | {"adopted": len(adopted)})
    else:
        again = run_of(job, output=output, sandbox=sandbox, shard=shard)
        _print(found, adopted, job, again, adopt=adopt)
    return found.exit_code


def _print(audit: Audit, adopted: list[Orphan], job: Path, again: str, *, adopt: bool) -> None:
    from batcher.ledger.totals import credits
    from batcher.progress.summary import credits as spelled
    from batcher.progress.summary import several

    rows = [
        ("the provider's statement", audit.statement.requests, audit.statement.micro),
        ("delivered", audit.delivered.requests, audit.delivered.micro),
        ("rejected", audit.rejected.requests, audit.rejected.micro),
        ("failed" if audit.failed.micro else "failed, not billed", audit.failed.requests, audit.failed.micro),
        ("in flight, or to be fetched", audit.in_flight.requests, audit.in_flight.micro),
        ("paid for, gone before it came", audit.lost.requests, audit.lost.micro),
        ("paid for, never received", len(audit.orphans), sum(orphan.cost for orphan in audit.orphans)),
        ("answers lost that were no job", audit.no_job, 0),
        ("answers lost, perhaps a job", audit.unknown, None),
    ]
    for words, requests, micro in rows:
        if requests or words in ("the provider's statement", "delivered"):
            cost = "unknown" if micro is None else spelled(credits(micro))
            echo(f"{words:32} {requests:>9,} {cost:>12}")
    _print_requests(audit)
    if adopted:
        echo(f"{several(len(adopted), 'result is', 'results are')} adopted: `{again}` fetches them")
    if audit.missed and not adopted and not adopt:
        pictures = several(len(audit.missed), "failed task has a picture", "failed tasks have pictures")
        echo(f"{pictures} at the provider that never came: `batcher audit {job} --adopt` takes them")
    if audit.unbilled:
        held = several(len(audit.unbilled), "task in doubt was", "tasks in doubt were")
        echo(f"{held} not billed: `batcher retry {job} --doubtful --only NAME` has one made, and pays once")
    if not audit.exit_code:
        echo("every credit is explained")
        return
    orphans = sum(orphan.cost for orphan in audit.orphans)
    if audit.unexplained:
        echo(f"{spelled(credits(audit.unexplained))} credits are not explained: the requests above differ")
    if orphans and not adopted and not adopt:
        echo(
            f"{spelled(credits(orphans))} credits were paid for pictures that never came: "
            f"`batcher audit {job} --adopt` takes those whose task has no picture instead of paying again"
        )
    elif orphans and not adopted:
        echo(
            f"{spelled(credits(orphans))} credits were paid for pictures that never came; none was adopted: "
            "their tasks are done, rejected or out of the plan, or it is too long ago (files are kept 7 days)"
        )


def _print_requests(audit: Audit) -> None:
    """Those that a person may want to look at, one a line."""
    from batcher.ledger.totals import credits
    from batcher.progress.summary import credits as spelled

    for orphan in audit.orphans[:SHOWN]:
        cost = spelled(credits(orphan.cost))
        echo(f"  never received: {orphan.submission.name}, {cost}, {orphan.request_id}")
    for submission, request in audit.unbilled[:SHOWN]:
        echo(f"  in doubt, failed and not billed: {submission.name}, {request}")
    for difference in audit.differences[:SHOWN]:
        ledger, statement = (
            "nothing" if micro is None else spelled(credits(micro))
            for micro in (difference.ledger, difference.statement)
        )
        echo(f"  {difference.request_id or 'no id'}: {ledger} here, {statement} there")
    hidden = sum(max(0, len(one) - SHOWN) for one in (audit.orphans, audit.unbilled, audit.differences))
    if hidden:
        echo(f"  and {hidden:,} more; --json lists them all")
