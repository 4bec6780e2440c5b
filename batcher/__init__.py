"""Runs large batches of pictures through hosted image models: paid once, lost never, resumed at any time.

    from batcher import load, run
    report = await run(load("jobs/demo.yaml"), sandbox=True)

The names are imported when they are first used: `batcher --help` starts at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batcher.run import load, run

__all__ = ["load", "run"]
__version__ = "0.1.0"


class _Package(ModuleType):
    """`batcher.run` is the function. The import system binds that name to the module `batcher.run` as soon as
    anybody imports it; a property keeps the function in its place."""

    @property
    def load(self) -> Any:
        return import_module("batcher.run.starting").load

    @property
    def run(self) -> Any:
        return import_module("batcher.run.running").run

    @run.setter
    def run(self, module: ModuleType) -> None:
        """The module stays in sys.modules, where `from batcher.run import ...` finds it."""


sys.modules[__name__].__class__ = _Package
