"""A plan that enters a folder where nothing was paid for yet: whether it is paid for in one beside it, in
one of the account's other jobs, or was in this very folder, which has lost its ledger.

Rule: looked at before the plan is for good. What other folders know is read by key, never by name, and a
folder of the sandbox is compared with the sandbox's own. The keys on a disk that is not there cannot be read:
their number is known, which is enough to ask before they are paid for again. A folder that somebody took away
is told of, and not asked about.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from batcher import errors
from batcher.api.account import Account
from batcher.engine.reuse import ReusableFolder
from batcher.job.manifest import Manifest
from batcher.ledger import other_ledgers
from batcher.ledger.account_file import folders_of
from batcher.ledger.account_view import RememberedJob, remembered_in
from batcher.ledger.other_ledgers import PaidThere, PlanKeys
from batcher.progress.summary import several
from batcher.shard import Shard
from batcher.storage import layout
from batcher.storage.layout import OutputGroup
from batcher.storage.user_state import account_path

WIDEST_WAY = 40
"""What to do and what comes of it stand in two columns, as long as paths are short."""


@dataclass(frozen=True, slots=True)
class PaidOutput:
    """Half of a plan or more is paid for in another output folder, or in the shares of one."""

    group: OutputGroup
    paid: PaidThere

    @property
    def rank(self) -> tuple[int, bool]:
        """Which of several is named: the one that has most, and where a run may go on sooner than shares."""
        return self.paid.done + self.paid.under_way, self.group.whole


@dataclass(frozen=True, slots=True)
class LostOutput:
    """A job of the account had as many tasks done in `folder` as half of a plan of `total`, or more, and its
    ledger is not there; `is_unmounted`: nor is the disk on which it lies."""

    folder: Path
    job: RememberedJob
    total: int
    is_unmounted: bool

    @property
    def done_there(self) -> str:
        """What was done, where and by whom."""
        last = datetime.fromtimestamp(self.job.seen_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        done = several(self.job.done, "task was", "tasks were")
        return f"{done} done in {layout.typed(self.folder)} (job {self.job.name}, last seen there {last})"

    @property
    def price(self) -> str:
        """What a run here would pay for."""
        return "the one task" if self.total == 1 else f"all {self.total:,} tasks"

    @property
    def notice(self) -> str:
        """What is said where somebody took the folder away."""
        return (
            f"{self.done_there}, and their ledger is gone: a run here pays for {self.price} anew; where the "
            "folder was moved, -o THERE goes on"
        )


def find_paid_output(
    connection: sqlite3.Connection,
    plan: int,
    manifest: Manifest,
    output: Path,
    *,
    origin: str,
    reused: Sequence[ReusableFolder],
    account: Account | None = None,
) -> PaidOutput | LostOutput | None:
    """Where half or more of the plan of this number in `connection`, which is about to enter `output`, is
    paid for at the API `origin`, and is not to be taken over from `reused`: of several folders the one that
    has most. Those of the other jobs of `account` are asked too, and what was done in `output` itself before
    its ledger went. None: nowhere, or something is paid for in `output` itself already."""
    if other_ledgers.has_paid(connection):
        return None
    best: PaidOutput | None = None
    keys = PlanKeys(connection, plan)
    for group in candidates(manifest, output, account):
        ledgers = [layout.ledger_path(folder) for folder in group.outputs]
        paid = other_ledgers.paid_in(keys, ledgers, origin, [one.ledger for one in reused])
        found = PaidOutput(group, paid)
        if paid.is_half and (best is None or found.rank > best.rank):
            best = found
    return best or _lost(keys, output, account, reused)


def _lost(
    keys: PlanKeys, output: Path, account: Account | None, reused: Sequence[ReusableFolder]
) -> LostOutput | None:
    job = None if account is None else remembered_in(account_path(account.name), output)
    if job is None:
        return None
    is_unmounted = bool(job.mount) and not os.path.ismount(job.mount)
    total = keys.total - other_ledgers.done_in(keys, [one.ledger for one in reused])
    return LostOutput(output, job, total, is_unmounted) if 2 * job.done >= total > 0 else None


def candidates(manifest: Manifest, output: Path, account: Account | None = None) -> Iterator[OutputGroup]:
    """The output folders that are asked: those beside `output`, those beside the one that the manifest names,
    and those of the account's other jobs on this machine."""
    seen = set()
    far = [] if account is None else folders_of(account_path(account.name))
    groups = [
        layout.neighbour_outputs(output),
        layout.neighbour_outputs(manifest.output.dir),
        map(_whole, far),
    ]
    for found in groups:
        for group in found:
            others = tuple(one for one in group.outputs if one != output)
            if others and others not in seen:
                seen.add(others)
                yield OutputGroup(group.folder, others, whole=group.whole)


