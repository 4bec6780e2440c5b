"""A job's plan, into a ledger, and nothing else: `python -m tests.bench.peers.plan JOB LEDGER` tells its
seconds of CPU, and the most memory. Where LEDGER is `-` it is `batcher plan` that plans, for a first run."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from contextlib import closing
from pathlib import Path

from batcher.engine import outlook, planning
from batcher.job.manifest import Manifest, examine
from batcher.ledger.kept_plans import KeptPlans
from batcher.ledger.ledger import Ledger
from batcher.storage import user_state

NOW = time.time  # noqa: TID251  # here the wall clock enters


async def main(job: Path, ledger: str) -> float:
    """Seconds of CPU."""
    manifest, _ = examine(job)
    assert manifest is not None
    if ledger == "-":
        began = time.process_time()
        outlook(manifest, manifest.output.dir, keep=True)
        return time.process_time() - began
    return planned(manifest, Path(ledger))


def planned(manifest: Manifest, path: Path) -> float:
    with closing(Ledger(path, now=NOW)) as ledger:
        began = time.process_time()
        planning.plan_into(
            ledger,
            manifest,
            warn=lambda text: None,
            progress=lambda tasks: None,
            check=lambda connection, plan: None,
            kept_plans=KeptPlans(user_state.kept_plans(), NOW, once=True),
        )
        return time.process_time() - began


if __name__ == "__main__":
    seconds = asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))
