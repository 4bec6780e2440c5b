"""The Python API, and the only composition root: opens everything, wires it, runs, closes.

    from batcher import load, run
    report = await run(load("jobs/demo.yaml"))

    running.py    run(): before, during and after
    starting.py   what a run is asked for, and the ground it starts from
    planning.py   a manifest's tasks into the ledger, or only looked at
    engine.py     who is wired to whom
    watching.py   what listeners are shown, and when a run is to stop
    telling.py    the growing records, and the audit of the balance

Law: nothing below knows who it is wired to.
"""

from __future__ import annotations

from batcher.run.planning import Outlook, outlook
from batcher.run.running import run
from batcher.run.starting import Wishes, load

__all__ = ["Outlook", "Wishes", "load", "outlook", "run"]
