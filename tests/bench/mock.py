"""A fast server of the API, in its own process: `python -m tests.bench.mock '{"service": 3, ...}'`.

It speaks just enough HTTP/1.1 for well-behaved clients, on bare asyncio protocols: several times as many
calls a second as the fastest client makes (the benchmark measures that, and prints it). The first line on
stdout is its address; `GET /stats` tells what it saw; it ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.bench.allowed import Queue, Terms, limiter

CREDITS = b'{"credits": 1000000.0, "free-credits": 0}'
COST = 0.01


class Job:
    """One accepted submit."""

    __slots__ = (
        "asked",
        "body",
        "done_at",
        "downloads",
        "fetched",
        "noticed_at",
        "started_at",
        "submitted_at",
    )

    def __init__(self, body: bytes, submitted_at: float, started_at: float, done_at: float) -> None:
        self.body = body
        self.submitted_at = submitted_at
        self.started_at = started_at
        self.done_at = done_at
        self.noticed_at: float | None = None
        self.asked = 0
        self.fetched = False
        self.downloads = 0


class Api:
    """The API's side: jobs, limits, and the counts of what was seen."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.origin = ""
        self._queue = Queue(terms)
        self._limit = limiter(terms)
        self._jobs: dict[str, Job] = {}
        self._calls: Counter[str] = Counter()
        self._throttled: Counter[str] = Counter()
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._gone = 0
        body = Path(terms.picture).read_bytes() if terms.picture else noise()
        kind = "image/jpeg" if body[:2] == b"\xff\xd8" else "image/png"
        self._picture = answer(200, body, kind)

    def handle(self, method: bytes, path: bytes, body: bytes) -> bytes:
        """The answer to one call, head and all."""
        now = time.time()  # noqa: TID251  # the server's wall clock enters here
        if path.startswith(b"/files/"):
            self._seen("download", now)
            job = self._jobs.get(path[7:43].decode())
            if job is not None:
                job.downloads += 1
            return self._picture
        if path.startswith(b"/v2/"):
            return self._metered(method, path.decode(), body, now)
        if path == b"/v1/get-user-credits":
            self._seen("credits", now)
            return answer(200, CREDITS)
        if path == b"/stats":
            return answer(200, json.dumps(self.statistics(now)).encode())
        return refused(404, "no such path")

    def _metered(self, method: bytes, path: str, body: bytes, now: float) -> bytes:
        asked = "status" if path.endswith("/status") else "result"
        kind = "submit" if method == b"POST" else asked
        self._seen(kind, now)
        if self._limit is not None and (kind == "submit" or self.terms.metered == "all"):
            again = self._limit.admit(now)
            if again is not None:
                self._throttled[kind] += 1
                stamp = datetime.fromtimestamp(again + 0.0005, UTC).isoformat(timespec="milliseconds")
                extra = f"x-rate-limit-reset-at-utc: {stamp.replace('+00:00', 'Z')}\r\n"
                return refused(429, "Rate limit exceeded. Please try again later.", extra)
        if kind == "submit":
            return self._submit(body, now)
        name = path.split("/")[3]
        job = self._jobs.get(name)
        if job is None or now >= job.submitted_at + self.terms.ttl:
            self._gone += 1
            return refused(404, f"Request {name} not found")
        return self._status(name, job, now) if kind == "status" else self._result(name, job, now)

    def _submit(self, body: bytes, now: float) -> bytes:
        number = len(self._jobs)
        name = f"00000000-0000-4000-8000-{number:012d}"
        self._jobs[name] = Job(body, now, *self._queue.take(now))
        record = f"{self.origin}/v2/requests/{name}"
        return answer(
            200,
            f'{{"request_id":"{name}","status":"QUEUED","poll_url":"{record}/status",'
            f'"status_url":"{record}/status","response_url":"{record}"}}'.encode(),
        )

    def _status(self, name: str, job: Job, now: float) -> bytes:
        job.asked += 1
        if now >= job.done_at:
            if job.noticed_at is None:
                job.noticed_at = now
            word = "COMPLETED"
        else:
            word = "PROCESSING" if now >= job.started_at else "QUEUED"
        return answer(200, f'{{"status":"{word}","request_id":"{name}","metrics":{{}}}}'.encode())

    def _result(self, name: str, job: Job, now: float) -> bytes:
        if now < job.done_at:
            return self._status(name, job, now)
        job.fetched = True
        url = f"{self.origin}/files/{name}.png"
        queue, total = job.started_at - job.submitted_at, job.done_at - job.submitted_at
        return answer(
            200,
            f'{{"status":"COMPLETED","request_id":"{name}","output":"{url}","images":[{{"url":"{url}"}}],'
            f'"metrics":{{"cost":{COST},"remaining_credits":999.0,"inference_time":{total - queue:.4f},'
            f'"queue_time":{queue:.4f},"total_time":{total:.4f},"retry_count":0}}}}'.encode(),
        )

    def _seen(self, kind: str, now: float) -> None:
        self._calls[kind] += 1
        self._first.setdefault(kind, now)
        self._last[kind] = now

    def statistics(self, now: float) -> dict[str, Any]:
        """What was seen, for the judge. Moments are seconds of the Unix clock."""
        jobs = self._jobs.values()
        noticed = [job for job in jobs if job.noticed_at is not None]
        paid: Counter[str] = Counter(job.body.decode() for job in jobs if job.done_at <= now)
        return {
            "calls": self._calls,
            "throttled": self._throttled,
            "first": self._first,
            "last": self._last,
            "jobs": len(jobs),
            "fetched": sum(job.fetched for job in jobs),
            "lost": sum(job.done_at <= now and not job.fetched for job in jobs),
            "fetches": Counter(job.downloads for job in jobs),
            "gone": self._gone,
            "delay": fmean((job.noticed_at or 0.0) - job.done_at for job in noticed) if noticed else 0.0,
            "polls": fmean(job.asked for job in noticed) if noticed else 0.0,
            "paid_again": {body: n for body, n in paid.items() if n > 1},
            "cpu": time.process_time(),
        }


