"""What a worker does: one piece of work on bytes, and how it ended.

Rule: a worker knows no key, no ledger and no final name but the one it is given. Whatever it does may be done
twice at once: each time with a file of its own, and a name that is taken stays with who has it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

import aiohttp

from batcher import errors
from batcher.api.http import plain_session
from batcher.storage import destination
from batcher.storage.download import VerifiedFile, fetch

SECRETS = ("SEGMIND_API_KEY", "SEGMIND_API_KEY_FILE")
NOTHING = b""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WorkResult:
    """How a piece of work ended: its result, or what it raised. `absent`: a file is not there, for this
    worker at least; the coordinator may see it."""

    result: Any = None
    error: Exception | None = None
    absent: bool = False


def run_work(work: Callable[..., Result], *values: object) -> WorkResult:
    """Does it."""
    for name in SECRETS:  # whoever started this cluster may have had them
        os.environ.pop(name, None)
    try:
        return WorkResult(work(*values))
    except (errors.BatcherError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        return WorkResult(error=error, absent=isinstance(cause, FileNotFoundError))


def fetch_and_keep(url: str) -> tuple[WorkResult, bytes]:
    """A verified picture and its bytes, which stay with the workers until they have a name."""
    with TemporaryDirectory(prefix="batcher-") as folder:
        part = Path(folder) / "picture"
        answer = run_work(_fetch, url, part)
        return answer, NOTHING if answer.error else part.read_bytes()


def fetch_to_shared(url: str, parts: str, stem: str) -> VerifiedFile:
    """A verified picture in a file of its own in the folder `parts`, which all machines share."""
    return _fetch(url, Path(parts) / f"{stem}.{uuid4().hex}.part")


def publish(where: str, path: str, data: bytes) -> None:
    """Puts a picture at its path in the object store `where`. Raises as `Destination.publish`."""
    with TemporaryDirectory(prefix="batcher-") as folder:
        part = Path(folder) / "picture"
        part.write_bytes(data)
        _run(destination.open_destination(where, Path()).publish(part, path))


def sees(path: str) -> bool:
    """Whether this worker sees a file of the coordinator's."""
    return os.path.exists(path)


def version(_: int) -> str:
    """Of the batcher that works here."""
    return metadata.version("batcher")


def secrets(_: int) -> list[str]:
    """The names of those that this process knows, and may not."""
    return [name for name in SECRETS if name in os.environ]


def _fetch(url: str, part: Path) -> VerifiedFile:
    return _run(fetch(_connections()[2], url, part, lambda kind: None))


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    return _connections()[0].run(work)


@cache
def _connections() -> tuple[asyncio.Runner, AbstractAsyncContextManager[Any], aiohttp.ClientSession]:
    """This worker's loop and its session, which lives as long: connections are used again."""
    runner = asyncio.Runner()
    session = plain_session()
    return runner, session, runner.run(_entered(session))


async def _entered(session: AbstractAsyncContextManager[aiohttp.ClientSession]) -> aiohttp.ClientSession:
    return await session.__aenter__()
