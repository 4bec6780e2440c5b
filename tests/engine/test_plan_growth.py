"""A folder that has grown is planned by what is new in it: the ledger is as a plan of all leaves it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from batcher import errors
from batcher.engine import planning
from batcher.ledger.ledger import Ledger
from batcher.sandbox import Faults, faults
from batcher.storage import layout
from tests.support.harness import Harness
from tests.support.photo_jobs import COLOURS, JOBS, MANY_COLOURS, NAMED, NOW, PLAIN, Job, apply, changes, png
from tests.support.sandboxes import MakeSandbox


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    for number, colour in enumerate(COLOURS[:3], 1):
        job.put(f"p{number}.png", colour)
    return job


# --- the same ledger, whichever way


@settings(max_examples=40)
@given(
    chosen=st.sampled_from(JOBS),
    steps=st.lists(st.lists(changes, min_size=1, max_size=3), min_size=2, max_size=5),
)
def test_a_folder_planned_again_and_again_gives_the_same_ledger_either_way(
    chosen: dict[str, Any], steps: list[list[tuple[str, str, str]]]
) -> None:
    async def planned_twice(folder: Path) -> None:
        job = Job(folder)
        job.put("m.png", "red")
        job.put("sub/m2.png", "grey")
        for step in ([], *steps):
            for change in step:
                apply(job, *change)
            found, told = job.plan("one", **chosen)
            found_anew, told_anew = job.plan("two", anew=True, **chosen)
            assert (found, sorted(told)) == (found_anew, sorted(told_anew))
            assert job.image("one") == job.image("two")

    folder = Path(tempfile.mkdtemp(prefix="growth-"))
    try:
        asyncio.run(planned_twice(folder))
    finally:
        shutil.rmtree(folder)


# --- what joins the plan as it is, and what does not


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"inputs": "{images: [photos/p1.png, 'photos/*']}"},
        {"inputs": "{images: photos/**}", "more": "seed: 7", "params": f'{PLAIN}, seed: "{{{{ seed }}}}"'},
        {
            "inputs": "[{table: t.csv}, {images: photos}]",
            "params": 'image: "{{ image }}", prompt: "{{ place }}"',
            "more": NAMED,
        },
        {"inputs": '{images: photos, filter: "{{ width > 4 }}"}'},
        {
            "more": "matrix: {season: [winter, summer]}",
            "params": 'image: "{{ image }}", prompt: "{{ season }}"',
        },
    ],
)
async def test_new_pictures_join_the_plan_wherever_they_stand(job: Job, chosen: dict[str, Any]) -> None:
    (first, _) = job.plan(**chosen)
    colours = iter(MANY_COLOURS[1:])
    for names in (["p9.png", "p91.png"], ["a.png", "p2b.png", "p0.png"]):
        for name in names:
            job.put(name, next(colours))
        assert job.grows(**chosen)
        assert job.plan(**chosen) == (None, [])
    job.plan("two", anew=True, **chosen)
    with job.ledger() as one, job.ledger("two") as two:
        query = "SELECT key, name, params, columns FROM tasks ORDER BY key"
        assert [*one.connection.execute(query)] == [*two.connection.execute(query)]
        assert sum(one.counts.values()) == 8 * first.total / 3


async def test_pictures_that_are_known_cost_no_statement(job: Job) -> None:
    async def statements(known: int) -> int:
        name = f"of-{known}"
        for number in range(known):
            job.put(f"{name}/{number}.png", MANY_COLOURS[number % 24])
        inputs = {
            "inputs": f"{{images: photos/{name}}}",
            "params": 'image: "https://h.example/a.png", prompt: "{{ stem }}"',
        }
        job.plan(name, **inputs)  # type: ignore[arg-type]
        job.put(f"{name}/new.png", "red")
        found: list[str] = []
        grown, _ = job.plan(name, statements=found, **inputs)  # type: ignore[arg-type]
        assert (grown.total, grown.new) == (known + 1, 1)
        return len(found)

    assert await statements(3) == await statements(40)


@pytest.mark.parametrize(
    "chosen",
    [
        {"inputs": "{images: photos, order: [-stem]}"},
        {"inputs": "{images: photos, limit: 9}"},
        {"inputs": "{images: photos, sample: 9}"},
        {"inputs": "{images: photos, only: new}"},
        {"inputs": '{images: photos, companions: {mask: "photos/{{ stem }}.png"}}'},
        {
            "inputs": "[{images: photos}, {rows: [{n: 1}, {n: 2}, {n: 3}, {n: 4}], limit: 3}]",
            "more": "combine: zip",
        },
        {"params": 'image: "photos/{{ name }}", prompt: x'},
    ],
)
async def test_where_pictures_hang_on_one_another_all_are_planned(job: Job, chosen: dict[str, Any]) -> None:
    job.plan(**chosen)
    job.put("p4.png", "black")
    before = job.number()
    found, _ = job.plan(**chosen)
    if "zip" in str(chosen):
        assert "zip needs sources of one length" in found[0]
    else:
        assert (found.total, job.number()) == (4, before + 1)


@pytest.mark.parametrize("what", ["changed", "gone", "renamed", "younger", "alike", "table"])
async def test_what_is_more_than_a_new_picture_is_seen(job: Job, what: str) -> None:
    chosen = {
        "inputs": "[{images: photos}, {table: t.csv}]",
        "params": 'image: "{{ image }}", prompt: "{{ place }}"',
        "more": NAMED,
    }
    job.plan(**chosen)  # type: ignore[arg-type]
    job.put("p4.png", "black")
    first = job.folder / "photos/p1.png"
    if what == "changed":
        job.put("p1.png", "white")
    elif what == "gone":
        first.unlink()
    elif what == "renamed":
        first.rename(first.with_name("p5.png"))
    elif what == "younger":
        os.utime(first, (NOW, NOW))
    elif what == "alike":
        job.put("p0.png", "red")
    else:
        (job.folder / "t.csv").write_text("place\nitaly\nnorway\n")
    assert not job.grows(**chosen)
    job.plan("two", anew=True, **chosen)  # type: ignore[arg-type]
    with job.ledger() as one, job.ledger("two") as two:
        query = "SELECT key FROM tasks WHERE plan = ? ORDER BY key"
        plans = [[*each.connection.execute(query, (each.plan_number,))] for each in (one, two)]
    assert plans[0] == plans[1]


async def test_of_equal_pictures_the_first_keeps_its_key_though_it_came_last(job: Job) -> None:
    job.plan()
    job.put("p0.png", "red")
    assert not job.grows()
    (job.folder / "photos/p0.png").unlink()
    job.put("p7.png", "black")
    job.put("p8.png", "black")
    job.plan()
    (job.folder / "photos/p8.png").unlink()
    job.plan()
    job.put("p91.png", "white")
    job.put("p92.png", "white")
    before = job.number()
    found, told = job.plan()
    assert (job.number(), found.total, told) == (
        before,
        6,
        ["1 task is identical to an earlier one (first: p92); each is paid for"],
    )


async def test_a_picture_that_cannot_be_read_is_left_out_among_known_ones(job: Job) -> None:
    job.plan()
    job.put("p4.png", "black")
    job.put("p5.png", "broken")
    assert job.grows()
    job.put("p6.png", "white")
    assert job.grows(), "it stays left out"
    with job.ledger() as ledger:
        assert ledger.connection.execute("SELECT count(*) FROM left_out").fetchone() == (1,)
        assert sum(ledger.counts.values()) == 5
    job.put("p4b.png", "broken")
    job.put("p7.png", "#123456")
    assert not job.grows(), "which one is named first, only a look at all of them tells"


async def test_what_was_told_of_known_files_is_told_again(job: Job) -> None:
    (job.folder / "photos/film.mp4").write_bytes(b"")
    _, first = job.plan()
    job.put("p4.png", "black")
    before = job.number()
    assert (job.plan()[1], job.number()) == (first, before)
    assert "1 file is no picture and is passed by" in first[0]
    (job.folder / "photos/other.mp4").write_bytes(b"")
    job.put("p5.png", "white")
    assert "2 files are no pictures and are passed by" in job.plan()[1][0]


async def test_a_picture_without_a_suffix_is_looked_into(job: Job) -> None:
    job.plan()
    (job.folder / "photos/readable").write_bytes(png("black"))
    (job.folder / "photos/data").write_bytes(b"\0")
    found, told = job.plan()
    assert found.total == 4
    assert "without a suffix" in told[0]
    job.put("p4.png", "white")
    assert "without a suffix" in job.plan()[1][0]


async def test_replacements_of_rejected_pictures_stay_as_a_plan_of_everything_leaves_them(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    for number in range(3):
        Image.new("RGB", (64, 64), COLOURS[number]).save(harness.folder / f"{number}.png")
    manifest = harness.manifest(
        inputs=[{"images": "*.png"}],
        params={"image": "{{ image }}", "prompt": "x", "seed": "{{ seed }}"},
        output={"name": "{{ stem }}"},
        seed=42,
        checks={"blank": "reject"},
        redo=2,
    )
    black = Faults([faults.BlackPicture(calls=[1, 2])])
    async with sandbox(service=2, pictures=True, faults=black) as server:
        await harness.run(server, manifest, limit=2)
        waiting = "SELECT count(*) FROM tasks WHERE redo > 0 AND state = 'planned'"
        assert harness.states()["rejected"] > 0
        assert harness.rows(waiting) != [(0,)]
        Image.new("RGB", (64, 64), "grey").save(harness.folder / "3.png")
        whole = harness.folder / "whole"
        shutil.copytree(harness.output, whole)
        layout.planned_files_path(layout.ledger_path(whole)).unlink()
        images = []
        for output, number in ((harness.output, 1), (whole, 2)):
            with closing(Ledger(layout.ledger_path(output), now=harness.now)) as ledger:
                found = planning.plan_into(
                    ledger, manifest, warn=print, progress=lambda n: None, check=lambda c, n: None
                )
                assert ledger.plan_number == number
                columns = "key, name, plan = ?, params, state, redo, replaces, root, redo_wanted"
                query = f"SELECT {columns} FROM tasks ORDER BY id"
                rows = ledger.connection.execute(query, (ledger.plan_number,)).fetchall()
                images.append((found, rows, ledger.counts))
        assert images[0] == images[1]
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 4)


# --- crashes


async def test_a_listing_whose_plan_was_rolled_back_is_not_believed(job: Job) -> None:
    job.plan()
    state = job.folder / "one"
    kept = {path.name: path.read_bytes() for path in state.iterdir() if "ledger" in path.name}
    job.put("p4.png", "black")
    assert job.grows()
    for name, data in kept.items():
        (state / name).write_bytes(data)
    assert not job.grows(), "the file knows of a picture that the ledger does not"
    with job.ledger() as ledger:
        assert sum(ledger.counts.values()) == 4


async def test_a_refused_plan_leaves_the_ledger_and_its_listing_as_they_are(job: Job) -> None:
    job.plan()
    listing = layout.planned_files_path(job.folder / "one" / "ledger.sqlite")
    before, image = listing.read_bytes(), job.image("one")
    job.put("p4.png", "black")

    def refuse(connection: sqlite3.Connection, number: int) -> None:
        assert connection.execute("SELECT count(*) FROM tasks WHERE plan = ?", (number,)).fetchone() == (4,)
        raise errors.PaidElsewhere("paid elsewhere")

    with pytest.raises(errors.PaidElsewhere):
        job.plan(check=refuse)
    assert listing.read_bytes() == before
    assert [path.name for path in listing.parent.iterdir() if path.suffix == ".new"] == []
    assert job.image("one") == image
    assert job.grows()


@pytest.mark.parametrize("damage", ["head", "tail", "short", "gone", "note"])
async def test_a_damaged_listing_is_not_believed(job: Job, damage: str) -> None:
    job.plan()
    listing = layout.planned_files_path(job.folder / "one" / "ledger.sqlite")
    data = listing.read_bytes()
    if damage == "head":
        listing.write_bytes(data.replace(b"p2.png", b"q2.png"))
    elif damage == "tail":
        listing.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "short":
        listing.write_bytes(data[:-8])
    elif damage == "gone":
        listing.unlink()
    else:
        with job.ledger() as ledger:
            ledger.connection.execute("UPDATE meta SET value = '[1]' WHERE key = 'planned_files'")
    job.put("p4.png", "black")
    assert not job.grows()
    job.put("p5.png", "white")
    assert job.grows(), "and the next one is whole again"


async def test_names_with_the_end_of_a_line_in_them_are_planned_as_ever(job: Job) -> None:
    job.put("two\nlines.png", "black")
    job.plan()
    job.put("p4.png", "white")
    assert not job.grows()
    (job.folder / "photos/two\nlines.png").unlink()
    job.plan()
    job.put("p5.png", "grey")
    assert job.grows()
