"""The live page's buttons: what they ask is a note in the ledger, and only the page itself can ask it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batcher.ledger import controls, database
from batcher.storage import layout
from tests.support.bookkeeping import a_ledger
from tests.support.live_page import live_page, server_sent_events

MANIFEST = """
name: streets
model: sd1.5-outpaint
inputs: {rows: [{place: rome}]}
params: {image: https://photos.example/one.png, prompt: "{{ place }}"}
limits: {rpm: 60}
"""


@pytest.fixture
async def output(tmp_path: Path, now: Callable[[], float]) -> Path:
    """A job that was begun."""
    with a_ledger(layout.ledger_path(tmp_path), 3, now=now):
        layout.resolved_manifest(tmp_path).write_text(MANIFEST)
    return tmp_path


class Page:
    def __init__(self, client: aiohttp.ClientSession, address: str) -> None:
        self.client = client
        self.address = address
        self.origin = address.rstrip("/").rsplit("/", 1)[0]

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        sent = {"Origin": self.origin, "Content-Type": "application/json", **headers}
        async with self.client.post(f"{self.address}{path}", data=json.dumps(body), headers=sent) as answer:
            return answer.status, json.loads(await answer.text())


@asynccontextmanager
async def watching(output: Path, now: Callable[[], float]) -> AsyncIterator[Page]:
    async with live_page(output, now) as address, aiohttp.ClientSession() as client:
        yield Page(client, address)


def asked(output: Path) -> tuple[float | None, dict[str, Any]]:
    with closing(database.open_for_reading(layout.ledger_path(output))) as connection:
        limits = {key: one.value for key, one in controls.limits(connection).items()}
        return controls.paused_since(connection), limits


async def test_a_pause_a_resume_and_limits_are_noted_and_answered_with_what_holds(
    output: Path, now: Callable[[], float]
) -> None:
    async with watching(output, now) as page:
        status, told = await page.post("pause", {})
        assert (status, told["running"], told["changed"]) == (200, False, [])
        assert told["paused"] == asked(output)[0] is not None
        assert (await page.post("pause", {}))[1]["paused"] == told["paused"], "it was paused already"
        assert (await page.post("resume", {}))[1]["paused"] is None
        status, told = await page.post("limits", {"rpm": " 120 ", "max_cost": "2.5", "in_flight": "auto"})
        assert told["changed"] == [
            "limits.rpm: 60 -> 120",
            "limits.max_cost: none -> 2.5",
            "limits.in_flight: auto -> auto",
        ]
        assert (told["limits"]["rpm"], told["limits"]["max_cost"]) == ("120", "2.5")
        assert asked(output) == (None, {"rpm": 120, "max_cost": 2.5, "in_flight": None})
        told = (await page.post("limits", {"max_cost_per.day": "3"}))[1]
        assert told["changed"] == ["limits.max_cost_per.day: none -> 3"]
        told = (await page.post("limits", {"rpm": "none"}))[1]
        assert told["changed"] == ["limits.rpm: 120 -> none"]


async def test_watchers_see_what_holds(output: Path, now: Callable[[], float]) -> None:
    async with watching(output, now) as page:
        answer = await page.client.get(f"{page.address}events")
        told = server_sent_events(answer)
        found = [value["controls"] async for name, value in first(told, "figures")]
        assert (found[0]["paused"], found[0]["limits"]["rpm"]) == (None, "60")
        await page.post("pause", {})
        await page.post("limits", {"rpm": "7"})
        found = [value["controls"] async for name, value in first(told, "figures")]
        assert found[0]["paused"] is not None
        assert found[0]["limits"]["rpm"] == "7"
        answer.close()


async def first(events: AsyncIterator[tuple[str, Any]], wanted: str) -> AsyncIterator[tuple[str, Any]]:
    """The next event of this name alone."""
    async for name, value in events:
        if name == wanted:
            yield name, value
            return


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "limits are texts"),
        ({"rpm": 60}, 400, "limits are texts"),
        ({"rpm": "6\n0"}, 400, "limits are texts"),
        ({"rpm": "6" * 41}, 400, "limits are texts"),
        ({"output": "x"}, 400, "limits are texts"),
        ({"rpm=1 limits.max_cost": "9"}, 400, "limits are texts"),
        ({"rpm": "0"}, 409, "must be above 0"),
        ({"rpm": "many"}, 409, "limits.rpm"),
        ({"rpm": "["}, 409, "limits.rpm"),
        ({"max_cost": "-3"}, 409, "limits.max_cost"),
        ({"rpm": "60", "in_flight": "some"}, 409, "limits.in_flight"),
    ],
)
async def test_what_no_manifest_could_say_is_refused_and_changes_nothing(
    output: Path, now: Callable[[], float], body: dict[str, Any], status: int, text: str
) -> None:
    async with watching(output, now) as page:
        found, told = await page.post("limits", body)
        assert found == status
        assert text in told["error"]
        assert asked(output) == (None, {})


@pytest.mark.parametrize("path", ["pause", "resume", "limits"])
async def test_only_the_page_itself_may_ask_and_no_get_does(
    output: Path, now: Callable[[], float], path: str
) -> None:
    async with watching(output, now) as page:
        body = {"rpm": "7"}
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Sec-Fetch-Site": "cross-site"},
            {"Host": "evil.example"},
        ):
            assert (await page.post(path, body, **headers))[0] == 403
        assert (await page.post(path, body, **{"Content-Type": "text/plain"}))[0] == 415
        async with page.client.get(f"{page.address}{path}?rpm=7") as answer:
            assert answer.status == 404
        token = page.address.rstrip("/").rpartition("/")[2]
        page.address = page.address.replace(token, token[:-1])
        assert (await page.post(path, body))[0] == 403
        assert asked(output) == (None, {})


async def test_where_nothing_was_run_yet_it_is_a_sentence(tmp_path: Path, now: Callable[[], float]) -> None:
    async with watching(tmp_path, now) as page:
        for path in ("pause", "resume"):
            status, told = await page.post(path, {})
            assert (status, "nothing was run yet" in told["error"]) == (409, True)
    assert not layout.ledger_path(tmp_path).exists()
