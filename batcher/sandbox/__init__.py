"""A local server of the hosted API, for rehearsals, demos and tests: no key, no money, no network.

    async with Sandbox(Options(service=2, rpm=60)) as sandbox:
        ...  # sandbox.url

Law: it imports nothing of the rest of the program (it reads `catalog/*.yaml` as data), so that no mistake of
the client can be repeated here and cancel out.
"""

from __future__ import annotations

from batcher.sandbox.durations import seconds
from batcher.sandbox.faults import Faults, FaultsError
from batcher.sandbox.options import Options
from batcher.sandbox.serve import main, serve
from batcher.sandbox.server import Arrival, Sandbox

__all__ = ["Arrival", "Faults", "FaultsError", "Options", "Sandbox", "main", "seconds", "serve"]