def _whole(folder: Path) -> OutputGroup:
    """A job's folder, or of one that is gone, or cannot be looked at, no folder at all."""
    return OutputGroup(folder, (folder,) if layout.has_ledger(folder) else (), whole=True)


def refusal(
    found: PaidOutput | LostOutput, manifest: Manifest, *, shard: Shard | None, sandbox: bool
) -> list[str]:
    """The sentence that says so, and the ways on, a line each."""
    if isinstance(found, LostOutput):
        return _lost_refusal(found)
    there = found.group.folder
    named = layout.before_sandbox(there) if sandbox else there
    ways = [*_ways_there(found, named, shard)]
    relative = os.path.relpath(named, manifest.folder)
    # In the sandbox nothing is paid for: the same is said of pictures, and of money only what it is about.
    verb = "makes" if sandbox else "pays for"
    ways.append((f"reuse: [{relative}]", f"in {manifest.path.name}: takes those over, and {verb} the rest"))
    ways.append(("--pay-again", f"{verb} them once more"))
    again = "it" if found.paid.total == 1 else "them"
    would = f"make {again} again, as with your key it would pay for {again} again" if sandbox else ""
    counted, place = _counted(found.paid, sandbox=sandbox), layout.typed(there)
    said = f"{counted} in {place}, and a run here would {would or f'pay for {again} again'}"
    return [f"{said}. The ways on:", *_columns(ways)]


def _lost_refusal(found: LostOutput) -> list[str]:
    mount = found.job.mount
    ways = [
        (f"mount {mount}", "then the same command goes on"),
        ("-o THERE", "goes on where the folder lies now"),
        ("--pay-again", f"begins anew, and pays for {found.price}"),
    ]
    said = f"{found.done_there}, and the disk at {mount} is not mounted: a run here would pay for them again"
    return [f"{said}. The ways on:", *_columns(ways)]


def _columns(ways: Sequence[tuple[str, str]]) -> list[str]:
    widest = min(WIDEST_WAY, max(len(way) for way, _ in ways))
    return [f"  {way.ljust(widest)}  {what}" for way, what in ways]


def _counted(paid: PaidThere, *, sandbox: bool) -> str:
    of_state = ((paid.done, "done"), (paid.under_way, "under way"))
    states = ", ".join(f"{n:,} {of}" for n, of in of_state if n)
    verb = "made" if sandbox else "paid for"
    if paid.total == 1:
        return f"the one task is {verb} ({states})"
    return f"{paid.done + paid.under_way:,} of {paid.total:,} tasks are {verb} ({states})"


def _ways_there(found: PaidOutput, named: Path, shard: Shard | None) -> Iterator[tuple[str, str]]:
    """How this run goes on in the folder itself, where it may."""
    group = found.group
    if group.whole and shard is None:
        yield f"-o {layout.typed(named)}", "goes on there"
    elif group.whole:
        yield f"-o {layout.typed(named)}", "without --shard: goes on there"
    elif shard is not None and shard.folder in (one.name for one in group.outputs):
        yield f"-o {layout.typed(named / shard.folder)}", "goes on there"
    else:
        shares = f"{layout.typed(group.folder)}/shard-*-of-{group.outputs[0].name.rpartition('-')[2]}"
        yield f"batcher merge {shares} -o DIR", "then -o DIR goes on there"


def refuse(
    connection: sqlite3.Connection,
    plan: int,
    manifest: Manifest,
    output: Path,
    *,
    origin: str,
    reused: Sequence[ReusableFolder],
    shard: Shard | None,
    sandbox: bool,
    warn: Callable[[str], None],
    account: Account | None = None,
) -> None:
    """Raises PaidElsewhere where a run here would pay again for what another folder has; `warn` takes the
    sentence about a folder that somebody took away."""
    found = find_paid_output(
        connection, plan, manifest, output, origin=origin, reused=reused, account=account
    )
    if isinstance(found, LostOutput) and not found.is_unmounted:
        warn(found.notice)
    elif found is not None:
        lines = refusal(found, manifest, shard=shard, sandbox=sandbox)
        raise errors.PaidElsewhere(*lines, "nothing was submitted")
