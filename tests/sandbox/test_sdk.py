"""The official SDK, unchanged, against the sandbox, which has a thread and a real clock: the SDK blocks."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import httpx
import pytest
from PIL import Image
from segmind import InferenceFailed, InferenceTimeout, SegmindClient
from segmind.exceptions import SegmindError

from batcher.sandbox import Faults, Options, Sandbox, faults
from tests.support.caller import KEY, OUTPAINT, PHOTO, photo

FAST = 0.05


@contextmanager
def serving(**options: Any) -> Iterator[Sandbox]:
    """A sandbox in a thread of its own, in real time."""
    up, down = threading.Event(), threading.Event()
    servers: list[Sandbox] = []

    async def serve() -> None:
        async with Sandbox(Options(**{"service": FAST, **options})) as server:
            servers.append(server)
            up.set()
            while not down.is_set():
                await anyio.sleep(0.01)

    thread = threading.Thread(target=anyio.run, args=(serve,))
    thread.start()
    try:
        assert up.wait(30)
        yield servers[0]
    finally:
        down.set()
        thread.join()


@contextmanager
def client(url: str, key: str = KEY) -> Iterator[SegmindClient]:
    sdk = SegmindClient(api_key=key, base_url=url)
    sdk._client.event_hooks["request"] = [_to(url)]
    try:
        yield sdk
    finally:
        sdk._client.close()


def _to(url: str) -> Callable[[httpx.Request], None]:
    """Leads the provider's other hosts, which stand fast in the SDK, to the sandbox."""
    home = httpx.URL(url)

    def lead(request: httpx.Request) -> None:
        if request.url.host.endswith(".segmind.com"):
            request.url = request.url.copy_with(scheme=home.scheme, host=home.host, port=home.port)
            request.headers["Host"] = home.netloc.decode()

    return lead


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with serving() as server:
        yield server


@pytest.fixture(params=["", "/v1"])
def sdk(request: pytest.FixtureRequest, server: Sandbox) -> Iterator[SegmindClient]:
    with client(server.url + request.param) as sdk:
        yield sdk


def test_run_gives_a_result_whose_picture_can_be_had(sdk: SegmindClient) -> None:
    result = sdk.run("sd1.5-outpaint", **OUTPAINT, img_width=768, img_height=768, seed=5)
    assert result["status"] == "COMPLETED"
    assert result["metrics"]["inference_time"] >= 0
    assert result["seed"] == 5


def test_submit_then_wait_gives_the_same(sdk: SegmindClient) -> None:
    job = sdk.submit_async("sd1.5-outpaint", **OUTPAINT)
    assert job.status()["request_id"] == job.request_id
    assert job.wait(timeout=30, interval=0.02)["status"] == "COMPLETED"


def test_a_failed_job_raises_with_the_providers_text(sdk: SegmindClient) -> None:
    job = sdk.submit_async("sd1.5-outpaint", prompt="no image")
    with pytest.raises(InferenceFailed) as failure:
        job.wait(timeout=30, interval=0.02)
    assert failure.value.detail == "Missing required parameter 'image'"
    assert failure.value.status_body["status"] == "FAILED"
    assert job.result()["status"] == "FAILED"


def test_a_job_that_takes_too_long_raises_a_timeout(sdk: SegmindClient) -> None:
    job = sdk.submit_async("mock-inference", sleep=600)
    with pytest.raises(InferenceTimeout) as timeout:
        job.wait(timeout=0.05, interval=0.01)
    assert timeout.value.request_id == job.request_id


def test_the_mock_model_answers(sdk: SegmindClient) -> None:
    result = sdk.submit_async("mock-inference", sleep=0).wait(timeout=30, interval=0.02)
    assert set(result) >= {"status", "output", "metrics", "partial", "reasoning"}


def test_run_sync_answers_bytes_or_base64(sdk: SegmindClient) -> None:
    body = {"input_image": PHOTO, "prompt": "a man in a street", "aspect_ratios": "704*1408"}
    answer = sdk.run_sync("focus-outpaint", **body)
    assert Image.open(io.BytesIO(answer.content)).size == (704, 1408)
    assert float(answer.headers["x-cost"]) == 0.0245
    text = sdk.run_sync("focus-outpaint", **body, base64=True).json()["image"]
    assert Image.open(io.BytesIO(base64.b64decode(text))).format == "PNG"


def test_an_unknown_model_and_a_bad_key_raise(sdk: SegmindClient, server: Sandbox) -> None:
    with pytest.raises(SegmindError) as missing:
        sdk.run("no-such-model")
    assert missing.value.status == 404
    with client(server.url, key="wrong") as stranger, pytest.raises(SegmindError) as refused:
        stranger.run("sd1.5-outpaint", **OUTPAINT)
    assert (refused.value.status, refused.value.detail) == (401, "Invalid API key")


def test_files_are_uploaded_and_used(sdk: SegmindClient, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(photo())
    (url,) = sdk.files.upload(path)["file_urls"]
    result = sdk.submit_async("sd1.5-img2img", image=url, prompt="x").wait(timeout=30, interval=0.02)
    assert result["status"] == "COMPLETED"


def test_history_lists_and_gets_requests(sdk: SegmindClient) -> None:
    job = sdk.submit_async("mock-inference", sleep=0)
    job.wait(timeout=30, interval=0.02)
    rows = sdk.generations.history(per_page=5, model_name="mock", status="COMPLETED")["data"]
    assert rows[0]["request_id"] == job.request_id
    assert rows[0]["request_body"] == {"sleep": 0}
    assert sdk.generations.get(job.request_id)["model_status"] == "COMPLETED"
    with pytest.raises(SegmindError) as missing:
        sdk.generations.get("9b2d0f0a-0000-4000-8000-000000000000")
    assert missing.value.status == 404


def test_a_teammates_request_is_listed_and_not_to_be_had(sdk: SegmindClient, server: Sandbox) -> None:
    with client(server.url, key=KEY.replace("0", "f")) as teammate:
        job = teammate.submit_async("mock-inference", sleep=0)
        job.wait(timeout=30, interval=0.02)
    rows = sdk.generations.history(model_name="mock")["data"]
    assert job.request_id in {row["request_id"] for row in rows}
    with pytest.raises(SegmindError, match="not found"):
        sdk.generations.get(job.request_id)


def test_outputs_and_models_are_listed(sdk: SegmindClient) -> None:
    result = sdk.run("sd1.5-outpaint", **OUTPAINT)
    listed = sdk.generations.list(model_name="sd1.5-outpaint")["generations"]
    recent = sdk.generations.recent("sd1.5-outpaint")["generations"]
    assert listed[0]["request_id"] == recent[0]["request_id"] == result["request_id"]
    assert listed[0]["generation_url"] == result["output"]
    (models,) = sdk.models.list().values()
    assert "sd1.5-outpaint" in {model["slug"] for model in models}


def test_a_throttle_reaches_the_sdk_as_429() -> None:
    script = Faults([faults.Throttle(route="submit", calls=[1])])
    with serving(faults=script) as server, client(server.url) as sdk, pytest.raises(SegmindError) as refused:
        sdk.run("mock-inference", sleep=0)
    assert refused.value.status == 429
