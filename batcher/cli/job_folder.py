"""Which output folder a command is about: JOB is a manifest, an output folder, or a name that `batcher jobs`
lists.

Rule: what lies on disk goes before a name. A name that two jobs have is asked back, with their folders.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batcher.results.account_jobs import AccountJob, AccountJobs
    from batcher.shard import Shard


def resolve_output(
    job: Path, *, output: Path | None = None, sandbox: bool = False, shard: Shard | None = None
) -> Path:
    """The output folder (absolute) of what somebody calls JOB; the rest as in `job.output`.

    Raises UsageError where nothing is called so, or several jobs are.
    """
    from batcher.job import output as by_path

    if output is None and not job.exists() and (named := _named(str(job))) is not None:
        from batcher.storage import layout

        return layout.output_folder(named.output, sandbox=sandbox, shard=shard)
    return by_path.resolve_output(job, output=output, sandbox=sandbox, shard=shard)


def listed_accounts(base_url: str | None = None) -> tuple[list[Path], bool]:
    """The file of the environment's account; without a key those of all accounts, and False."""
    from batcher.api import account
    from batcher.errors import MissingKey
    from batcher.storage.user_state import account_path, account_paths

    try:
        return [account_path(account.from_environment(base_url=base_url).name)], True
    except MissingKey:
        return account_paths(), False


def only_one(found: AccountJobs, text: str) -> AccountJob | None:
    """The job that is called so, by its name, manifest or output folder; None: none is. Raises UsageError
    where several are."""
    from batcher.errors import UsageError

    meant = found.named(text)
    if len(meant) > 1:
        folders = ", ".join(str(job.output) for job in meant)
        raise UsageError(f"{len(meant)} jobs are called {text}; name one by its folder: {folders}")
    return meant[0] if meant else None


def _named(text: str) -> AccountJob | None:
    import time

    from batcher.errors import DiskError
    from batcher.results import account_jobs

    paths, _ = listed_accounts()
    try:
        found = account_jobs.of_accounts(paths, time.time())  # noqa: TID251  # the wall clock of one look
    except DiskError:
        return None  # what is named is not there, which is told
    there = tuple(job for job in found.jobs if not job.gone)
    return only_one(replace(found, jobs=there), text)
