"""What one run is asked for, and the ground it starts from: manifest, account, folder.

Law: what keeps a run from starting leaves nothing behind.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from batcher import account as accounts
from batcher import distribute, errors, manifest, place
from batcher.account import Account
from batcher.carrying import Carrier, Here
from batcher.client import Endpoints
from batcher.destination import disk
from batcher.distribute import Ray
from batcher.download import Folder, plain_session
from batcher.ledger import store
from batcher.manifest import Manifest
from batcher.run import planning
from batcher.shard import Shard

SANDBOX_KEY = "SG_0123456789abcdef"
SANDBOX_ORIGIN = "the sandbox"
SANDBOX_SERVICE = 2.0
"""Mean seconds of a job on the embedded sandbox: quick enough for a look."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What this one run is asked to do beyond the manifest.

    `most`: at most so many tasks this time; `replan` False: the plan stays as the ledger has it, whatever
    became of manifest and sources (a repair fetches what was paid for); `strict`: one row that cannot be used
    stops the plan, else it is left out and told; `same_failures`: so many first failures of one kind stop the
    run; `confirm`: asked with the credits that all planned tasks would cost, and with their number, False
    keeps the run from starting; `grace`: seconds for what is in flight after a stop signal; `shard`: only
    this share of the plan, with its part of rate and budget; `on`: the workers of this cluster work on the
    bytes.
    """

    most: int | None = None
    replan: bool = True
    strict: bool = False
    retry_failed: bool = False
    same_failures: int = 10
    confirm: Callable[[float, int], bool] | None = None
    grace: float = 30.0
    signals: bool = False
    shard: Shard | None = None
    on: Ray | None = None


def load(path: str | Path, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest in a file; `overrides` are `dotted.key=value`. Raises ManifestError with every problem of
    it, those of its rows and files included."""
    job, told = manifest.examine(Path(path), overrides)
    if job is None or told:
        raise errors.ManifestError(told if job is None else manifest.further(told, planning.problems(job)))
    return job


def account_for(job: Manifest, base_url: str | None) -> Account:
    """The environment's account. A manifest that is wrong is told before a key that is missing."""
    try:
        return accounts.from_environment(base_url=base_url)
    except errors.MissingKey:
        if found := planning.problems(job, strict=False):
            raise errors.ManifestError(found) from None
        raise


async def embedded_sandbox(stack: AsyncExitStack, now: Callable[[], float]) -> Account:
    """A local server of the API in this very loop, for as long as the stack is open."""
    from batcher.sandbox import Options, Sandbox

    server = await stack.enter_async_context(Sandbox(Options(service=SANDBOX_SERVICE), now))
    return Account(Endpoints(server.url, server.url, server.url), SANDBOX_KEY)


@asynccontextmanager
async def carried(
    on: Ray | None, folder: Folder, *, downloads: int, called: Callable[[str], None]
) -> AsyncIterator[Carrier]:
    """Who works on the bytes of a run: this process, or the workers of a cluster. Raises UsageError."""
    if on is None:
        async with plain_session() as session:
            yield Here(session, downloads=downloads, called=called)
        return
    with distribute.connected(on) as cluster:
        carrier = cluster.carrier(folder, called)
        try:
            yield carrier
        finally:
            carrier.close()


def refuse_without_ledger(output: Path) -> None:
    """The ledger is the only memory: without it nothing that was delivered is known. Raises UsageError."""
    with disk(output):
        lost = place.lost_ledger(output)
    if lost:
        raise errors.UsageError(
            f"{planning.told_lost(output)}. Bring {output / '.batcher'} back from a copy; or, to pay anew, "
            "move metadata.jsonl and images/ away, or choose another folder with -o. Nothing was submitted"
        )


def noted_destination(output: Path) -> str | None:
    """Where the pictures of an output folder's job lie; None: in it. Raises LedgerError, DiskError."""
    path = place.ledger_of(output)
    if not path.exists():
        return None
    with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
        return store.meta(connection, "destination")


@contextmanager
def opened(folder: Folder) -> Iterator[None]:
    """The output folder is there; when the very first plan is refused, it is as it was.

    Raises UsageError where no folder can be, DiskError.
    """
    missing = [path for path in (folder.state, *folder.state.parents) if not path.exists()]
    there = folder.path if not missing else missing[-1].parent
    if not there.is_dir():
        raise errors.UsageError(f"the output folder cannot be {folder.path}: {there} is no folder")
    with disk(folder.path):
        folder.state.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (errors.ManifestError, errors.OtherOrigin, errors.OtherDestination):
        if missing:
            shutil.rmtree(folder.state)
            for path in missing[1:]:
                path.rmdir()
        raise
