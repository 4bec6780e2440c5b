"""The Python API, and the only composition root: opens everything, wires it, runs, closes.

    from batcher import load, run
    report = await run(load("jobs/demo.yaml"))

    planning.py   a manifest's tasks into the ledger, or only looked at
    running.py    run(): the assembly
    watching.py   what listeners are shown, and when a run is to stop

Law: nothing below knows who it is wired to.
"""

from __future__ import annotations

from batcher.run.planning import Outlook, outlook
from batcher.run.running import load, run

__all__ = ["Outlook", "load", "outlook", "run"]
