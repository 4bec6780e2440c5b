"""The live page's server: for one person, on this machine, and only to read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import aiohttp
import anyio
import pytest
from PIL import Image

from batcher.errors import UsageError
from batcher.results.dashboard import serve
from tests.support.bookkeeping import ACCEPTED, a_ledger, a_result, a_task
from tests.support.live_page import live_page, server_sent_events


def a_job(folder: Path, now: Callable[[], float]) -> tuple[str, str]:
    """A folder with one delivered task; the digests of what went in and what came out."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (300, 200), "navy").save(folder / "in.jpg")
    Image.new("RGB", (300, 200), "teal").save(folder / "images" / "a.png")
    one, two = (
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "in.jpg", folder / "images" / "a.png")
    )
    with a_ledger(folder / ".batcher" / "ledger.sqlite", 0, now=now) as ledger:
        ledger.plan([a_task(1, params={"image": str(folder / "in.jpg")}, media={"image": one})], "a plan")
        entry = ledger.submitting(ledger.next_planned(0, 1)[0], api="v2", reserved=0)
        entry = ledger.submitted(entry, ACCEPTED)
        entry = ledger.ready(entry, a_result(), [(output, None) for output in a_result().outputs])
        ledger.named(entry, 0, "a.png", two)
        ledger.delivered(entry, 0, size=1, width=300, height=200)
        ledger.done(entry)
    return one, two


async def test_the_page_comes_sealed_to_whoever_has_the_token(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    async with live_page(tmp_path, now) as address, aiohttp.ClientSession() as client:
        assert address.startswith("http://127.0.0.1:")
        async with client.get(address) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Security-Policy"].startswith(
                "default-src 'none'; script-src 'sha256-"
            )
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "<!doctype html>" in await answer.text()


async def test_without_the_token_by_another_name_or_to_write_nothing_is_found(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    async with live_page(tmp_path, now) as address, aiohttp.ClientSession() as client:
        origin, token = address.rstrip("/").rsplit("/", 1)
        port = origin.rpartition(":")[2]
        for path in ("", "events", "thumb/00", "full/00"):
            for wrong in (token[:-1], token + "x", "x", "%E2%98%83"):
                async with client.get(f"{origin}/{wrong}/{path}") as answer:
                    assert (answer.status, await answer.text()) == (404, "not found\n")
            for host in (
                "evil.example",
                f"evil.example:{port}",
                "127.0.0.1",
                f"127.0.0.1.evil.example:{port}",
            ):
                async with client.get(f"{address}{path}", headers={"Host": host}) as answer:
                    assert (answer.status, await answer.text()) == (404, "not found\n")
            async with client.post(f"{address}{path}") as answer:
                assert answer.status == 404
        for path in ("/", "/favicon.ico", "/../etc/passwd"):
            async with client.get(origin + path) as answer:
                assert answer.status == 404
        async with client.get(address, headers={"Host": f"localhost:{port}"}) as answer:
            assert answer.status == 200


async def test_events_tell_figures_and_pictures_and_how_it_ended(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    one, two = a_job(tmp_path, now)
    heard = []
    async with aiohttp.ClientSession() as client:
        async with live_page(tmp_path, now) as address:
            answer = await client.get(f"{address}events")
            assert answer.content_type == "text/event-stream"
            told = server_sent_events(answer)
            heard = [await anext(told) for _ in range(3)]
        rest = [event async for event in told]
    assert [name for name, _ in heard] == ["waiting", "figures", "pictures"]
    assert heard[1][1]["counts"]["done"] == 1
    (row,) = heard[2][1]["rows"]
    assert (row["before"], row["after"]) == ([one, f"full/{one}"], [[two, f"full/{two}", 300, 200, None]])
    assert rest[-1] == ("ended", "")


async def test_the_pictures_that_came_last_are_handed_out_before_the_page_is_left_alone(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    _, two = a_job(tmp_path, now)
    got: list[int] = []

    async def browse(client: aiohttp.ClientSession, address: str, answer: aiohttp.ClientResponse) -> None:
        assert [name async for name, _ in server_sent_events(answer)][-1] == "ended"
        for path in (f"thumb/{two}", f"full/{two}"):
            async with client.get(f"{address}{path}") as picture:
                got.append(picture.status)

    async with (
        aiohttp.ClientSession() as client,
        anyio.create_task_group() as browser,
        live_page(tmp_path, now) as address,
    ):
        browser.start_soon(browse, client, address, await client.get(f"{address}events"))
    assert got == [200, 200]


async def test_pictures_are_served_by_what_they_are_and_only_those_of_the_ledger(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    one, two = a_job(tmp_path, now)
    async with live_page(tmp_path, now) as address, aiohttp.ClientSession() as client:
        for path in (f"thumb/{two}", f"full/{two}"):
            async with client.get(address + path) as answer:
                assert answer.status == 404, "nobody was told of it yet"
        answer = await client.get(f"{address}events")
        told = server_sent_events(answer)
        for _ in range(3):
            await anext(told)
        for path, mime in {
            f"thumb/{two}": "image/webp",
            f"full/{two}": "image/png",
            f"full/{one}": "image/jpeg",
        }.items():
            async with client.get(address + path) as found:
                assert (found.status, found.content_type) == (200, mime)
                assert found.headers["X-Content-Type-Options"] == "nosniff"
                assert "sandbox" in found.headers["Content-Security-Policy"]
                assert await found.read()
        for path in ("thumb/00", "full/00", "full/..%2f..%2fin.jpg"):
            async with client.get(address + path) as found:
                assert found.status == 404
        (tmp_path / "in.jpg").write_text("<script>alert(1)</script>")
        async with client.get(f"{address}full/{one}") as found:
            assert found.status == 404
        answer.close()


async def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path, now: Callable[[], float]) -> None:
    async with live_page(tmp_path, now) as address:
        port = int(address.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=f"port {port} cannot be had"):
            await serve(tmp_path, port=port, announce=print, now=now)
