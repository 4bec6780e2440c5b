"""Runs large batches of pictures through hosted image models: paid once, lost never, resumed at any time.

    from batcher import load, run
    report = await run(load("jobs/demo.yaml"), sandbox=True)

The names are imported when they are first used: `batcher --help` starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batcher.run import load, run

__all__ = ["load", "run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("batcher.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
