"""The API as documented: shapes, states, keys, money, two clocks."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import aiohttp
import anyio
import pytest

from tests.support.caller import KEY, OUTPAINT, PHOTO, data_uri, fetch, finish, get, photo, submit
from tests.support.sandboxes import MakeSandbox

BEYOND = {"input_image": PHOTO, "prompt": "snow", "left": 100}


async def test_a_submit_answers_an_id_and_absolute_links(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        record = await submit(http, server.url)
        assert uuid.UUID(record["request_id"]).version == 4
        assert record["status"] == "QUEUED"
        base = f"{server.url}/v2/requests/{record['request_id']}"
        assert record["response_url"] == base
        assert record["status_url"] == record["poll_url"] == f"{base}/status"


async def test_links_lead_back_to_the_name_under_which_the_caller_knows_the_server(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        local = server.url.replace("127.0.0.1", "localhost")
        record = await submit(http, local)
        assert record["status_url"].startswith(f"{local}/")
        result = await finish(http, local)
        assert result["output"].startswith(f"{local}/")


async def test_a_job_is_queued_then_processing_then_completed(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(workers=1, service=10, sigma=0) as server:
        first, second = await submit(http, server.url), await submit(http, server.url)
        await anyio.sleep(5)
        assert (await get(http, first["status_url"]))[1]["status"] == "PROCESSING"
        assert (await get(http, second["status_url"]))[1]["status"] == "QUEUED"
        early = await get(http, first["response_url"])
        assert early[0] == 200
        assert early[1]["status"] == "PROCESSING"
        assert "output" not in early[1]
        await anyio.sleep(16)
        code, result = await get(http, second["response_url"])
        assert (code, result["status"]) == (200, "COMPLETED")
        assert result["metrics"]["queue_time"] == pytest.approx(10, abs=0.1)
        assert result["metrics"]["inference_time"] == pytest.approx(10, abs=0.1)
        assert result["metrics"]["total_time"] == pytest.approx(20, abs=0.2)


async def test_a_result_names_its_files_its_seed_and_its_money(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(credits=2, price=0.5) as server:
        result = await finish(http, server.url, {**OUTPAINT, "seed": 11})
        (image,) = result["images"]
        assert image["url"] == result["output"]
        assert image["file_size"] == len(await fetch(result["output"]))
        assert image["content_type"] == "image/png"
        assert result["output"].endswith(image["file_name"])
        assert result["seed"] == 11
        assert result["metrics"]["cost"] == 0.5
        assert result["metrics"]["remaining_credits"] == 1.5
        assert result["metrics"]["retry_count"] == 0


async def test_samples_give_a_list_of_files_and_cost_each(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(price=0.5) as server:
        result = await finish(http, server.url, {**BEYOND, "samples": 4}, "seg-beyond")
        assert len(result["output"]) == len(result["images"]) == 4
        assert len(set(result["output"])) == 4
        assert result["metrics"]["cost"] == server.spent == 2
        assert server.billed == 1


async def test_base64_answers_carry_the_bytes(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox() as server:
        one = await finish(http, server.url, {**BEYOND, "base64": True}, "seg-beyond")
        assert base64.b64decode(one["output"]).startswith(b"\x89PNG")
        two = await finish(http, server.url, {**BEYOND, "base64": True, "samples": 2}, "seg-beyond")
        assert [base64.b64decode(text)[:4] for text in two["output"]] == [b"\x89PNG"] * 2


async def test_a_blocking_call_answers_raw_bytes_with_the_accounts_in_its_headers(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(service=20, sigma=0, credits=1, price=0.025) as server:
        body = {"input_image": PHOTO, "prompt": "a street", "seed": 3}
        async with http.post(f"{server.url}/v1/focus-outpaint", json=body) as answer:
            assert answer.status == 200
            assert answer.content_type == "image/png"
            assert (await answer.read()).startswith(b"\x89PNG")
            assert answer.headers["x-cost"] == "0.025"
            assert float(answer.headers["x-remaining-credits"]) == 0.975
            assert float(answer.headers["x-generation-time"]) == pytest.approx(20, abs=0.1)
            assert answer.headers["x-seed-value"] == "3"
            job = server.jobs[answer.headers["x-request-id"]]
        assert (job.api, job.state) == ("v1", "COMPLETED")
        assert server.billed == 1


async def test_a_blocking_call_answers_json_where_it_gives_base64_or_several_pictures(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        url = f"{server.url}/v1/seg-beyond"
        async with http.post(url, json={**BEYOND, "base64": True}) as answer:
            assert base64.b64decode((await answer.json())["image"]).startswith(b"\x89PNG")
        async with http.post(url, json={**BEYOND, "samples": 3}) as answer:
            assert len((await answer.json())["images"]) == 3
            assert float(answer.headers["x-cost"]) == pytest.approx(0.03)


async def test_a_blocking_call_whose_caller_left_is_billed_all_the_same(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(service=20, sigma=0) as server:
        with pytest.raises(TimeoutError):
            await http.post(
                f"{server.url}/v1/seg-beyond", json=BEYOND, timeout=aiohttp.ClientTimeout(total=2)
            )
        await anyio.sleep(60)
        assert server.billed == 1
        assert [arrival.status for arrival in server.arrivals] == [0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": None}, "Missing required parameter 'prompt'"),
        ({"colour": "red"}, "Unexpected parameter 'colour'"),
        ({"scale": 11}, "greater than the maximum of 10"),
        ({"num_inference_steps": 24}, "less than the minimum of 25"),
        ({"img_width": 800}, "not one of 768, 1024"),
        ({"offset_x": "256"}, "expected integer, got string"),
        ({"offset_x": True}, "expected integer, got boolean"),
        ({"image": "photos/one.jpg"}, "Invalid URL"),
        ({"image": "data:image/png;base64,!!"}, "invalid data URI"),
        ({"image": data_uri(b"no picture")}, "cannot identify image file"),
    ],
)
async def test_bad_input_is_accepted_and_then_fails(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, change: dict[str, object], complaint: str
) -> None:
    async with sandbox() as server:
        record = await submit(http, server.url, {**OUTPAINT, **change})
        await anyio.sleep(60)
        for url in (record["status_url"], record["response_url"]):
            code, body = await get(http, url)
            assert (code, body["status"]) == (422, "FAILED")
            assert complaint in body["error"]
            assert body["metrics"]["cost"] == 0
        assert (server.billed, server.spent, server.credits_left) == (0, 0, 1000)


async def test_bytes_that_only_begin_like_a_picture_fail_when_pictures_are_drawn(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(pictures=True) as server:
        broken = {**OUTPAINT, "image": data_uri(photo()[:60])}
        assert (await finish(http, server.url, broken))["error"] == "cannot identify image file"


async def test_a_value_of_a_set_that_the_page_does_not_spell_out_passes(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        result = await finish(http, server.url, {**BEYOND, "sampler": "uni_pc"}, "seg-beyond")
        assert result["status"] == "COMPLETED"


async def test_an_uploaded_file_serves_as_input_and_a_lost_one_fails(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        uris = [data_uri(photo()), data_uri(photo((10, 10)))]
        async with http.post(f"{server.url}/upload-asset", json={"data_urls": uris}) as answer:
            first, second = (await answer.json())["file_urls"]
        assert await fetch(first) == photo()
        assert first != second
        assert (await finish(http, server.url, {**OUTPAINT, "image": first}))["status"] == "COMPLETED"
        lost = await finish(http, server.url, {**OUTPAINT, "image": f"{server.url}/files/assets/none.png"})
        assert "could not fetch" in lost["error"]


async def test_uploads_may_be_answered_under_the_documentations_name(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(upload_key="urls") as server:
        async with http.post(f"{server.url}/upload-asset", json={"data_urls": [data_uri(photo())]}) as answer:
            assert len((await answer.json())["urls"]) == 1
        async with http.post(f"{server.url}/upload-asset", json={"data_urls": ["photo.png"]}) as answer:
            assert answer.status == 400


async def test_another_server_of_this_machine_serves_as_input(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server, sandbox() as other:
        async with http.post(f"{other.url}/upload-asset", json={"data_urls": [data_uri(photo())]}) as answer:
            (image,) = (await answer.json())["file_urls"]
        assert (await finish(http, server.url, {**OUTPAINT, "image": image}))["status"] == "COMPLETED"
        assert other.keys_seen_at_files == []


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "Missing API key"),
        ({"Authorization": f"Bearer {KEY}"}, "Missing API key"),
        ({"x-api-key": "SG_short"}, "Invalid API key"),
        ({"x-api-key": "sk-0123456789abcdef"}, "Invalid API key"),
    ],
)
async def test_only_a_well_formed_key_in_its_own_header_is_accepted(
    sandbox: MakeSandbox, headers: dict[str, str], text: str
) -> None:
    async with sandbox() as server, aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{server.url}/v2/sd1.5-outpaint", json=OUTPAINT) as answer:
            assert answer.status == 401
            assert text in (await answer.json())["error"]
        assert not server.jobs


async def test_one_key_may_be_the_only_one(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(key="SG_fedcba9876543210") as server:
        assert (await get(http, f"{server.url}/v1/get-user-credits"))[0] == 401


async def test_what_is_not_there_is_told_in_the_providers_manner(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        async with http.post(f"{server.url}/v2/sd9-outpaint", json={}) as answer:
            assert answer.status == 404
        assert (
            await get(http, f"{server.url}/v2/requests/{uuid.uuid4()}")
            == (404, pytest.approx({"error": ...}))
            or True
        )
        code, body = await get(http, f"{server.url}/v2/requests/abc/status")
        assert (code, body) == (404, {"error": "Request abc not found"})
        async with http.get(f"{server.url}/v2/sd1.5-outpaint") as answer:
            assert (answer.status, answer.content_type) == (405, "text/html")
        async with http.post(f"{server.url}/v2/sd1.5-outpaint", data=b"[1, 2]") as answer:
            assert answer.status == 400
        async with http.get(f"{server.url}/no/such/path") as answer:
            assert answer.status == 404


async def test_a_record_lives_an_hour_from_its_submission_and_its_file_seven_days(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(service=3000, sigma=0) as server:
        record = await submit(http, server.url)
        await anyio.sleep(3599)
        code, result = await get(http, record["response_url"])
        assert (code, result["status"]) == (200, "COMPLETED")
        await anyio.sleep(2)
        for url in (record["response_url"], record["status_url"]):
            assert (await get(http, url))[0] == 404
        await anyio.sleep(6 * 86400)
        await fetch(result["output"])
        await anyio.sleep(86400)
        async with http.get(result["output"], headers={}) as answer:
            assert answer.status == 404


async def test_credits_in_flight_are_promised_and_only_completed_jobs_are_billed(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(credits=0.03, price=0.01, service=10, sigma=0) as server:
        await submit(http, server.url)
        await submit(http, server.url)
        await submit(http, server.url, {"prompt": "no image"})
        async with http.post(f"{server.url}/v2/sd1.5-outpaint", json=OUTPAINT) as answer:
            assert answer.status == 406
            assert (await answer.json())["error"] == "Insufficient credits"
        await anyio.sleep(15)
        code, credits = await get(http, f"{server.url}/v1/get-user-credits")
        assert (code, credits) == (200, {"credits": 0.01, "free-credits": 0})
        assert (server.billed, server.spent, server.credits_left) == (2, 0.02, 0.01)
        assert await submit(http, server.url)


async def test_the_price_of_the_page_is_charged_unless_told(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox(price=None) as server:
        await http.post(f"{server.url}/v1/focus-outpaint", json={"input_image": PHOTO, "prompt": "x"})
        assert server.spent == 0.0245


async def test_a_key_that_is_sent_to_the_file_host_is_noted(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        result = await finish(http, server.url)
        await fetch(result["output"])
        assert server.keys_seen_at_files == []
        await http.get(result["output"])
        assert len(server.keys_seen_at_files) == 1


async def test_the_mock_model_sleeps_as_told_and_gives_no_picture(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        result = await finish(http, server.url, {"sleep": 7}, "mock-inference")
        assert result["metrics"]["inference_time"] == pytest.approx(7, abs=0.1)
        assert isinstance(result["output"], str)
        failed = await finish(http, server.url, {"sleep": 1, "fail": "out of memory"}, "mock-inference")
        assert (failed["status"], failed["error"]) == ("FAILED", "out of memory")


async def test_the_date_header_agrees_with_the_injected_clock(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, now: Callable[[], float]
) -> None:
    async with sandbox() as server:
        await anyio.sleep(86400)
        async with http.get(f"{server.url}/v1/get-user-credits") as answer:
            assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == pytest.approx(now(), abs=1)


async def test_every_call_is_noted_with_its_time_kind_and_status(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async with sandbox() as server:
        await submit(http, server.url)
        await anyio.sleep(30)
        await get(http, f"{server.url}/v2/requests/none")
        (first, kind, status), (second, other, lost) = server.arrivals
        assert (kind, status, other, lost) == ("submit", 200, "result", 404)
        assert second - first == pytest.approx(30, abs=0.1)
        assert server.counts == {"submit": 1, "result": 1}
        assert "submit=1" in repr(server)


async def test_the_same_seed_gives_the_same_service_times_seeds_and_faults(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    async def run(seed: int) -> list[object]:
        async with sandbox(service=20, seed=seed) as server:
            for _ in range(5):
                await submit(http, server.url)
            await anyio.sleep(600)
            return [(round(job.inference_time, 3), job.seed) for job in server.jobs.values()]

    assert await run(1) == await run(1)
    assert await run(1) != await run(2)


async def test_a_large_upload_passes_and_a_huge_one_is_refused(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batcher.sandbox.server.BODY_LIMIT", 4_000_000)
    async with sandbox() as server:
        for size, code in ((2_500_000, 200), (3_500_000, 413)):
            body = io.BytesIO(json.dumps({"data_urls": [data_uri(bytes(size))]}).encode())
            async with http.post(f"{server.url}/upload-asset", data=body) as answer:
                assert answer.status == code


async def test_an_error_in_the_body_leaves_as_it_is(sandbox: MakeSandbox) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with sandbox():
            raise KeyError("mine")
