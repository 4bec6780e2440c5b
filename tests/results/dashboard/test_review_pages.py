"""The page of a review: who may decide, what is handed out, and when the records are written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batcher.ledger import database, reviews
from batcher.results import report
from batcher.results.dashboard.guard import LARGEST_BODY
from batcher.results.report.page import review_page
from batcher.results.review import ReviewSession
from batcher.storage import layout
from tests.support.live_page import live_page, server_sent_events
from tests.support.shelf import Shelf

HOSTILE = '</script><img src=x onerror="alert(1)">\u2028\x1b[31m'


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Three delivered pictures, the last of a hostile name."""
    made = Shelf(tmp_path)
    photo = made.photo("a.png")
    made.deliver(*(made.variant(f"p{n}", photo, label=HOSTILE) for n in range(3)), job=HOSTILE)
    report.write(report.of_folder(made.output, now=0.0))
    return made


class Reviewing:
    """A browser at the page of a review."""

    def __init__(self, client: aiohttp.ClientSession, address: str, shelf: Shelf) -> None:
        self.client = client
        self.address = address
        self.origin = address.rstrip("/").rsplit("/", 1)[0]
        self.ledger = layout.ledger_path(shelf.output)

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        sent = {"Origin": self.origin, "Content-Type": "application/json", **headers}
        data = body if isinstance(body, bytes) else json.dumps(body)
        async with self.client.post(f"{self.address}{path}", data=data, headers=sent) as answer:
            return answer.status, json.loads(await answer.text())

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self.client.get(f"{self.address}{path}") as answer:
            return answer.status, await answer.read()

    def looks(self) -> list[int]:
        with database.open_for_reading(self.ledger) as connection:
            found = [task.id for task in reviews.to_review(connection) if task.looked_at]
        connection.close()
        return found

    @property
    def tasks(self) -> list[int]:
        with database.open_for_reading(self.ledger) as connection:
            found = [task.id for task in reviews.to_review(connection)]
        connection.close()
        return found


@asynccontextmanager
async def reviewing(shelf: Shelf, now: Callable[[], float]) -> AsyncIterator[Reviewing]:
    session = ReviewSession(shelf.output, now=now)
    async with (
        live_page(shelf.output, now, session) as address,
        aiohttp.ClientSession() as client,
    ):
        yield Reviewing(client, address, shelf)


async def test_a_decision_comes_back_as_the_task_stands_and_is_taken_back(
    shelf: Shelf, now: Callable[[], float]
) -> None:
    async with reviewing(shelf, now) as page:
        one, *_ = page.tasks
        status, told = await page.post(
            "decisions", {"task": one, "decision": "reject", "reason": HOSTILE + " x" * 400}
        )
        assert status == 200
        assert (told["row"]["id"], told["row"]["state"], told["lost"]) == (one, "rejected", [])
        assert told["row"]["look"][0] > 0
        assert told["reasons"][-1].startswith("</script>")
        assert len(told["reasons"][-1]) <= 500
        assert page.looks() == [one]
        assert (await page.get(told["row"]["after"][0][1]))[0] == 200
        status, told = await page.post("take-back", {})
        assert (status, told["row"]["state"], "look" in told["row"]) == (200, "done", False)
        assert page.looks() == []
        status, told = await page.post("take-back", {})
        assert (status, told) == (409, {"error": "no decision is left to be taken back"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://localhost:{port}"},
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_what_comes_from_elsewhere_is_refused_and_changes_nothing(
    shelf: Shelf, now: Callable[[], float], headers: dict[str, str]
) -> None:
    async with reviewing(shelf, now) as page:
        port = page.origin.rpartition(":")[2]
        sent = {name: value.format(port=port) for name, value in headers.items()}
        body = {"task": page.tasks[0], "decision": "keep"}
        for path in ("decisions", "take-back"):
            status, told = await page.post(path, body, **sent)
            assert (status, list(told)) == (403, ["error"])
        assert page.looks() == []


async def test_without_the_token_nothing_is_decided(shelf: Shelf, now: Callable[[], float]) -> None:
    async with reviewing(shelf, now) as page:
        token = page.address.rstrip("/").rpartition("/")[2]
        body = {"task": page.tasks[0], "decision": "keep"}
        for wrong in (token[:-1], token + "x", "x", "%E2%98%83"):
            page.address = f"{page.origin}/{wrong}/"
            assert (await page.post("decisions", body))[0] == 403
            assert await page.get("rows?tasks=1") == (404, b"not found\n")
        assert page.looks() == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"task=1&decision=keep", "application/x-www-form-urlencoded", 415),
        (b"{}", "application/octet-stream", 415),
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 9000, "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"task": true, "decision": "keep"}', "application/json", 400),
        (b'{"task": "1", "decision": "keep"}', "application/json", 400),
        (b'{"task": 1, "decision": "pay"}', "application/json", 400),
        (b'{"task": 1, "decision": ["keep"]}', "application/json", 400),
        (b'{"task": 1, "decision": "reject", "reason": 7}', "application/json", 400),
        (b'{"task": 99999999999999999999999999, "decision": "keep"}', "application/json", 400),
        (b'{"task": -5, "decision": "keep"}', "application/json", 400),
        (b'{"task": 5, "decision": "keep"}', "application/json", 409),
        (b'{"task": 1, "decision": "reject", "reason": "\\ud800"}', "application/json", 400),
        (b'{"a": "%s"}' % (b"x" * LARGEST_BODY), "application/json", 413),
    ],
)
async def test_what_is_no_decision_is_refused_in_a_sentence(
    shelf: Shelf, now: Callable[[], float], body: bytes, kind: str, status: int
) -> None:
    async with reviewing(shelf, now) as page:
        found, told = await page.post("decisions", body, **{"Content-Type": kind})
        assert (found, list(told)) == (status, ["error"])
        assert page.looks() == []


