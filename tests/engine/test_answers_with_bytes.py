"""Pictures that come as bytes inside answers: memory is bounded whatever is in flight and however large."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from batcher.api import client
from batcher.api.answer_memory import AnswerMemory
from batcher.engine.delivery import Delivery
from tests.support.harness import Harness
from tests.support.pictures import noisy_picture
from tests.support.scripted_api import Api, Whole

TASKS = 24
PICTURE = noisy_picture()
LARGE = PICTURE[:-12] + b"\x00\x10\x00\x00abCd" + bytes(1 << 20) + b"\x00\x00\x00\x00" + PICTURE[-12:]
"""A megabyte of a chunk that no decoder reads."""
ROOM = 3 << 20
ROUTES = ["v1", "v1 in JSON", "v1 without its length", "v2"]


class Heavy(Api):
    """Every answer brings a picture of a megabyte."""

    def __init__(self, route: str) -> None:
        super().__init__()
        self._route = route

    def submitted(self, number: int) -> Any:
        if self._route == "v2":
            return super().submitted(number)
        return {"image": b64encode(LARGE).decode()} if self._route == "v1 in JSON" else LARGE

    def told(self, path: str) -> Any:
        told: dict[str, Any] = super().told(path)
        return told if path.endswith("/status") else {**told, "output": b64encode(LARGE).decode()}

    async def __call__(self, reader: Any, writer: Any, number: int) -> None:
        if self._route == "v1 without its length" and self.server.heads[number - 1].startswith("POST"):
            self.submits += 1
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(LARGE), LARGE))
        else:
            await super().__call__(reader, writer, number)


@pytest.mark.parametrize("route", ROUTES)
async def test_what_is_read_and_not_yet_written_down_stays_within_its_room(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    in_hand = most = 0
    read, spool = client.read_limited, Delivery.spool

    async def counted(*arguments: Any, **named: Any) -> bytes:
        nonlocal in_hand, most
        body = await read(*arguments, **named)
        if len(body) > 1 << 19:
            in_hand += 1
            most = max(most, in_hand)
            sizes.append(len(body))
        return body

    async def written(self: Delivery, submission: int, outputs: Any) -> Any:
        nonlocal in_hand
        name = await spool(self, submission, outputs)
        in_hand -= 1
        return name

    sizes: list[int] = []
    monkeypatch.setattr(client, "read_limited", counted)
    monkeypatch.setattr(Delivery, "spool", written)
    monkeypatch.setattr(client, "AnswerMemory", lambda: AnswerMemory(ROOM))
    heavy = Heavy(route)
    api = route.partition(" ")[0]
    (report,) = await heavy.serve(harness, TASKS, api=api, limits={"in_flight": TASKS, "rpm": 60_000})
    harness.check(report)
    assert (report.exit_code, report.counts["done"], heavy.submits) == (0, TASKS, TASKS)
    assert in_hand == 0
    assert 1 < most <= ROOM / min(sizes) + 1


async def test_a_refused_answer_of_any_size_gives_its_room_back(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories: list[AnswerMemory] = []

    def small() -> AnswerMemory:
        memories.append(AnswerMemory(ROOM))
        return memories[-1]

    class Refusing(Api):
        def submitted(self, number: int) -> Any:
            return Whole(b"HTTP/1.1 400 No\r\n", b"x" * (2 << 20)) if number % 2 else LARGE

    monkeypatch.setattr(client, "AnswerMemory", small)
    (report,) = await Refusing().serve(harness, 12, api="v1", limits={"in_flight": 12, "rpm": 60_000})
    assert (report.counts["done"], report.counts["failed"]) == (6, 6)
    assert [memory.held for memory in memories] == [0]
