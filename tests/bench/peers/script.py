"""What a user would write in an afternoon: gather, a semaphore, a status call every second, ten tries.

No ledger: what it knows dies with it. With `honest` it does to a picture what whoever cares for it would do:
decode it, hash it, and have it on disk before it has its name.
`python -m tests.bench.peers.script URL TASKS IN_FLIGHT FOLDER [honest]`
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

TRIES = 10
PAUSE = 1.0


async def call(session: aiohttp.ClientSession, method: str, url: str, **more: Any) -> Any:
    for _ in range(TRIES):
        async with session.request(method, url, **more) as response:
            if response.status == 429 or response.status >= 500:
                await asyncio.sleep(PAUSE)
                continue
            response.raise_for_status()
            return await response.json()
    raise RuntimeError(f"gave up on {url}")


async def one(
    session: aiohttp.ClientSession,
    files: aiohttp.ClientSession,
    url: str,
    number: int,
    folder: Path,
    save: Callable[[Path, bytes], str],
) -> None:
    body = {"image": "https://photos.example/one.png", "prompt": f"picture {number}"}
    accepted = await call(session, "POST", f"{url}/v2/sd1.5-outpaint", json=body)
    while (await call(session, "GET", accepted["status_url"]))["status"] != "COMPLETED":
        await asyncio.sleep(PAUSE)
    result = await call(session, "GET", accepted["response_url"])
    async with files.get(result["output"]) as response:
        response.raise_for_status()
        data = await response.read()
    if save is honest:
        await asyncio.to_thread(save, folder / f"{number}.png", data)
    else:
        save(folder / f"{number}.png", data)


def plain(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return ""


def honest(path: Path, data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return hashlib.sha256(data).hexdigest()


async def main(url: str, tasks: int, in_flight: int, folder: Path, save: Callable[[Path, bytes], str]) -> int:
    room = asyncio.Semaphore(in_flight)
    failed = 0

    async def guarded(number: int) -> None:
        nonlocal failed
        async with room:
            try:
                await one(session, files, url, number, folder, save)
            except Exception as error:
                failed += 1
                print(f"{number}: {error}", file=sys.stderr)

    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, headers={"x-api-key": "SG_0123456789abcdef"}) as session,
        aiohttp.ClientSession() as files,
    ):
        await asyncio.gather(*(guarded(number) for number in range(tasks)))
    return failed


if __name__ == "__main__":
    target, tasks, in_flight, out, *how = sys.argv[1:]
    saving = honest if how == ["honest"] else plain
    sys.exit(3 if asyncio.run(main(target, int(tasks), int(in_flight), Path(out), saving)) else 0)
