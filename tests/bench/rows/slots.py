"""Ten runs on one account of 1,000 calls a minute: how long a call waits for the account's file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from statistics import median, quantiles

from tests.bench.contest import LIVE, scratch
from tests.bench.figures import Figure
from tests.bench.scale import Scale
from tests.bench.server import environment

RUNS = 10
RPM = 1000
PERCENT = 100


def rows(scale: Scale) -> Iterator[Figure]:
    seconds = scale.of(60, 10)
    with scratch() as folder:
        words = [str(folder / "account.sqlite"), str(RPM), str(seconds)]
        command = [sys.executable, "-m", "tests.bench.peers.slot_taker", *words]
        runs = [
            subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
            for _ in range(RUNS)
        ]
        LIVE.update(runs)
        told = [run.communicate(timeout=10 * seconds)[0] for run in runs]
        LIVE.difference_update(runs)
    waits = sorted(wait for text in told for wait in json.loads(text))
    row = f"{RUNS} runs on an account of {RPM:,} calls a minute ({len(waits):,} looks at its file)"
    others = {"median": median(waits), "99 %": quantiles(waits, n=PERCENT)[-1]}
    yield Figure(row, "the longest wait for the account's file", waits[-1], "<=", 0.005, "s", others)
