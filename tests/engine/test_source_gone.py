"""A source that goes away in mid-run: the machine's fault stops the run, one file's fault is its task's."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batcher import errors
from batcher.engine import uploads as uploads_module
from batcher.job.manifest import Manifest
from batcher.progress import Event, Message, Snapshot
from batcher.sandbox import Sandbox
from batcher.storage.source_errors import machine_error
from tests.support.harness import Harness
from tests.support.pictures import noisy_picture
from tests.support.sandboxes import MakeSandbox

TASKS = 30


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of pictures, each of another content."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(TASKS):
        (folder / f"{number:02}.png").write_bytes(noisy_picture(size=(9, 9 + number)))
    return folder


def job(harness: Harness, photos: Path) -> Manifest:
    return harness.manifest(
        inputs=[{"images": str(photos)}],
        params={"image": "{{ image }}", "prompt": "a street"},
        output={"name": "{{ stem }}"},
        limits={"in_flight": 2},
    )


def when_some_are_done(deed: Callable[[], Any]) -> Callable[[Event], None]:
    """A listener that does something once, after the first pictures."""
    left = [deed]

    def listen(event: Event) -> None:
        if left and isinstance(event, Snapshot) and event.images >= 3:
            left.pop()()

    return listen


async def goes_on(harness: Harness, server: Sandbox, manifest: Manifest) -> None:
    report = await harness.run(server, manifest)
    harness.check(report)
    assert (report.exit_code, report.counts["done"], server.billed) == (0, TASKS, TASKS)


async def test_a_folder_that_is_unmounted_stops_the_run_and_the_same_command_goes_on(
    harness: Harness, sandbox: MakeSandbox, photos: Path
) -> None:
    away = photos.with_name("away")
    async with sandbox(service=5) as server:
        manifest = job(harness, photos)
        report = await harness.run(server, manifest, when_some_are_done(lambda: photos.rename(away)))
        harness.check(report)
        assert report.exit_code == 5
        assert report.counts["failed"] == 0
        assert report.counts["planned"] > TASKS // 2
        assert str(photos) in report.causes[0]
        away.rename(photos)
        await goes_on(harness, server, manifest)


async def test_an_empty_mount_point_is_a_folder_that_is_gone(
    harness: Harness, sandbox: MakeSandbox, photos: Path
) -> None:
    away = photos.with_name("away")

    def unmount() -> None:
        photos.rename(away)
        photos.mkdir()

    async with sandbox(service=5) as server:
        manifest = job(harness, photos)
        report = await harness.run(server, manifest, when_some_are_done(unmount))
        assert (report.exit_code, report.counts["failed"]) == (5, 0)
        photos.rmdir()
        away.rename(photos)
        await goes_on(harness, server, manifest)


async def test_one_file_that_is_missing_among_others_fails_its_own_task(
    harness: Harness, sandbox: MakeSandbox, photos: Path
) -> None:
    async with sandbox(service=5) as server:
        lost = photos / f"{TASKS - 1:02}.png"
        report = await harness.run(server, job(harness, photos), when_some_are_done(lost.unlink))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (3, TASKS - 1, 1)


async def test_without_file_descriptors_the_run_stops_and_says_what_to_do(
    harness: Harness, sandbox: MakeSandbox, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []

    def exhausted(path: str, mode: str) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    async with sandbox(service=5) as server:
        manifest = job(harness, photos)
        with monkeypatch.context() as patched:
            patched.setattr(uploads_module, "open", exhausted, raising=False)
            report = await harness.run(server, manifest, told.append)
        assert (report.exit_code, report.counts["planned"]) == (5, TASKS)
        assert "Too many open files" in report.causes[0]
        assert "ulimit -n" in str(told)
        await goes_on(harness, server, manifest)


async def test_a_picture_that_changes_after_it_was_planned_waits_for_the_next_run(
    harness: Harness, sandbox: MakeSandbox, photos: Path
) -> None:
    told: list[str] = []
    last = photos / f"{TASKS - 1:02}.png"
    change = when_some_are_done(lambda: last.write_bytes(noisy_picture(size=(20, 20))))

    def listen(event: Event) -> None:
        change(event)
        if isinstance(event, Message):
            told.append(event.text)

    async with sandbox(service=5) as server:
        manifest = job(harness, photos)
        report = await harness.run(server, manifest, listen)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.counts["planned"]) == (3, TASKS - 1, 1)
        assert report.counts["failed"] == 0
        assert any(str(last) in text and "waits for the next run" in text for text in told)
        report = await harness.run(server, manifest)
        assert (report.exit_code, server.billed) == (0, TASKS)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES, errno.ELOOP, errno.EIO, errno.EISDIR])
def test_beside_others_that_can_be_read_a_file_is_to_blame_itself(photos: Path, code: int) -> None:
    assert machine_error(str(photos / "gone.png"), OSError(code, os.strerror(code))) is None


@pytest.mark.parametrize("code", [errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.EHOSTDOWN])
def test_what_a_mount_or_the_system_answers_whatever_file_it_is_asked_for_is_not_the_files_fault(
    photos: Path, code: int
) -> None:
    error = machine_error(str(photos / "00.png"), OSError(code, os.strerror(code)))
    assert isinstance(error, errors.DiskError)
    assert error.exit_code == 5
    assert error.remedy


def test_a_file_whose_folder_was_replaced_by_a_file_has_lost_its_folder(photos: Path) -> None:
    error = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    assert isinstance(machine_error(str(photos / "00.png" / "b.png"), error), errors.SourceGone)
