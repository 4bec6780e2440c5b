"""No service time, no limit, the ledger durable: how fast it is when nothing is to be waited for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import IO

from tests.bench.allowed import Terms
from tests.bench.contest import Outing, batcher, in_turn, outing, script, sdk
from tests.bench.figures import Figure
from tests.bench.scale import Scale
from tests.bench.server import Server

ROW = "no service time, no limit"
WIDTH = 200
PIPELINED = 16
PHOTO = Path(__file__).parents[3] / "examples" / "photos"


def rows(scale: Scale) -> Iterator[Figure]:
    tasks = scale.of(4000, 800)
    contenders = {
        "batcher": batcher(tasks, limits={"in_flight": WIDTH}),
        "honest script": script(tasks, WIDTH, honest=True),
        "script": script(tasks, WIDTH),
        "SDK, 50 threads": sdk(tasks, 50),
        "SDK, 200 threads": sdk(tasks, 200),
    }
    found = in_turn(contenders, Terms(), scale.times)
    speed = {name: median(map(per_second, runs)) for name, runs in found.items()}
    work = {name: median(1000 * run.cpu / tasks for run in runs) for name, runs in found.items()}
    ours, peer = speed.pop("batcher"), speed["honest script"]
    threads = max(value for name, value in speed.items() if name.startswith("SDK"))
    our_work = work.pop("batcher")
    note = f"{tasks} tasks, 100 KB pictures"
    yield Figure(ROW, "tasks a second", ours, unit="/s", others=speed, note=note)
    yield Figure(ROW, "speed over the honest script's", ours / peer, ">=", 1.0, "x")
    yield Figure(ROW, "speed over the plain script's", ours / speed["script"], unit="x")
    yield Figure(ROW, "speed over the SDK's threads", ours / threads, unit="x")
    yield Figure(
        ROW, "CPU of a task", our_work, unit="ms", others=work, note="start-up and planning included"
    )
    yield Figure(ROW, "CPU over the honest script's", our_work / work["honest script"], "<=", 1.3, "x")
    if not scale.quick:
        yield from photographs(tasks // 2)
    yield from the_mock(max(run.all_calls / run.makespan for runs in found.values() for run in runs), found)


def per_second(run: Outing) -> float:
    return run.delivered / run.makespan


def photographs(tasks: int) -> Iterator[Figure]:
    """What the decoding of real photographs costs, which only batcher does."""
    photo = max(PHOTO.glob("*.jpg"), key=lambda path: path.stat().st_size)
    terms = Terms(picture=str(photo))
    ours = outing(batcher(tasks, limits={"in_flight": WIDTH}), terms)
    peer = outing(script(tasks, WIDTH), terms)
    note = f"{photo.stat().st_size // 1000} KB JPEG: batcher decodes each to its last row, the script none"
    yield Figure(
        ROW, "CPU of a task, photographs", 1000 * ours.cpu / tasks, unit="ms",
        others={"script": 1000 * peer.cpu / tasks}, note=note,
    )  # fmt: skip


def the_mock(asked: float, found: dict[str, list[Outing]]) -> Iterator[Figure]:
    """The mock must never be the bottleneck: its share of a core, and what it could do."""
    share = max(run.mock_share for runs in found.values() for run in runs)
    yield Figure("the mock", "share of a core, at most", share, "<=", 0.5, note="in any run of the row above")
    yield Figure(
        "the mock", "calls a second that it answers", capacity(), ">=", 2 * asked, "/s",
        note="to a raw client that pipelines; the bar is twice what the fastest contender asked",
    )  # fmt: skip


def capacity(seconds: float = 1.0) -> float:
    """Status calls a second that the mock answers to one raw socket, PIPELINED at a time."""
    with Server(Terms()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as line, line.makefile("rb") as answers:
            body = b'{"prompt": "a"}'
            line.sendall(b"POST /v2/m HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            path = json.loads(body_of(answers))["status_url"].removeprefix(server.url)
            calls = f"GET {path} HTTP/1.1\r\nHost: mock\r\n\r\n".encode() * PIPELINED
            answered, began = 0, time.perf_counter()
            while time.perf_counter() - began < seconds:
                line.sendall(calls)
                for _ in range(PIPELINED):
                    body_of(answers)
                answered += PIPELINED
            return answered / (time.perf_counter() - began)


def body_of(answers: IO[bytes]) -> bytes:
    """The body of the next answer."""
    length = 0
    while (line := answers.readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return answers.read(length)
