"""What one run is asked for, and the ground it starts from: manifest, account, folder.

Rule: what keeps a run from starting leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcher import errors
from batcher.api import account as accounts
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import plan_outlook, planning
from batcher.job import manifest
from batcher.job.manifest import Manifest
from batcher.shard import Shard
from batcher.storage import layout, ray
from batcher.storage.destination import disk
from batcher.storage.download import OutputFolder, plain_session
from batcher.storage.ray import Ray
from batcher.storage.workers import LocalTransfers, Transfers

if TYPE_CHECKING:
    import pandas

SANDBOX_KEY = "SG_0123456789abcdef"
SANDBOX_SERVICE = 2.0
"""Mean seconds of a job on the embedded sandbox: quick enough for a look."""

Confirm = Callable[[float | None, int], bool]
"""Whether so many credits (None: nobody knows how many) may be spent on so many tasks."""

ConfirmEdit = Callable[[int, float | None, int], bool]
"""The same where so many delivered pictures are made anew."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What this one run is asked to do beyond the manifest.

    `limit`: at most so many tasks this time; `sample`: only so many that stand for the plan, the same each
    time; `tasks`: none but these, by their numbers in the ledger; `pay_again`: also for what another folder
    has paid for;
    `replan` False: the plan stays as the ledger has it, whatever became of manifest and sources (a repair
    fetches what was paid for); `strict`: one row that cannot be used stops the plan, else it is left out with
    a warning; `stop_after`: so many first failures of one kind stop the run; `confirm`: asked with the
    credits that the tasks of this run would cost (None: not known), and with their number, False keeps the
    run from starting; `confirm_edit`: asked in its place where an edited value makes delivered pictures anew
    (how many comes first); `grace`: seconds for what is in flight after a stop signal; `signals`: SIGINT,
    SIGTERM and SIGHUP stop the run in good order; `shard`: only this share of the plan, with its part of rate
    and budget; `on`: the workers of this cluster work on the bytes.
    """

    limit: int | None = None
    sample: int | None = None
    tasks: frozenset[int] | None = None
    pay_again: bool = False
    replan: bool = True
    strict: bool = False
    retry_failed: bool = False
    stop_after: int = 10
    confirm: Confirm | None = None
    confirm_edit: ConfirmEdit | None = None
    grace: float = 30.0
    signals: bool = False
    shard: Shard | None = None
    on: Ray | None = None


def load(
    path_or_mapping: str | Path | Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]] | pandas.DataFrame | None = None,
    *,
    overrides: Sequence[str] = (),
) -> Manifest:
    """A job: the manifest in a file, or the same keys and values in a mapping, checked as a whole.

    Paths of a file start from its folder, those of a mapping from the current folder. A mapping without a
    `name` is called `job`.

    `rows` are one source more, as `inputs: [{rows: ...}]` would be: an iterable of mappings from column to
    value, or a pandas DataFrame (its index is no column; NaN, NaT and NA are an empty cell). A cell may be
    a PIL image of any size and mode: a run writes it as an upright PNG, once per content, below
    `.batcher/inputs/` of its output folder. Rows are read at once and held until the run.

    `overrides` are `dotted.key=value`, as `--set` has them.

    Raises ManifestError, whose `problems` are all that is wrong, each with file, line and key.
    """
    given = None if rows is None else manifest.plain_rows(rows, manifest.MAPPING)
    if isinstance(path_or_mapping, Mapping):
        job, problems = manifest.examine_mapping(path_or_mapping, Path.cwd(), overrides, given)
    else:
        job, problems = manifest.examine(Path(path_or_mapping), overrides, given)
    if job is None or problems:
        # Pictures that are still in memory lie nowhere where they could be looked at.
        held = given is not None and given.has_pictures
        later = () if job is None or held else plan_outlook.problems(job, strict=False)
        raise errors.ManifestError(manifest.further(problems, later))
    return job


def account_for(job: Manifest, base_url: str | None) -> Account:
    """The environment's account. What is wrong with the manifest is raised before a key that is missing."""
    try:
        return accounts.from_environment(base_url=base_url)
    except errors.MissingKey:
        if problems := plan_outlook.problems(job, strict=False):
            raise errors.ManifestError(problems) from None
        raise


async def embedded_sandbox(stack: AsyncExitStack, now: Callable[[], float]) -> Account:
    """A local server of the API in this very loop, for as long as the stack is open."""
    from batcher.sandbox import Options, Sandbox

    server = await stack.enter_async_context(Sandbox(Options(service=SANDBOX_SERVICE), now))
    return Account(Endpoints(server.url, server.url, server.url), SANDBOX_KEY)


@asynccontextmanager
async def open_transfers(
    on: Ray | None, folder: OutputFolder, *, downloads: int, called: Callable[[str], None]
) -> AsyncIterator[Transfers]:
    """Who works on the bytes of a run: this process, or the workers of a cluster. Raises UsageError."""
    if on is None:
        async with plain_session() as session:
            yield LocalTransfers(session, downloads=downloads, called=called)
        return
    with ray.connect(on) as cluster:
        transfers = cluster.transfers(folder, called)
        try:
            yield transfers
        finally:
            transfers.close()


def refuse_checks_elsewhere(job: Manifest) -> None:
    """Two of the checks open the picture here, and a cluster's pictures may never come here. Raises
    UsageError."""
    if job.checks.unchanged != "off" or job.checks.command != "off":
        raise errors.UsageError(
            "checks.unchanged and checks.command open each picture on this machine, and with --on ray they "
            "are on others; leave --on ray away, or set these checks to off"
        )


def refuse_without_ledger(output: Path) -> None:
    """The ledger is the only memory: without it nothing that was delivered is known. Raises UsageError."""
    with disk(output):
        lost = layout.ledger_is_lost(output)
    if lost:
        raise errors.UsageError(
            f"{planning.lost_ledger_text(output)}. Bring {output / '.batcher'} back from a copy; or, to pay "
            "anew, move metadata.jsonl and images/ away, or choose another folder with -o. "
            "Nothing was submitted"
        )


@contextmanager
def output_created(folder: OutputFolder) -> Iterator[None]:
    """The output folder is there; when the very first plan is refused, it is as it was.

    Raises UsageError where no folder can be, DiskError.
    """
    missing = [path for path in (folder.state, *folder.state.parents) if not path.exists()]
    there = folder.path if not missing else missing[-1].parent
    if not there.is_dir():
        raise errors.UsageError(f"the output folder cannot be {folder.path}: {there} is no folder")
    if link := next((path for path in missing if path.is_symlink()), None):
        target = os.path.realpath(link)
        raise errors.DiskError(
            f"the output folder cannot be {folder.path}: {link} is a link to {target}, which is not there; "
            "it is on a disk that is not mounted, perhaps. Nothing was submitted"
        )
    with disk(folder.path):
        folder.state.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (errors.ManifestError, errors.OtherOrigin, errors.OtherDestination, errors.PaidElsewhere):
        if missing:
            shutil.rmtree(folder.state)
            for path in missing[1:]:
                path.rmdir()
        raise
