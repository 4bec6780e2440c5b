"""The official SDK in threads, as its documentation shows it; with a hand-written backoff if asked.

`python -m tests.bench.peers.sdk URL TASKS THREADS FOLDER [backoff]`
"""

from __future__ import annotations

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from segmind import SegmindClient
from segmind.exceptions import SegmindError

TRIES = 10


def patiently(call: Any, tries: int) -> Any:
    """Calls again after a 429, each time after a longer pause."""
    for tried in range(tries):
        try:
            return call()
        except SegmindError as error:
            if error.status != 429 or tried + 1 == tries:
                raise
            time.sleep(min(0.5 * 2**tried, 10) * (0.5 + random.random()))
    raise AssertionError("the last try returns or raises")


def main(url: str, tasks: int, threads: int, folder: Path, tries: int) -> int:
    client = SegmindClient(api_key="SG_0123456789abcdef", base_url=f"{url}/v1")
    files = httpx.Client()

    def one(number: int) -> bool:
        prompt = f"picture {number}"
        try:
            job = patiently(
                lambda: client.submit_async(
                    "sd1.5-outpaint", image="https://photos.example/one.png", prompt=prompt
                ),
                tries,
            )
            result = patiently(job.wait, tries)
            picture = files.get(result["output"])
            picture.raise_for_status()
        except Exception as error:
            print(f"{number}: {error!r}", file=sys.stderr)
            return False
        (folder / f"{number}.png").write_bytes(picture.content)
        return True

    with ThreadPoolExecutor(threads) as pool:
        return sum(not done for done in pool.map(one, range(tasks)))


if __name__ == "__main__":
    target, tasks, threads, out, *backoff = sys.argv[1:]
    sys.exit(3 if main(target, int(tasks), int(threads), Path(out), TRIES if backoff else 1) else 0)
