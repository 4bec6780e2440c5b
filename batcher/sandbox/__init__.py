"""A local server of the hosted API, for rehearsals, demos and tests: no key, no money, no network.

    async with Sandbox(Options(service=2, rpm=60)) as sandbox:
        ...  # sandbox.url

    server.py             the server: what every call passes on its way to its handler
    serve.py              serving until a signal ends it
    server_options.py     how one sandbox is to behave
    handlers.py           the endpoints: what each call takes and gives
    error_responses.py    the provider's ways of saying no
    limits.py             the account's rate limit
    balance.py            the account's money
    job.py                one accepted submission
    job_queue.py          the queue, the workers, and what becomes of a submission
    model_pages.py        what the provider knows of a model, and what it refuses
    media.py              how a model reads its media inputs
    generation/           what the models draw
    file_host.py          uploaded inputs and finished outputs
    request_history.py    every request of the account with its inputs, cost and outcome
    faults/               what goes wrong, by script
    durations.py          `2s`, `5m`, `1h` in scripts

Rule: it imports nothing of the rest of the program (it reads `catalog/*.yaml` as data), so that no mistake of
the client can be repeated here and cancel out.
"""

from __future__ import annotations

from batcher.sandbox.faults import Faults, FaultsError
from batcher.sandbox.serve import serve
from batcher.sandbox.server import Arrival, Sandbox
from batcher.sandbox.server_options import Options

__all__ = ["Arrival", "Faults", "FaultsError", "Options", "Sandbox", "serve"]
