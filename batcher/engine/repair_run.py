"""repair(): what was delivered and is not there any more is fetched again, by a run that submits nothing.

Rule: the plan stays as the ledger has it; a repair submits only where it is told to pay again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from batcher.api.account import Account
from batcher.engine.options import RunOptions, account_for, load
from batcher.engine.runner import run
from batcher.job.manifest import Manifest
from batcher.ledger import database
from batcher.ledger.database import SANDBOX_ORIGIN
from batcher.progress import Listener, silent
from batcher.results.report import Report
from batcher.results.verify import RepairResult, repair_output
from batcher.results.verify.repair import Fetch
from batcher.shard import Shard
from batcher.storage import layout, ray
from batcher.storage.ray import Ray


async def repair(
    output: Path,
    job: Manifest | Path | None = None,
    *,
    repay: bool = False,
    warn: Callable[[str], None],
    listener: Listener = silent,
    account: Account | None = None,
    base_url: str | None = None,
    signals: bool = False,
    on: Ray | None = None,
    now: Callable[[], float] = time.time,  # noqa: TID251  # here the wall clock enters
    jitter: Callable[[], float] = random.random,
) -> RepairResult:
    """Checks every delivered file of an output folder, sets aside what is wrong, and fetches it again.

    `job`: the manifest, or its file, whose limits and retries hold; None: the one that the last run left in
    the folder. `repay`: what cannot be fetched is submitted again, which costs; `warn` is told what, and for
    how much, and `listener` hears the run that fetches. `account`, `base_url`, `now` and `jitter` as for
    `run`; `signals`: the run heeds SIGINT and SIGTERM; `on`: the workers of this cluster work on the bytes.

    Raises Locked, UsageError where nothing was ever run, LedgerError, DiskError; and MissingKey or
    ManifestError where something is to be fetched, before anything is changed.
    """
    path = layout.ledger_path(output)
    with ray.workers_for(on, output, database.read_meta(path, "destination")) as workers:
        return await repair_output(
            output,
            fetcher=_Fetcher(output, job, listener, account, base_url, signals, on, now, jitter).fetch,
            repay=repay,
            warn=warn,
            now=now,
            workers=workers,
        )


@dataclass(frozen=True, slots=True)
class _Fetcher:
    """Makes the run that fetches, once it is known that something is to be fetched."""

    output: Path
    job: Manifest | Path | None
    listener: Listener
    account: Account | None
    base_url: str | None
    signals: bool
    on: Ray | None
    now: Callable[[], float]
    jitter: Callable[[], float]

    def fetch(self) -> Fetch:
        """The run, as a function of the tasks that it may submit. Raises MissingKey, ManifestError,
        UsageError."""
        path = layout.ledger_path(self.output)
        sandbox = database.read_meta(path, "origin") == SANDBOX_ORIGIN
        share = database.read_meta(path, "shard")
        job = self.job
        if not isinstance(job, Manifest):
            job = load(job or self.output / ".batcher" / "manifest.yaml")
        account = self.account
        if account is None and not sandbox:
            account = account_for(job, self.base_url)
        output = layout.before_sandbox(self.output) if sandbox else self.output

        async def fetch(tasks: Collection[int]) -> Report:
            return await run(
                job,
                listener=self.listener,
                account=account,
                sandbox=sandbox,
                output=output,
                options=RunOptions(
                    limit=len(tasks),
                    tasks=frozenset(tasks),
                    replan=False,
                    signals=self.signals,
                    shard=Shard.parse(share) if share else None,
                    on=self.on,
                ),
                now=self.now,
                jitter=self.jitter,
            )

        return fetch
