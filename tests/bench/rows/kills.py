"""kill -9 at random moments, again and again, and each time the same command: what did the server bill?

Rule: the server's bill and the files decide; the ledger is asked only for how many answers were lost.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.allowed import Terms
from tests.bench.contest import end, files_in, manifest, run, run_words, running, scratch, started, waited
from tests.bench.figures import Figure
from tests.bench.scale import Scale
from tests.bench.server import Server

TASKS = 600
LONGEST_LIFE = 1.2
"""Seconds after the first call within which a process is killed..."""
IN_START_UP = 0.15
"""...but this share of them within the start-up, at any moment."""
START_UP = 0.6
SIDE_BY_SIDE = 2


@dataclass(frozen=True, slots=True)
class Tale:
    """What became of one job. `unexplained`: paid again, and no lost answer of that task explains it."""

    kills: int
    missing: int
    unfetched: int
    lost_answers: int
    paid_again: int
    unexplained: int


def rows(scale: Scale) -> Iterator[Figure]:
    kills, jobs = scale.of(200, 20), scale.of(10, 2)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        tales = list(pool.map(lambda seed: killed(seed, kills // jobs), range(jobs)))
    total = {name: sum(getattr(tale, name) for tale in tales) for name in Tale.__slots__}
    row = f"kill -9 at {total['kills']} random moments ({jobs} jobs of {TASKS} tasks)"
    note = f"{total['lost_answers']} answers lost with their process, {total['paid_again']} tasks paid again"
    yield Figure(row, "results lost", total["missing"] + total["unfetched"], "<=", 0)
    yield Figure(row, "paid twice beyond lost answers", total["unexplained"], "<=", 0, note=note)


def killed(seed: int, kills: int) -> Tale:
    """One job, killed so many times, then left to end."""
    dice = random.Random(seed)
    terms = Terms(service=0.3, sigma=0.5, seed=seed)
    with scratch() as folder, Server(terms) as server:
        job = manifest(folder, TASKS, limits={"rpm": 3000}, poll={"delay": "100ms"})
        words = [sys.executable, "-m", "batcher", *run_words(job, server.url)]
        done = 0
        while done < kills and dies(words, server, dice):
            done += 1
        run(words, seconds=120)
        return told(folder, server, done)


def dies(words: list[str], server: Server, dice: random.Random) -> bool:
    """Starts the program and kills it; False when it ended before."""
    calls = server.statistics()["calls"]
    process = started(words)
    if dice.random() < IN_START_UP:
        time.sleep(dice.uniform(0, START_UP))
    else:
        while server.statistics()["calls"] == calls and running(process):
            time.sleep(0.01)
        time.sleep(dice.uniform(0, LONGEST_LIFE))
    end(process)
    return waited(process, 10)[0] < 0


def told(folder: Path, server: Server, kills: int) -> Tale:
    seen = server.statistics()
    with sqlite3.connect(folder / ".batcher" / "ledger.sqlite") as ledger:
        lost = Counter(
            prompt
            for (prompt,) in ledger.execute(
                "SELECT json_extract(t.params, '$.prompt') FROM submissions s JOIN tasks t ON t.id = s.task "
                "WHERE s.outcome = 'doubtful'"
            )
        )
    ledger.close()
    again = {json.loads(body)["prompt"]: n - 1 for body, n in seen["paid_again"].items()}
    return Tale(
        kills=kills,
        missing=TASKS - files_in(folder / "images"),
        unfetched=max(0, seen["lost"] - lost.total()),
        lost_answers=lost.total(),
        paid_again=len(again),
        unexplained=sum(max(0, n - lost[prompt]) for prompt, n in again.items()),
    )