async def test_a_get_changes_nothing(shelf: Shelf, now: Callable[[], float]) -> None:
    async with reviewing(shelf, now) as page:
        before = page.ledger.read_bytes()
        one = page.tasks[0]
        for path in (
            "decisions",
            f"decisions?task={one}&decision=reject",
            "take-back",
            "events/x",
        ):
            assert (await page.get(path))[0] == 404
        for path in ("", f"rows?tasks={one}"):
            assert (await page.get(path))[0] == 200
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            async with page.client.request(method, f"{page.address}decisions") as answer:
                assert answer.status == 404
        assert page.ledger.read_bytes() == before


async def test_rows_and_pictures_are_those_of_the_ledger_and_nothing_else(
    shelf: Shelf, now: Callable[[], float]
) -> None:
    async with reviewing(shelf, now) as page:
        one, two, _ = page.tasks
        told = json.loads((await page.get(f"rows?tasks={two},{one},{one},424242"))[1])
        assert [row["id"] for row in told["rows"]] == [two, one]
        row = told["rows"][1]
        assert row["columns"]["label"].startswith("</script>")
        for digest, link in (row["before"], row["after"][0][:2]):
            assert link == f"full/{one}/{digest}"
            assert (await page.get(link))[0] == 200
            assert (await page.get(link.replace("full", "thumb")))[1][:4] == b"RIFF"
        digest = row["after"][0][0]
        for path in (
            "rows",
            "rows?tasks=",
            "rows?tasks=x",
            "rows?tasks=-1",
            "rows?tasks=" + "9" * 40,
            "rows?tasks=" + ",".join("1" * 101),
        ):
            assert (await page.get(path))[0] == 400
        for path in (
            f"full/{two}/00",
            f"full/x/{digest}",
            f"full/{'9' * 30}/{digest}",
            f"full/²/{digest}",
            f"full/{one}/..%2f..%2fjob.yaml",
            f"thumb/{digest}",
        ):
            assert (await page.get(path))[0] == 404


async def test_watchers_are_told_how_tasks_stand_and_what_somebody_decided(
    shelf: Shelf, now: Callable[[], float]
) -> None:
    async with reviewing(shelf, now) as page:
        answer = await page.client.get(f"{page.address}events")
        told = server_sent_events(answer)
        events = [await anext(told) for _ in range(3)]
        assert [name for name, _ in events] == ["waiting", "figures", "tasks"]
        assert events[2][1] == [[task, 0] for task in page.tasks]
        await page.post("decisions", {"task": page.tasks[1], "decision": "reject"})
        await page.post("decisions", {"task": page.tasks[2], "decision": "keep"})
        changed: dict[int, int] = {}
        while len(changed) < 2:
            name, value = await anext(told)
            if name == "tasks":
                changed |= dict(value)
        assert changed == {page.tasks[1]: 3, page.tasks[2]: 2}
        answer.close()


async def test_the_records_are_written_when_nobody_decides(shelf: Shelf, now: Callable[[], float]) -> None:
    async with reviewing(shelf, now) as page:
        for task in page.tasks[:2]:
            await page.post("decisions", {"task": task, "decision": "reject"})
        assert not (shelf.output / "rejected.jsonl").exists()
        await asyncio.sleep(30)
        assert len((shelf.output / "rejected.jsonl").read_text().splitlines()) == 2
        assert len((shelf.output / "metadata.jsonl").read_text().splitlines()) == 1


async def test_what_an_earlier_review_left_stale_is_written_without_a_decision(
    shelf: Shelf, now: Callable[[], float]
) -> None:
    async with reviewing(shelf, now) as page:
        tasks = page.tasks
    ReviewSession(shelf.output, now=now).decide(tasks[0], "reject")
    async with reviewing(shelf, now):
        await asyncio.sleep(30)
        assert len((shelf.output / "rejected.jsonl").read_text().splitlines()) == 1


def test_the_page_carries_no_markup_of_its_job() -> None:
    text, policy = review_page(HOSTILE, {"reasons": [HOSTILE]})
    assert "<img" not in text.replace('<img alt="">', "")
    assert "connect-src 'self'" in policy
    assert "form-action 'none'" in policy
