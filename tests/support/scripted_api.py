"""A whole API that says what a test wants in the place of each answer: submit, status, result, files.

class Odd(Api):
    def submitted(self, number): return {"error": "no"}

(report,) = await Odd().serve(harness, 3)
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import anyio

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import RunOptions, run
from batcher.progress import Listener, silent
from batcher.results.report import Report
from tests.support.foreign import Foreign
from tests.support.harness import KEY, Harness
from tests.support.pictures import noisy_picture

PNG = noisy_picture()


class Whole(NamedTuple):
    """An answer with its status line and headers, each with its end of line, but for its length."""

    head: bytes
    body: bytes = b""


class Api:
    """Answers each call as `told` says for its path; the n-th submit makes the job `n`."""

    def __init__(self) -> None:
        self.url = ""
        self.submits = 0
        self.asked: list[str] = []

    def submitted(self, number: int) -> Any:
        """The answer to the n-th submit: bytes and `Whole` go out as they are, all else as JSON."""
        record = f"{self.url}/v2/requests/{number}"
        return {"request_id": str(number), "status_url": f"{record}/status", "response_url": record}

    def told(self, path: str) -> Any:
        """The answer to a status or result call, in the same way."""
        job = path.removeprefix("/v2/requests/").removesuffix("/status")
        output = f"{self.url}/files/{job}.png"
        return {"request_id": job, "status": "COMPLETED", "output": output, "metrics": {"cost": 0.01}}

    def file(self, path: str) -> Any:
        """What the file host gives, in the same way."""
        return PNG

    async def __call__(self, _reader: Any, writer: Any, number: int) -> None:
        method, path, _ = self.server.heads[number - 1].split(" ", 2)
        self.asked.append(path)
        said: Any
        if path.startswith("/files/"):
            said = self.file(path)
        elif method == "POST":
            self.submits += 1
            said = self.submitted(self.submits)
        elif path.endswith("credits"):
            said = {"credits": 100}
        else:
            said = self.told(path)
        if isinstance(said, Whole):
            writer.write(said.head + b"Content-Length: %d\r\n\r\n" % len(said.body) + said.body)
            return
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def begins(self, run: int, harness: Harness) -> None:
        """A run (from 0) is about to begin."""

    async def serve(
        self, harness: Harness, tasks: int, *, runs: int = 1, listener: Listener = silent, **changes: Any
    ) -> list[Report]:
        """So many runs of one job, an hour apart."""
        reports: list[Report] = []
        async with Foreign(self) as self.server:
            self.url = self.server.url
            account = Account(Endpoints(self.url, self.url, self.url), KEY)
            for number in range(runs):
                await anyio.sleep(3600 * number)
                self.begins(number, harness)
                job = harness.manifest(tasks, **changes)
                reports.append(
                    await run(job, account=account, listener=listener, options=RunOptions(), now=harness.now)
                )
        return reports
