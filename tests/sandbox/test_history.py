"""The request history and the list of models: what a client may rely on, and what it must not."""

from __future__ import annotations

import ast
import json
from typing import Any

import aiohttp
import anyio
import pytest

from batcher.sandbox import Faults, Sandbox, faults
from tests.support.caller import KEY, OUTPAINT, PHOTO, fetch, finish, get, submit
from tests.support.sandboxes import MakeSandbox

BEYOND = {"input_image": PHOTO, "prompt": "snow", "left": 100}
TEAMMATE = {"x-api-key": "SG_fedcba9876543210"}
DAY = 86400.0


def address(server: Sandbox, request_id: str = "") -> str:
    path = f"/{request_id}" if request_id else ""
    return f"{server.url}/inference-request/request-history{path}"


async def rows(http: aiohttp.ClientSession, server: Sandbox, query: str = "per_page=100") -> list[Any]:
    code, body = await get(http, f"{address(server)}?{query}")
    assert code == 200, body
    return list(body["data"])


async def test_history_lists_every_request_newest_first_with_one_row_per_output(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(service=1, sigma=0) as server:
        one = await submit(http, server.url, {**BEYOND, "samples": 2}, "seg-beyond")
        await anyio.sleep(10)
        two = await submit(http, server.url, {"prompt": "no image"})
        await anyio.sleep(10)
        three = await submit(http, server.url)
        url = f"{server.url}/inference-request/request-history"
        _, body = await get(http, url)
        ids = [row["request_id"] for row in body["data"]]
        assert ids == [record["request_id"] for record in (three, two, one, one)]
        assert [row["model_status"] for row in body["data"]] == [
            "PENDING",
            "FAILED",
            "COMPLETED",
            "COMPLETED",
        ]
        last = body["data"][-1]
        assert last["request_body"] == {**BEYOND, "samples": 2}
        assert [row["credits_deduction"] for row in body["data"][-2:]] == [pytest.approx(0.02)] * 2
        assert last["latency_ms"] == 1000
        assert await fetch(last["generation_url"])
        assert body["data"][1]["error"]
        assert (await get(http, f"{url}/{one['request_id']}"))[1]["request_id"] == one["request_id"]
        assert (await get(http, f"{url}/none"))[0] == 404
        _, page = await get(http, f"{url}?page=2&per_page=3")
        assert (len(page["data"]), page["total"], page["total_pages"]) == (1, 4, 2)
        assert len((await get(http, f"{url}?model_name=beyond"))[1]["data"]) == 2
        assert len((await get(http, f"{url}?status=PENDING"))[1]["data"]) == 1
        assert not (await get(http, f"{url}?from_date=2025-12-20&to_date=2026-01-04"))[1]["data"]
        for query in ("per_page=101", "page=0", "from_date=soon", "from_date=2025-01-01", "status=DONE"):
            assert (await get(http, f"{url}?{query}"))[0] == 400


async def test_a_row_outlives_its_record_and_its_file_lives_for_seven_days(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(service=1) as server:
        record = await submit(http, server.url)
        await anyio.sleep(3700)
        assert (await get(http, record["response_url"]))[0] == 404
        code, row = await get(http, address(server, record["request_id"]))
        assert (code, row["model_status"], row["credits_deduction"]) == (200, "COMPLETED", 0.01)
        assert await fetch(row["generation_url"])
        await anyio.sleep(6.9 * DAY)
        assert await fetch(row["generation_url"])
        await anyio.sleep(0.2 * DAY)
        async with http.get(row["generation_url"]) as answer:
            assert answer.status == 404


async def test_a_request_of_any_age_is_found_by_its_id_though_no_window_reaches_it(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        record = await submit(http, server.url)
        await anyio.sleep(40 * DAY)
        assert await rows(http, server) == []
        assert (await get(http, address(server, record["request_id"])))[0] == 200
        assert (await get(http, f"{address(server)}?from_date=2026-01-01&to_date=2026-02-02"))[0] == 400


async def test_a_teammates_request_is_listed_and_not_found_by_its_id(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server, aiohttp.ClientSession(headers=TEAMMATE) as other:
        mine, theirs = await submit(http, server.url), await submit(other, server.url)
        for caller, own, foreign in ((http, mine, theirs), (other, theirs, mine)):
            ids = {row["request_id"] for row in await rows(caller, server)}
            assert ids == {mine["request_id"], theirs["request_id"]}
            assert (await get(caller, address(server, own["request_id"])))[0] == 200
            assert (await get(caller, address(server, foreign["request_id"])))[0] == 404


async def test_rows_are_sorted_as_asked(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(service=1) as server:
        for body, slug in ((OUTPAINT, "sd1.5-outpaint"), ({**BEYOND, "samples": 2}, "seg-beyond")):
            await finish(http, server.url, body, slug)
        names = [row["model_name"] for row in await rows(http, server, "sort_by=model_name&sort_order=asc")]
        assert names == ["sd1.5-outpaint", "seg-beyond", "seg-beyond"]
        costs = [row["credits_deduction"] for row in await rows(http, server, "sort_by=credits_deduction")]
        assert costs == sorted(costs, reverse=True)
        for query in ("sort_by=prompt", "sort_order=up"):
            assert (await get(http, f"{address(server)}?{query}"))[0] == 400


async def test_the_outputs_are_listed_too(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(service=1) as server:
        await finish(http, server.url)
        await finish(http, server.url, {"prompt": "no image"})
        url = f"{server.url}/inference-request"
        (row,) = (await get(http, f"{url}/generations?model_name=outpaint"))[1]["generations"]
        assert (row["status"], row["prompt"]) == ("COMPLETED", "streets in italy")
        assert row["parameters"] == OUTPAINT
        (again,) = (await get(http, f"{url}/recent-generations?model_name=sd1.5-outpaint"))[1]["generations"]
        assert again == row
        assert (await get(http, f"{url}/recent-generations"))[0] == 400


async def test_the_list_of_models_needs_no_key(sandbox: MakeSandbox) -> None:
    async with sandbox(key=KEY) as server, aiohttp.ClientSession() as stranger:
        code, body = await get(stranger, f"{server.url}/inference-model-information/list")
        (models,) = body.values()
        by_slug = {model["slug"]: model for model in models}
        assert (code, "mock-inference" in by_slug) == (200, False)
        model = by_slug["sd1.5-outpaint"]
        assert (model["title"], model["is_depreciated"]) == ("SD Outpainting", False)
        schema = model["parameters_schema"]
        assert schema["required"] == ["image", "prompt"]
        assert schema["properties"]["img_width"]["enum"] == [768, 1024]
        assert schema["properties"]["strength"]["minimum"] == 0.1


# --- what goes wrong


async def test_rows_appear_late(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(service=10, sigma=0, faults=Faults([faults.LateRows(delay=30)])) as server:
        record = await submit(http, server.url)
        await anyio.sleep(39)
        assert await rows(http, server) == []
        assert (await get(http, address(server, record["request_id"])))[0] == 404
        await anyio.sleep(2)
        assert len(await rows(http, server)) == 1
        assert (await get(http, address(server, record["request_id"])))[0] == 200


async def test_teammates_ask_for_the_same(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.TeammateRows(count=2)])) as server:
        record = await submit(http, server.url)
        found = await rows(http, server)
        assert [row["request_body"] for row in found] == [OUTPAINT] * 3
        others = {row["request_id"] for row in found} - {record["request_id"]}
        assert len(others) == 2
        assert others < {row["request_id"] for row in await rows(http, server)}, "the same each time"
        for request_id in others:
            assert (await get(http, address(server, request_id)))[0] == 404
        _, own = await get(http, address(server, record["request_id"]))
        assert own["request_id"] == record["request_id"]


async def test_thousands_of_newer_rows_stand_before_ours(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults([faults.NoiseRows(rows=2500)])) as server:
        record = await submit(http, server.url)
        await anyio.sleep(60)
        _, body = await get(http, f"{address(server)}?per_page=100&model_name=outpaint")
        assert (body["total"], len(body["data"])) == (2501, 100)
        (last,) = await rows(http, server, "per_page=100&page=26")
        assert last["request_id"] == record["request_id"]
        assert (await get(http, address(server, record["request_id"])))[0] == 200


async def test_stamps_are_skewed_and_may_lack_their_zone(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = [
        {"fault": "skewed_stamps", "by": "-2m", "calls": [2]},
        {"fault": "skewed_stamps", "by": "330m", "zone": False, "calls": [3]},
    ]
    async with sandbox(faults=Faults.load(script)) as server:
        await submit(http, server.url)
        true, behind, local = [(await rows(http, server))[0]["model_created"] for _ in range(3)]
        assert (true[-5:], behind) == (local[-4:] + "Z", true.replace("T12:00", "T11:58"))
        assert local == true.replace("T12:00", "T17:30").removesuffix("Z")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, OUTPAINT),
        ({"form": "json"}, json.dumps(OUTPAINT)),
        ({"form": "repr"}, repr(OUTPAINT)),
        ({"wrapped": "input"}, {"input": OUTPAINT}),
        ({"form": "repr", "wrapped": "data"}, repr({"data": OUTPAINT})),
    ],
)
async def test_the_body_is_told_in_another_form(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, settings: dict[str, Any], told: object
) -> None:
    async with sandbox(faults=Faults([faults.RequestBodies(**settings)])) as server:
        record = await submit(http, server.url)
        assert [row["request_body"] for row in await rows(http, server)] == [told]
        assert (await get(http, address(server, record["request_id"])))[1]["request_body"] == told


async def test_bodies_have_three_forms_by_turns(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.RequestBodies(form="mixed")])) as server:
        for _ in range(3):
            await submit(http, server.url)
        bodies = [row["request_body"] for row in await rows(http, server, "sort_order=asc")]
        assert [bodies[0], json.loads(bodies[1]), ast.literal_eval(bodies[2])] == [OUTPAINT] * 3


async def test_bodies_have_defaults_added_and_numbers_as_floats(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = Faults([faults.RequestBodies(defaults=True, floats=True)])
    async with sandbox(faults=script) as server:
        await submit(http, server.url, {**OUTPAINT, "img_width": 768})
        (row,) = await rows(http, server)
        assert row["request_body"]["scheduler"] == "DDIM"
        assert repr(row["request_body"]["img_width"]) == "768.0"
        assert repr(row["request_body"]["num_inference_steps"]) == "25.0"


async def test_a_body_is_filled_in_late(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(service=10, sigma=0, faults=Faults([faults.RequestBodies(delay=60)])) as server:
        await submit(http, server.url)
        await anyio.sleep(69)
        assert [row["request_body"] for row in await rows(http, server)] == [None]
        await anyio.sleep(2)
        assert [row["request_body"] for row in await rows(http, server)] == [OUTPAINT]


async def test_a_model_is_called_by_its_title(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.ModelTitles()])) as server:
        await submit(http, server.url)
        (row,) = await rows(http, server, "model_name=sd1.5-outpaint")
        assert row["model_name"] == "SD Outpainting"


async def test_a_page_is_shorter_than_asked_for(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(faults=Faults([faults.PageCap(rows=2)])) as server:
        for _ in range(5):
            await submit(http, server.url)
        pages = [await rows(http, server, f"per_page=100&page={page}") for page in (1, 2, 3, 4)]
        assert [len(page) for page in pages] == [2, 2, 1, 0]
        assert len({row["request_id"] for page in pages for row in page}) == 5


async def test_rows_are_nonsense(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    kinds = ["other_ids", "missing_keys", "negative_costs", "foreign_urls"]
    script = [{"fault": "nonsense_rows", "what": [kind], "calls": [n]} for n, kind in enumerate(kinds, 1)]
    async with sandbox(faults=Faults.load([*script, {"fault": "nonsense_rows", "calls": [5]}])) as server:
        result = await finish(http, server.url)
        one = address(server, result["request_id"])
        other, missing, negative, foreign, all_of_it = [(await get(http, one))[1] for _ in range(5)]
        assert other["request_id"] != result["request_id"]
        assert "credits_deduction" not in missing
        assert negative["credits_deduction"] < 0
        assert foreign["generation_url"].startswith("http://foreign.invalid/")
        assert all_of_it["request_id"] == other["request_id"]
        assert "model_status" not in all_of_it


@pytest.mark.parametrize(
    ("fault", "code", "kind"),
    [
        (faults.Status(route="history", code=404), 404, "application/json"),
        (faults.Html(route="history"), 200, "text/html"),
    ],
)
async def test_the_history_is_not_there(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, fault: faults.Fault, code: int, kind: str
) -> None:
    async with sandbox(faults=Faults([fault])) as server:
        record = await submit(http, server.url)
        for url in (address(server), address(server, record["request_id"])):
            async with http.get(url) as answer:
                assert (answer.status, answer.content_type) == (code, kind)


async def test_faults_of_the_history_join(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    script = [
        {"fault": "request_bodies", "form": "repr"},
        {"fault": "teammate_rows"},
        {"fault": "skewed_stamps", "by": "1h"},
        {"fault": "status", "route": "history", "code": 500, "calls": [1]},
    ]
    async with sandbox(faults=Faults.load(script)) as server:
        await submit(http, server.url)
        assert (await get(http, address(server)))[0] == 500
        found = await rows(http, server)
        assert [row["request_body"] for row in found] == [repr(OUTPAINT)] * 2
        assert all("T13:00" in row["model_created"] for row in found)


async def test_an_upload_is_refused_for_want_of_room(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(faults=Faults.load([{"fault": "storage_full", "from": "60s"}])) as server:
        for code in (200, 403):
            body = {"data_urls": ["data:image/png;base64,aGVsbG8="]}
            async with http.post(f"{server.url}/upload-asset", json=body) as answer:
                assert answer.status == code
                text = await answer.text()
            await anyio.sleep(60)
        assert "quota" in json.loads(text)["error"]
