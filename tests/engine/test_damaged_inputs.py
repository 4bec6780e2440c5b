"""Pictures that cannot be used are left out before anything is paid for them, each told by its name."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from batcher.engine.uploads import check_whole
from batcher.errors import BadDownload
from batcher.job.manifest import Manifest
from batcher.ledger import plan_caches
from batcher.ledger.plan_caches import DigestCache
from tests.support.bookkeeping import a_ledger
from tests.support.harness import Harness
from tests.support.pictures import noisy_picture
from tests.support.sandboxes import MakeSandbox


def job(harness: Harness, photos: Path) -> Manifest:
    return harness.manifest(
        inputs=[{"images": str(photos)}],
        params={"image": "{{ image }}", "prompt": "a street"},
        output={"name": "{{ stem }}"},
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three whole pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"whole-{number}.png").write_bytes(noisy_picture(size=(9, 9 + number)))
    return folder


def half(form: str, **options: int) -> bytes:
    data = io.BytesIO()
    Image.effect_noise((320, 240), 80).convert("RGB").save(data, form, **options)
    return data.getvalue()[: len(data.getvalue()) // 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("half.jpg", half("JPEG")),
        ("half.jpg", half("JPEG", progressive=True)),
        ("half.jpg", half("JPEG") + b"\xff\xd9"),
        ("half.png", half("PNG")),
        ("half.gif", half("GIF")),
        ("half.webp", half("WEBP")),
    ],
)
async def test_half_a_picture_is_left_out_and_not_paid_for(
    harness: Harness, sandbox: MakeSandbox, photos: Path, name: str, content: bytes
) -> None:
    (photos / name).write_bytes(content)
    async with sandbox() as server:
        report = await harness.run(server, job(harness, photos))
        assert (report.exit_code, report.counts["done"], report.left_out, server.billed) == (3, 3, 1, 3)
        (line,) = harness.lines("errors.jsonl")
        assert str(photos / name) in str(line)


async def test_a_picture_without_permission_is_left_out_until_it_may_be_read(
    harness: Harness, sandbox: MakeSandbox, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: str, mode: str) -> IO[bytes]:
        if path.endswith("whole-1.png"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return Path(path).open("rb")

    async with sandbox() as server:
        manifest = job(harness, photos)
        with monkeypatch.context() as patched:
            patched.setattr(plan_caches, "open", opened, raising=False)
            report = await harness.run(server, manifest)
        assert (report.exit_code, report.counts["done"], report.left_out) == (3, 2, 1)
        assert "Permission denied" in str(harness.lines("errors.jsonl"))
        report = await harness.run(server, manifest)
        assert (report.exit_code, report.counts["done"], report.left_out) == (0, 3, 0)


async def test_a_link_that_leads_to_itself_is_left_out(
    harness: Harness, sandbox: MakeSandbox, photos: Path
) -> None:
    (photos / "loop.png").symlink_to("loop.png")
    (photos / "loops").symlink_to("loops")
    async with sandbox() as server:
        report = await harness.run(server, job(harness, photos))
        assert (report.exit_code, report.counts["done"], report.left_out) == (3, 3, 1)
        assert str(photos / "loop.png") in str(harness.lines("errors.jsonl"))


async def test_half_a_picture_that_was_written_to_a_moment_ago_waits_for_the_next_run(
    tmp_path: Path, now: Callable[[], float]
) -> None:
    path = tmp_path / "inbox.jpg"
    path.write_bytes(half("JPEG"))
    with a_ledger(tmp_path / "ledger.sqlite", now=now) as ledger:
        os.utime(path, (now() - 1, now() - 1))
        young = DigestCache(ledger.connection, check_whole, now=now)
        with pytest.raises(BadDownload, match="waits for the next run"):
            young.of(str(path))
        assert not young.settled
        os.utime(path, (now() - 60, now() - 60))
        old = DigestCache(ledger.connection, check_whole, now=now)
        with pytest.raises(BadDownload, match="damaged"):
            old.of(str(path))
        assert old.settled


async def test_a_whole_picture_is_decoded_once_whoever_looks_ahead(tmp_path: Path) -> None:
    decoded: list[int] = []

    def counting(file: object, size: int) -> None:
        decoded.append(size)

    paths = [str(tmp_path / f"{number}.png") for number in range(100)]
    for path in paths:
        Path(path).write_bytes(noisy_picture())
    with a_ledger(tmp_path / "ledger.sqlite", now=lambda: 0.0) as ledger:
        for _ in range(2):
            cache = DigestCache(ledger.connection, counting)
            ahead = cache.read_ahead([*paths, str(tmp_path / "gone.png")], lambda path: [path])
            assert len({cache.of(path) for path in ahead if path in paths}) == 1
    assert len(decoded) == 100
