"""One of an account's runs, reduced to what it asks of the account's file: a sign of life each second, a slot
for each call, and the reservation of its price. `python -m tests.bench.peers.slot_taker FILE RPM SECONDS`
prints how long each slot and each reservation took, as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from batcher import errors
from batcher.ledger.account_file import AccountFile, Amounts

LATE = 0.05
"""Seconds of lateness that are made good, as at this rate in a run."""
BEAT_SECONDS = 1.0
RETRY_SECONDS = 0.05
"""So long a run waits, too, before it asks a busy file again."""

Result = TypeVar("Result")


def main() -> None:
    path, rpm, seconds = sys.argv[1:]
    job, calls, waits = str(os.getpid()), 0, []
    with closing(AccountFile(Path(path))) as file:
        began = beaten = time.monotonic()
        free(lambda: file.enter(job, folder=Path(path).parent, name=job, manifest="", at=began, now=began))
        while (asked := time.monotonic()) < began + float(seconds):
            if asked >= beaten + BEAT_SECONDS:
                beaten = asked
                beat(file, job, calls, float(rpm))
                asked = time.monotonic()
            slot = free(
                lambda: file.take(job, at=time.monotonic(), pace=float(rpm) / 60, late=LATE, spaced=True)
            )
            waits.append(time.monotonic() - asked)
            time.sleep(max(0.0, slot.at - time.monotonic()))
            calls, asked = calls + 1, time.monotonic()
            reserve(file, job, calls)
            waits.append(time.monotonic() - asked)
    print(json.dumps(waits))


def beat(file: AccountFile, job: str, calls: int, rpm: float) -> None:
    """A sign of life: without it the others take this run for ended."""
    at = time.monotonic()
    free(lambda: file.beat(job, total=calls, done=calls, spent=calls, rpm=rpm, at=at, now=at))


def reserve(file: AccountFile, job: str, calls: int) -> None:
    """What it has spent, and what the call that is about to leave may cost."""
    own = {1: Amounts(calls - 1, 1)}
    free(lambda: file.exchange(job, today=1, month=1, at=time.monotonic(), own=lambda others: own))


def free(use: Callable[[], Result]) -> Result:
    """Uses the file, once it is free."""
    while True:
        try:
            return use()
        except errors.AccountFileBusy:
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    main()
