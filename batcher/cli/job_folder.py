"""Which output folder a command is about: JOB is a manifest, an output folder, or a name that `batcher jobs`
lists.

Rule: what lies on disk goes before a name. A name that two jobs have is asked back, with their folders.
"""

from __future__ import annotations

import os
import shlex
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


def run_of(
    job: Path, *, output: Path | None = None, sandbox: bool = False, shard: Shard | None = None
) -> str:
    """The command that runs what somebody calls JOB, with the same options. `run` takes a manifest alone: of
    a folder or a name it is the one that ran there last, and where that is not known none is named."""
    from batcher.errors import UsageError
    from batcher.job import output as by_path

    manifest = job
    if not job.is_file():
        known = [one for one in listed_jobs().named(str(job)) if not one.gone]
        if not known or not Path(known[0].manifest).is_file():
            return "batcher run"
        manifest = _near(Path(known[0].manifest))
        try:
            moved = by_path.resolve_output(manifest) != known[0].output
        except UsageError:
            return "batcher run"
        output = _near(known[0].output) if moved else output
    where = [] if output is None else ["-o", str(output)]
    share = [] if shard is None else ["--shard", str(shard)]
    return shlex.join(["batcher", "run", str(manifest), *share, *where, *(["--sandbox"] if sandbox else [])])


def _near(path: Path) -> Path:
    near = os.path.relpath(path)
    return path if near.startswith("..") else Path(near)


def listed_accounts(base_url: str | None = None) -> tuple[list[Path], bool]:
    """The file of the environment's account; without a key those of all accounts, and False."""
    from batcher.api import account
    from batcher.errors import MissingKey
    from batcher.storage.user_state import account_path, account_paths

    try:
        return [account_path(account.from_environment(base_url=base_url).name)], True
    except MissingKey:
        return account_paths(), False


def only_one(account_jobs: AccountJobs, text: str) -> AccountJob | None:
    """The job that is called so, by its name, manifest or output folder; None: none is. Raises UsageError
    where several are."""
    from batcher.errors import UsageError

    meant = account_jobs.named(text)
    if len(meant) > 1:
        folders = ", ".join(str(job.output) for job in meant)
        raise UsageError(f"{len(meant)} jobs are called {text}; name one by its folder: {folders}")
    return meant[0] if meant else None


def _named(text: str) -> AccountJob | None:
    found = listed_jobs()
    there = tuple(job for job in found.jobs if not job.gone)
    if (meant := only_one(replace(found, jobs=there), text)) is None and (gone := found.named(text)):
        from batcher.errors import UsageError

        raise UsageError(
            f"{text}: its output folder {gone[0].output} is gone, or holds another job's ledger: moved, "
            "or on a disk that is not mounted; name it by the folder in which it lies now"
        )
    return meant


def listed_jobs() -> AccountJobs:
    """What `batcher jobs` lists; nothing where the accounts' files cannot be read."""
    import time

    from batcher.errors import DiskError
    from batcher.results import account_jobs

    paths, _ = listed_accounts()
    try:
        return account_jobs.of_accounts(paths, time.time())  # noqa: TID251  # the wall clock of one look
    except DiskError:
        return account_jobs.AccountJobs((), 0.0, 0.0)  # what is named is not there, which is told
