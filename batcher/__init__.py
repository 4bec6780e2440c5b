"""Runs large batches of pictures through hosted image models: paid once, lost never, resumed at any time.

    from batcher import load, run
    report = await run(load("jobs/demo.yaml"), sandbox=True)     # or, without a loop: run_sync(...)

The names are imported when they are first used: `batcher --help` starts at once. Imports only go downstairs:

    cli/          the commands
    engine/       one run: the Python API, and the only composition root
    results/      what is read from the ledger: report, exports, checks, the live page, merges
    ledger/       the SQLite ledger: the queue, and the truth
    job/          what is to be made: manifest, catalogue, sources, plan
    storage/      bytes and where they lie
    api/          the provider: its calls, its limit, its clock
    progress/     what a run tells, and who shows it
    errors.py     every way it can go wrong
    task.py       a task, its states, and the only moves between them
    shard.py      one of N shares of a plan
    sandbox/      apart from all: a server of the API, which shares no code with what it judges
    __main__.py   `python -m batcher`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batcher.engine import load, run, run_sync

__all__ = ["load", "run", "run_sync"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("batcher.engine"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