class Connection(asyncio.Protocol):
    """One keep-alive connection; calls may be pipelined."""

    def __init__(self, handle: Callable[[bytes, bytes, bytes], bytes], travel: float) -> None:
        self._handle = handle
        self._travel = travel
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[:end]
            method, path, _ = head.split(b" ", 2)
            stop = end + 4
            if method == b"POST":
                stop += length_in(head)
                if len(buffer) < stop:
                    break
            self._answer(self._handle(method, path, buffer[end + 4 : stop]))
            buffer = buffer[stop:]
        self._buffer = buffer

    def _answer(self, answer: bytes) -> None:
        if self._travel:
            asyncio.get_running_loop().call_later(self._travel, self._transport.write, answer)
        else:
            self._transport.write(answer)


def length_in(head: bytes) -> int:
    """The body's length, as the head tells it."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def answer(code: int, body: bytes, kind: str = "application/json", extra: str = "") -> bytes:
    """A whole answer."""
    words = {200: "OK", 404: "Not Found", 429: "Too Many Requests"}[code]
    head = f"HTTP/1.1 {code} {words}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def refused(code: int, message: str, extra: str = "") -> bytes:
    """A refusal, as the API words it; with the Date that clocks are compared by."""
    extra += f"Date: {formatdate(usegmt=True)}\r\n"
    return answer(code, json.dumps({"error": message}).encode(), extra=extra)


def noise(edge: int = 183) -> bytes:
    """A PNG of noise, stored and not packed: about 100 KB, and cheap to decode."""
    dice = random.Random(0)
    rows = b"".join(b"\0" + dice.randbytes(3 * edge) for _ in range(edge))
    size = edge.to_bytes(4, "big")
    header = size + size + bytes([8, 2, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        for name, data in chunks
    )


async def main(terms: Terms) -> None:
    """Serves on a free port until stdin ends."""
    api = Api(terms)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(api.handle, terms.travel), "127.0.0.1", 0, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    api.origin = f"http://127.0.0.1:{port}"
    print(api.origin, flush=True)
    gc.freeze()
    gc.disable()  # jobs refer to nothing that refers back; a collection would stop the clock
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Terms(**json.loads(sys.argv[1]))))
