"""A job's plan, into a ledger, and nothing else: `python -m tests.bench.peers.plan JOB LEDGER` tells its
seconds of CPU, and the most memory."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from contextlib import closing
from pathlib import Path

from batcher.engine import planning
from batcher.job.manifest import examine
from batcher.ledger.ledger import Ledger


async def main(job: Path, path: Path) -> float:
    """Seconds of CPU."""
    manifest, _ = examine(job)
    assert manifest is not None
    with closing(Ledger(path, now=time.time)) as ledger:  # noqa: TID251  # here the wall clock enters
        began = time.process_time()
        planning.plan_into(
            ledger,
            manifest,
            warn=lambda text: None,
            progress=lambda tasks: None,
            check=lambda connection, plan: None,
        )
        return time.process_time() - began


if __name__ == "__main__":
    seconds = asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))
