"""A job from Python: a mapping, rows from a table, pictures in memory; cancelled, and run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import batcher
from batcher import load, run, run_sync
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.errors import ManifestError
from batcher.job.manifest import Manifest
from batcher.progress import Event, Message, StateChanged
from batcher.sandbox import Sandbox
from batcher.task import State
from tests.support.harness import KEY
from tests.support.sandboxes import MakeSandbox

JOB: dict[str, Any] = {
    "model": "sd1.5-img2img",
    "params": {"image": "{{ image }}", "prompt": "{{ prompt }}"},
    "limits": {"rpm": "none"},
}
PLACES: dict[str, Any] = {
    **JOB,
    "params": {"image": "https://photos.example/one.png", "prompt": "{{ place }}"},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def account(server: Sandbox) -> Account:
    return Account(Endpoints(server.url, server.url, server.url), KEY)


def places(number: int, **changes: Any) -> Manifest:
    return load({**PLACES, **changes}, rows=({"place": f"place {n}"} for n in range(number)))


async def test_a_table_with_pictures_in_memory_is_run_and_each_content_is_written_once(
    sandbox: MakeSandbox, now: Callable[[], float], here: Path
) -> None:
    red, blue = (Image.new("RGB", (32, 24), colour) for colour in ("red", "blue"))
    frame = pd.DataFrame({"image": [red, blue, red], "prompt": ["a", "b", "c"], "label": [1, 2, None]})
    async with sandbox() as server:
        for _ in range(2):
            report = await run(load(JOB, rows=frame), account=account(server), output="o1", now=now)
            assert (report.exit_code, report.counts["done"]) == (0, 3)
        assert server.billed == 3
        assert server.counts["upload"] == 2
    inputs = here / "o1/.batcher/inputs"
    assert len(list(inputs.glob("*.png"))) == 2
    assert len(list(inputs.glob("*.jsonl"))) == 1
    lines = list(report.pictures())
    assert [line["label"] for line in lines] == [1, 2, None]
    assert all(isinstance(line["path"], Path) and line["path"].is_file() for line in lines)
    assert not any(str(here) in line["file_name"] for line in lines)
    table = report.to_pandas()
    assert list(table["prompt"]) == ["a", "b", "c"]
    assert set(table["path"]) == {str(line["path"]) for line in lines}


async def test_a_picture_is_sent_upright_and_without_loss(
    sandbox: MakeSandbox, now: Callable[[], float], here: Path
) -> None:
    image = Image.new("CMYK", (30, 20), (0, 255, 255, 0))
    exif = image.getexif()
    exif[274] = 6  # turned by a quarter
    image.save(here / "turned.jpg", exif=exif)
    with Image.open(here / "turned.jpg") as turned:
        job = load(JOB, rows=[{"image": turned, "prompt": "x"}])
        async with sandbox() as server:
            await run(job, account=account(server), now=now)
    (kept,) = (here / "out/job/.batcher/inputs").glob("*.png")
    with Image.open(kept) as written:
        assert (written.size, written.mode) == ((20, 30), "RGB")


async def test_pictures_without_names_are_told_apart_by_their_content_and_by_no_path(
    sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    colours = ("red", "blue", "red")
    job = load(
        {**JOB, "params": {"image": "{{ image }}", "prompt": "x"}},
        rows=[{"image": Image.new("RGB", (8, 8), colour)} for colour in colours],
    )
    async with sandbox() as server:
        report = await run(job, account=account(server), now=now)
    names = [line["file_name"].partition("/")[2] for line in report.pictures()]
    assert len(set(names)) == 3
    assert names[2].startswith(f"{names[0].partition('.')[0]}-2.")
    assert all(len(name) <= 14 for name in names)


async def test_paths_in_rows_start_from_the_current_folder(
    sandbox: MakeSandbox, now: Callable[[], float], here: Path
) -> None:
    (here / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(here / "photos/a.png")
    job = load(JOB, rows=[{"image": Path("photos/a.png"), "prompt": "x"}])
    async with sandbox() as server:
        report = await run(job, account=account(server), now=now)
    assert report.exit_code == 0


async def test_rows_go_beside_the_sources_of_a_file(here: Path) -> None:
    (here / "job.yaml").write_text(
        "model: sd1.5-img2img\ninputs: {rows: [{image: 'https://a.example/a.png'}]}\n"
        "params: {image: '{{ image }}', prompt: '{{ prompt }}'}\n"
    )
    job = load("job.yaml", rows=[{"prompt": "a"}, {"prompt": "b"}])
    assert [list(source.value) for source in job.inputs] == [
        [{"image": "https://a.example/a.png"}],
        [{"prompt": "a"}, {"prompt": "b"}],
    ]


async def test_two_jobs_run_side_by_side(sandbox: MakeSandbox, now: Callable[[], float]) -> None:
    async with sandbox() as server:
        reports = await asyncio.gather(
            *(run(places(5, name=name), account=account(server), now=now) for name in ("a", "b"))
        )
        assert server.billed == 10
    assert [(report.job, report.images) for report in reports] == [("a", 5), ("b", 5)]
    assert {line["place"] for line in reports[0].pictures()} == {f"place {n}" for n in range(5)}


async def test_a_run_that_is_cancelled_says_what_is_in_flight_and_the_next_pays_for_the_rest(
    sandbox: MakeSandbox, now: Callable[[], float]
) -> None:
    job, heard = places(20), list[Event]()
    submitted = asyncio.Event()

    def listen(event: Event) -> None:
        heard.append(event)
        if sum(isinstance(one, StateChanged) and one.target is State.SUBMITTED for one in heard) >= 4:
            submitted.set()

    async with sandbox(service=30.0) as server:
        running = asyncio.create_task(run(job, account=account(server), listener=listen, now=now))
        await submitted.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await running
        (note,) = cancelled.value.__notes__
        assert "running the job again goes on" in note
        assert "in flight and will be billed: go on within the hour" in note
        assert Message(note) in heard
        report = await run(job, account=account(server), now=now)
        assert (report.exit_code, report.counts["done"]) == (0, 20)
        assert server.billed <= 20 + report.cost["doubtful"] / 0.01 + 1


@pytest.mark.real_time
async def test_run_sync_works_inside_a_loop_that_runs() -> None:
    report = run_sync(places(2), sandbox=True)
    assert (report.exit_code, report.images, report.output.name) == (0, 2, "job-sandbox")


def test_run_sync_works_where_no_loop_runs() -> None:
    report = run_sync(places(2), sandbox=True, output="o1")
    assert (report.exit_code, report.output.name) == (0, "o1-sandbox")


def test_run_sync_raises_what_run_raises() -> None:
    with pytest.raises(ManifestError, match="has no rows"):
        run_sync(places(0), sandbox=True)


@pytest.mark.parametrize("job", ["job.yaml", {"model": "seg-beyond"}])
def test_what_load_has_not_seen_is_no_job(job: Any) -> None:
    with pytest.raises(TypeError, match="as `load` gives it"):
        run_sync(job, sandbox=True)


def test_a_report_shows_itself_and_foreign_text_is_text() -> None:
    report = run_sync(places(2, name="<b>bold", output={"dir": "out/x"}), sandbox=True)
    html = report._repr_html_()
    assert html.count("<img") == 2
    assert html.count("data:image/webp;base64,") == 2
    assert "<b>bold" not in html
    assert "&lt;b&gt;bold" in html
    assert "2 done" in html


def test_a_report_without_pictures_is_an_empty_table() -> None:
    nothing = {"rows": [{"place": "x"}], "filter": "{{ false }}", "empty": "allow"}
    report = run_sync(load({**PLACES, "inputs": nothing}), sandbox=True)
    assert report.to_pandas().empty


@pytest.mark.parametrize(
    ("mapping", "rows", "sentence"),
    [
        ({"limits": {"rpm": "x"}}, None, "the mapping: limits.rpm: must be a number, not the text 'x'"),
        ({"parms": {}}, None, "the mapping: parms: unknown key; did you mean `params`?"),
        ({"model": None}, None, "the mapping: model: "),
        ({"repeat": 0}, None, "the mapping: repeat: "),
        ({"seed": {1, 2}}, None, "the mapping: seed: {1, 2} is nothing that a job can hold"),
        ({"params": {"strength": 7}}, None, "params.strength: 7 is out of range; it takes 0.1 to 1"),
        ({"params": {1: 2}}, None, "the mapping: params: the key 1 is not text"),
        ({"inputs": {"rows": [{"a": float("inf")}]}}, None, "the mapping: inputs.rows.0.a: is infinite"),
        ({}, "abc", "the mapping: rows: must be a list of mappings or a DataFrame, not 'abc'"),
        ({}, [{"a": 1}, 2], "the mapping: rows.row 2: must be a mapping of columns, not 2"),
        ({}, [{"a": object}], "the mapping: rows.row 1.a: <class 'object'> is nothing that a job can hold"),
    ],
)
def test_a_mistake_names_its_key(mapping: dict[str, Any], rows: Any, sentence: str) -> None:
    with pytest.raises(ManifestError) as error:
        load({**PLACES, **mapping}, rows=rows)
    assert sentence in str(error.value)


def test_a_mapping_that_holds_itself_ends() -> None:
    endless: dict[str, Any] = {**PLACES}
    endless["params"] = endless
    with pytest.raises(ManifestError, match="nested too deeply"):
        load(endless)


async def test_a_picture_that_cannot_be_decoded_names_its_row(here: Path) -> None:
    Image.effect_noise((64, 64), 50).save(here / "whole.png")
    (here / "half.png").write_bytes((here / "whole.png").read_bytes()[:900])
    with Image.open(here / "half.png") as half:
        job = load(JOB, rows=[{"image": half, "prompt": "x"}])
        with pytest.raises(ManifestError, match="row 1, column `image`: the picture is damaged"):
            await run(job, sandbox=True)
    assert not (here / "out").exists()


def test_what_batcher_offers_is_seen() -> None:
    assert {"load", "run", "run_sync"} <= set(dir(batcher))
    assert all(getattr(batcher, name).__doc__ for name in batcher.__all__)
