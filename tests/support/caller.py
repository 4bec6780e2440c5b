"""A plain caller of the sandbox: no client of ours, so that nothing of ours is judged by itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import aiohttp
import anyio

KEY = "SG_0123456789abcdef"
PHOTO = "https://segmind.com/image5.png"
OUTPAINT = {"image": PHOTO, "prompt": "streets in italy"}


async def submit(
    http: aiohttp.ClientSession, url: str, body: Any = OUTPAINT, model: str = "sd1.5-outpaint"
) -> Any:
    async with http.post(f"{url}/v2/{model}", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with http.get(url) as answer:
        return answer.status, await answer.json()


async def finish(
    http: aiohttp.ClientSession, url: str, body: Any = OUTPAINT, model: str = "sd1.5-outpaint"
) -> Any:
    """Submit, wait until it has ended, and return the result."""
    record = await submit(http, url, body, model)
    for _ in range(10_000):
        _, status = await get(http, record["status_url"])
        if status["status"] in ("COMPLETED", "FAILED"):
            _, result = await get(http, record["response_url"])
            return result
        await anyio.sleep(1)
    raise AssertionError("it never ended")


async def fetch(url: str) -> bytes:
    """A file, without any key."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.read()


def photo(size: tuple[int, int] = (240, 160), form: str = "PNG") -> bytes:
    """A picture whose four quarters have colours of their own."""
    from PIL import Image

    image = Image.new("RGB", size, (200, 40, 40))
    half = (size[0] // 2, size[1] // 2)
    image.paste((40, 200, 40), (half[0], 0, size[0], half[1]))
    image.paste((40, 40, 200), (0, half[1], half[0], size[1]))
    image.paste((200, 200, 40), (half[0], half[1], *size))
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def data_uri(data: bytes, content_type: str = "image/png") -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"
