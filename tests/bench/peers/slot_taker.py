"""One of an account's runs, reduced to what it asks of the account's file: a slot for each call, and the
reservation of its price. `python -m tests.bench.peers.slot_taker FILE RPM SECONDS` prints how long each of
the two took, as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path

from batcher.ledger.account_file import AccountFile, Amounts

LATE = 0.05
"""Seconds of lateness that are made good, as at this rate in a run."""


def main() -> None:
    path, rpm, seconds = sys.argv[1:]
    job, waits = str(os.getpid()), []
    with closing(AccountFile(Path(path))) as file:
        began = time.monotonic()
        file.enter(job, folder=Path(path).parent, name=job, manifest="", at=began, now=began)
        spent = 0
        while (asked := time.monotonic()) < began + float(seconds):
            slot = file.take(job, at=asked, pace=float(rpm) / 60, late=LATE, spaced=True)
            waits.append(time.monotonic() - asked)
            time.sleep(max(0.0, slot.at - time.monotonic()))
            spent, asked = spent + 1, time.monotonic()
            file.exchange(job, today=1, month=1, at=asked, own=lambda others, n=spent: {1: Amounts(n)})
            waits.append(time.monotonic() - asked)
    print(json.dumps(waits))


if __name__ == "__main__":
    main()
