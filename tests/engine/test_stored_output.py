"""output.dir in an object store: pictures and records go there, the ledger stays; the rules are the same."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from anyio.from_thread import start_blocking_portal
from PIL import Image

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.cli import ended
from batcher.engine import load, repair
from batcher.job.manifest import Manifest
from batcher.results import report
from batcher.results.export import ExportOptions, export
from batcher.results.verify import FindingKind, check_output
from batcher.sandbox import Options, Sandbox
from batcher.sandbox.faults import Route
from batcher.storage import destination, layout
from batcher.storage.destination.stored import Stored
from batcher.storage.stores import object_writer
from tests.support.buckets import Bucket
from tests.support.crashing import Crash
from tests.support.harness import KEY, Harness
from tests.support.live_page import live_page, server_sent_events
from tests.support.sandboxes import MakeSandbox
from tests.support.shelf import FORMS


def keys(bucket: Bucket) -> list[str]:
    """Everything in the bucket."""
    found = bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", [])
    return sorted(one["Key"] for one in found)


def content(bucket: Bucket, key: str) -> bytes:
    return bytes(bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read())


def lines(bucket: Bucket, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(bucket, key).splitlines()]


class Stall:
    """A harness whose pictures go to a bucket; the ledger stays in out/job."""

    def __init__(self, harness: Harness, bucket: Bucket) -> None:
        self.harness = harness
        self.bucket = bucket
        harness.output = harness.folder / "out" / "job"

    def manifest(self, tasks: int = 4, **changes: Any) -> Manifest:
        where = f"{self.bucket}/streets"
        return self.harness.manifest(tasks, **{"output": {"dir": where}, **changes})


@pytest.fixture
def stall(harness: Harness, bucket: Bucket) -> Stall:
    return Stall(harness, bucket)


RECORDS = ["errors.jsonl", "metadata.jsonl", "report.html", "report.json"]
PICTURES = [f"streets/images/place {n}.png" for n in range(4)]


async def test_pictures_and_records_go_to_the_bucket_and_the_ledger_stays(
    stall: Stall, sandbox: MakeSandbox
) -> None:
    async with sandbox() as server:
        told = await stall.harness.run(server, stall.manifest())
        assert (told.exit_code, server.billed) == (0, 4)
        assert keys(stall.bucket) == sorted([*(f"streets/{name}" for name in RECORDS), *PICTURES])
        assert [one["file_name"] for one in lines(stall.bucket, "streets/metadata.jsonl")] == [
            f"images/place {n}.png" for n in range(4)
        ]
        head = stall.bucket.client.head_object(Bucket=stall.bucket.name, Key="streets/report.html")
        assert head["ContentType"] == "text/html"
        left = sorted(path.name for path in stall.harness.output.iterdir())
        assert left == [".batcher"]
        again = await stall.harness.run(server, stall.manifest(6))
        assert (again.counts["done"], server.billed) == (6, 6)
    found = await check_output(stall.harness.output)
    assert (found.checked, found.findings) == (6, ())


async def test_the_reports_page_shows_what_lies_beside_it_in_the_bucket(
    stall: Stall, sandbox: MakeSandbox
) -> None:
    async with sandbox(pictures=True) as server:
        await stall.harness.run(server, stall.manifest(1))
    page = report.page.write_page(report.of_folder(stall.harness.output, now=stall.harness.now()))
    assert page == f"{stall.bucket}/streets/report.html"
    text = content(stall.bucket, "streets/report.html").decode()
    assert "images/place%200.jpg" in text
    (thumbs,) = re.findall(r'"thumbs":(\{"[0-9a-f]{64}":"[^"]+"\})', text)
    assert len(json.loads(thumbs)) == 1
    here = stall.harness.folder / "page.html"
    assert report.page.write_page(report.of_folder(stall.harness.output, now=0), here) == here
    assert f"{stall.bucket}/streets/images/place%200.jpg" in here.read_text()


@pytest.mark.parametrize("point", ["before the put", "after the put", "the answer is lost"])
async def test_a_crash_around_the_put_leaves_one_picture(
    stall: Stall, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    create, struck = object_writer.create, []

    def crashing(source: Path, address: str) -> None:
        if "place 2" not in address or struck:
            create(source, address)
            return
        struck.append(address)
        if point != "before the put":
            create(source, address)
        if point == "the answer is lost":
            raise FileExistsError(address)
        raise Crash

    monkeypatch.setattr(object_writer, "create", crashing)
    async with sandbox() as server:
        if point == "the answer is lost":
            await stall.harness.run(server, stall.manifest())
        else:
            with pytest.raises(BaseExceptionGroup):
                await stall.harness.run(server, stall.manifest())
            await stall.harness.run(server, stall.manifest())
        assert server.billed == 4
    assert struck
    assert [key for key in keys(stall.bucket) if "/images/" in key] == PICTURES
    assert stall.harness.states() == {"done": 4}
    assert (await check_output(stall.harness.output)).findings == ()


async def test_anothers_object_is_never_overwritten(stall: Stall, sandbox: MakeSandbox) -> None:
    stall.bucket.put("streets/images/place 1.png", b"somebody's")
    async with sandbox() as server:
        told = await stall.harness.run(server, stall.manifest())
    assert told.counts["done"] == 4
    assert content(stall.bucket, "streets/images/place 1.png") == b"somebody's"
    names = [name for (name,) in stall.harness.rows("SELECT name FROM files ORDER BY task")]
    assert re.fullmatch(r"place 1-[0-9a-f]{8}\.png", names[1])
    assert f"streets/images/{names[1]}" in keys(stall.bucket)


async def test_a_store_that_goes_down_in_mid_run_costs_nothing_and_the_next_run_goes_on(
    stall: Stall, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, down = object_writer.create, [True]

    def refusing(source: Path, address: str) -> None:
        if down and "place 3" in address:
            raise OSError(5, "Could not connect to the endpoint", address)
        create(source, address)

    monkeypatch.setattr(object_writer, "create", refusing)
    async with sandbox() as server:
        told = await stall.harness.run(server, stall.manifest())
        assert (told.exit_code, told.counts["done"], told.counts["ready"]) == (5, 3, 1)
        (missed,) = lines(stall.bucket, "streets/errors.jsonl")
        assert (missed["name"], missed["state"]) == ("place 3", "ready")
        down.clear()
        # What was fetched waits here: the file host may have it no more.
        told = await stall.harness.run(server, stall.manifest())
        assert (told.exit_code, told.counts["done"], server.billed) == (0, 4, 4)
        assert server.counts[Route.DOWNLOAD] == 4
    assert [key for key in keys(stall.bucket) if "/images/" in key] == PICTURES
    assert not list((stall.harness.output / ".batcher" / "spool").iterdir())


async def test_records_that_cannot_be_written_at_the_end_are_told_with_the_reason(
    stall: Stall, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = object_writer.put

    def refusing(source: Path, address: str) -> None:
        if "metadata" in address:
            raise OSError(5, "Could not connect to the endpoint", address)
        put(source, address)

    monkeypatch.setattr(object_writer, "put", refusing)
    async with sandbox() as server:
        told = await stall.harness.run(server, stall.manifest())
    assert (told.exit_code, told.counts["done"]) == (5, 4)
    assert f"{stall.bucket}/streets/metadata.jsonl: Could not connect" in " ".join(told.causes)


async def test_a_bucket_that_is_not_there_or_refuses_is_told_before_anything_is_paid(
    stall: Stall, sandbox: MakeSandbox
) -> None:
    async with sandbox() as server:
        with pytest.raises(errors.DiskError, match=r"s3://no-such-bucket-here/x.*there is no such bucket"):
            await stall.harness.run(server, stall.manifest(output={"dir": "s3://no-such-bucket-here/x"}))
        assert server.billed == 0


async def test_pictures_do_not_change_their_place_in_silence(stall: Stall, sandbox: MakeSandbox) -> None:
    async with sandbox() as server:
        await stall.harness.run(server, stall.manifest())
        with pytest.raises(errors.OtherDestination, match=r"leave output\.dir as it was"):
            await stall.harness.run(server, stall.manifest(output={"dir": f"{stall.bucket}/elsewhere"}))
        assert not [key for key in keys(stall.bucket) if key.startswith("elsewhere")]


async def test_verify_finds_what_is_missing_or_damaged_and_a_repair_puts_it_back(
    stall: Stall, sandbox: MakeSandbox
) -> None:
    async with sandbox() as server:
        manifest = stall.manifest()
        await stall.harness.run(server, manifest)
        before = content(stall.bucket, PICTURES[1])
        stall.bucket.client.delete_object(Bucket=stall.bucket.name, Key=PICTURES[0])
        stall.bucket.put(PICTURES[1], before[:40])
        stall.bucket.put("streets/images/stranger.png", b"mine")
        found = await check_output(stall.harness.output)
        assert [(finding.kind.value, finding.path) for finding in found.findings] == [
            ("missing", "images/place 0.png"),
            ("wrong", "images/place 1.png"),
            ("leftover", "images/stranger.png"),
        ]
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        mended = await repair(
            stall.harness.output, manifest, warn=print, account=account, now=stall.harness.now
        )
        assert (mended.exit_code, mended.fetched, mended.set_aside, server.billed) == (0, 2, 2, 4)
    assert content(stall.bucket, PICTURES[1]) == before
    assert [key for key in keys(stall.bucket) if "/images/" in key] == PICTURES
    aside = stall.harness.output / ".batcher" / "aside"
    assert (aside / "stranger.png").read_bytes() == b"mine"
    assert (await check_output(stall.harness.output)).of(*FindingKind) == []


async def test_what_lies_in_a_bucket_is_exported_like_any_other(
    stall: Stall, sandbox: MakeSandbox, tmp_path: Path
) -> None:
    async with sandbox() as server:
        rows = [{"place": f"place {n}", "boxes": []} for n in range(4)]
        await stall.harness.run(server, stall.manifest(inputs=[{"rows": rows}]))
    stall.bucket.client.delete_object(Bucket=stall.bucket.name, Key=PICTURES[0])
    for form in FORMS:
        told = await asyncio.to_thread(
            export, stall.harness.output, ExportOptions(to=form, into=tmp_path / form)
        )
        assert (told.pictures, len(told.missing)) == (3, 1)
        assert told.missing[0].startswith(f"{stall.bucket}/{PICTURES[0]}: there is no such object")
    written = tmp_path / "imagefolder" / "train" / "images" / "place 1.png"
    assert written.read_bytes() == content(stall.bucket, PICTURES[1])


# --- as commands


@pytest.fixture
def served(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stall]:
    """A sandbox in a thread, and its address and key in the environment."""
    with start_blocking_portal() as portal:
        server = Sandbox(Options(pictures=False, service=0.02))
        with portal.wrap_async_context_manager(server):
            monkeypatch.setenv("SEGMIND_BASE_URL", server.url)
            monkeypatch.setenv("SEGMIND_API_KEY", KEY)
            yield stall


def test_every_command_knows_the_job_by_its_manifest_and_by_its_folder(
    served: Stall, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served.manifest()
    folder = str(served.harness.output)
    job = str(served.harness.folder / "job.yaml")
    assert ended(["run", job, "-q"]) == 0
    capsys.readouterr()
    for known_as in (job, folder):
        assert ended(["status", known_as, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["counts"]["done"] == 4
        served.bucket.client.delete_object(Bucket=served.bucket.name, Key=PICTURES[2])
        assert ended(["verify", known_as]) == 3
        assert ended(["verify", known_as, "--repair"]) == 0
        assert PICTURES[2] in keys(served.bucket)
        assert ended(["report", known_as]) == 0
        assert f"{served.bucket}/streets/report.html" in capsys.readouterr().out
        into = tmp_path / f"set-{len(known_as)}"
        assert ended(["export", known_as, "--to", "imagefolder", "-o", str(into)]) == 0
        assert len(list((into / "train" / "images").iterdir())) == 4
        capsys.readouterr()


def test_the_sandbox_writes_beside_the_real_thing(
    served: Stall, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served.manifest(1)
    assert ended(["run", str(served.harness.folder / "job.yaml"), "--sandbox", "-q"]) == 0
    assert "streets-sandbox/images/place 0.jpg" in keys(served.bucket)
    assert not [key for key in keys(served.bucket) if key.startswith("streets/")]
    assert (served.harness.folder / "out" / "job-sandbox" / ".batcher").is_dir()


def test_a_missing_extra_is_one_sentence_and_exit_code_2(
    served: Stall, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from batcher.storage.stores import objects

    served.manifest()

    def missing(scheme: str) -> Any:
        raise objects.MissingExtra(objects._install(scheme))

    monkeypatch.setattr(objects, "_filesystem", missing)
    for command in (["run", "-q"], ["plan"], ["validate"]):
        assert ended([*command, str(served.harness.folder / "job.yaml")]) == 2
        assert "s3:// needs the extra `s3`: pip install 'batcher[s3]'" in capsys.readouterr().err
    assert not served.harness.output.exists()


def test_an_output_option_that_names_a_store_is_told_what_to_do(
    stall: Stall, capsys: pytest.CaptureFixture[str]
) -> None:
    stall.manifest()
    assert ended(["run", str(stall.harness.folder / "job.yaml"), "-o", "s3://b/x"]) == 2
    assert "--set output.dir=s3://b/x" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("store", "beside"),
    [("s3://b/p", "s3://b/p-sandbox"), ("s3://b", "s3://b/sandbox"), (None, None)],
)
def test_a_sandbox_never_leaves_the_bucket(store: str | None, beside: str | None) -> None:
    assert layout.store_of(store) == store
    assert layout.store_of(store, sandbox=True) == beside


def test_a_destination_is_made_anew_from_its_address(bucket: Bucket, tmp_path: Path) -> None:
    where = destination.open_destination(f"{bucket}/x/", tmp_path)
    assert isinstance(where, Stored)
    where.replace("report.json", ["{}"])
    again = destination.open_destination(where.where, tmp_path)
    with again.open("report.json") as file:
        assert file.read() == b"{}"
    assert list(again.pictures()) == []
    assert not again.contains("images/a.png", "0" * 64)


# --- sources in a bucket


def wider(stall: Stall, inputs: list[dict[str, Any]]) -> Manifest:
    """A job of a model that says where the source lies in its output."""
    job = {
        "name": "job",
        "model": "seg-beyond",
        "inputs": inputs,
        "params": {"input_image": "{{ image }}", "prompt": "wider", "left": 16},
        "output": {"dir": f"{stall.bucket}/streets", "name": "wide"},
        "limits": {"rpm": 6000},
    }
    path = stall.harness.folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return load(path)


async def test_labels_of_stored_sources_are_carried_and_their_originals_leave_too(
    stall: Stall, sandbox: MakeSandbox, tmp_path: Path
) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(photo, "PNG")
    mask = io.BytesIO()
    Image.new("L", (64, 48), 7).save(mask, "PNG")
    stall.bucket.put("in/a.png", photo.getvalue())
    stall.bucket.put("in/a.txt", "3 0.5 0.5 0.5 0.5\n")
    stall.bucket.put("masks/a.png", mask.getvalue())
    manifest = wider(
        stall,
        inputs=[
            {
                "images": f"{stall.bucket}/in/*.png",
                "companions": {
                    "labels": f"{stall.bucket}/in/{{{{ stem }}}}.txt",
                    "mask": f"{stall.bucket}/masks/{{{{ stem }}}}.png",
                },
            }
        ],
    )
    async with sandbox(pictures=True) as server:
        await stall.harness.run(server, manifest)
    (line,) = lines(stall.bucket, "streets/metadata.jsonl")
    assert line["placement"] == {"x": 16, "y": 0, "width": 64, "height": 48}
    assert line["boxes"] == [[32.0, 12.0, 32.0, 24.0]]
    assert (line["box_classes"], line["source_boxes"]) == ([3], [[16.0, 12.0, 32.0, 24.0]])
    told = await asyncio.to_thread(
        export, stall.harness.output, ExportOptions(to="imagefolder", into=tmp_path / "set", originals=True)
    )
    assert (told.pictures, told.originals, told.masks, told.missing) == (1, 1, 2, ())
    (original,) = (tmp_path / "set" / "train" / "originals").iterdir()
    assert original.read_bytes() == photo.getvalue()
    records = [
        json.loads(text) for text in (tmp_path / "set" / "train" / "metadata.jsonl").read_text().splitlines()
    ]
    (of_original,) = [one for one in records if one["is_original"]]
    assert of_original["sha256"] == hashlib.sha256(photo.getvalue()).hexdigest()
    assert of_original["boxes"] == [[16.0, 12.0, 32.0, 24.0]]


async def test_labels_that_cannot_be_read_from_a_bucket_are_left_out_with_bucket_and_key(
    stall: Stall, sandbox: MakeSandbox
) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(photo, "PNG")
    rows = []
    for name in ("good", "bad"):
        stall.bucket.put(f"in/{name}.png", photo.getvalue())
        rows.append({"image": f"{stall.bucket}/in/{name}.png", "labels": f"{name}.txt"})
    stall.bucket.put("in/good.txt", "3 0.5 0.5 0.5 0.5\n")
    manifest = wider(
        stall,
        inputs=[{"rows": rows}],
    )
    async with sandbox(pictures=True) as server:
        told = await stall.harness.run(server, manifest)
    assert (told.exit_code, told.counts["done"], told.left_out) == (3, 1, 1)
    (line,) = lines(stall.bucket, "streets/errors.jsonl")
    assert line["state"] == "left_out"
    assert f"{stall.bucket}/in/bad.txt: there is no such object" in line["reason"]


async def test_the_live_page_shows_what_lies_in_the_bucket(stall: Stall, sandbox: MakeSandbox) -> None:
    async with sandbox(pictures=True) as server:
        await stall.harness.run(server, stall.manifest(1))
    ((name, digest),) = stall.harness.rows("SELECT name, sha256 FROM files")
    async with (
        live_page(stall.harness.output, stall.harness.now) as address,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(f"{address}events") as response:
            async for kind, _ in server_sent_events(response):
                if kind == "pictures":
                    break
        async with client.get(f"{address}full/{digest}") as answer:
            assert await answer.read() == content(stall.bucket, f"streets/images/{name}")
            assert answer.headers["Content-Type"] == "image/jpeg"
        async with client.get(f"{address}thumb/{digest}") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")
        stall.bucket.client.delete_object(Bucket=stall.bucket.name, Key=f"streets/images/{name}")
        async with client.get(f"{address}full/{digest}") as answer:
            assert answer.status == 404
