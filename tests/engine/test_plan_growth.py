"""A folder that has grown is planned by what is new in it: the ledger is as a plan of all leaves it."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
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
from tests.support.manifests import parse
from tests.support.sandboxes import MakeSandbox

NOW = 1_700_000_000.0
COLOURS = ("red", "green", "blue", "black", "white", "grey")
PLAIN = 'image: "{{ image }}", prompt: x'


@cache
def png(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(data, "PNG")
    return data.getvalue()


class Job:
    """A job in a folder with pictures. Each of its ledgers is planned when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clock = 1_600_000_000
        (folder / "photos").mkdir()
        (folder / "masks").mkdir()
        (folder / "t.csv").write_text("place\nitaly\njapan\n")

    def put(self, name: str, colour: str = "red") -> Path:
        """A picture of that colour, `broken`: of no colour; each is younger than the last."""
        path = self.folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"junk" if colour == "broken" else png(colour))
        self._clock += 1
        os.utime(path, (self._clock, self._clock))
        return path

    @contextmanager
    def ledger(self, name: str = "one") -> Iterator[Ledger]:
        path = self.folder / name / "ledger.sqlite"
        path.parent.mkdir(exist_ok=True)
        with closing(Ledger(path, now=lambda: NOW)) as ledger:
            yield ledger

    def plan(
        self,
        name: str = "one",
        *,
        anew: bool = False,
        inputs: str = "{images: photos}",
        params: str = PLAIN,
        more: str = "",
        check: Callable[[sqlite3.Connection, int], None] = lambda connection, number: None,
        statements: list[str] | None = None,
    ) -> tuple[Any, list[str]]:
        """What planning gave (the problems where it was refused), and what it told; `anew`: everything,
        whatever is known of the last plan."""
        text = f"model: sd1.5-outpaint\ninputs: {inputs}\nparams: {{{params}}}\n{more}\n"
        told: list[str] = []
        with self.ledger(name) as ledger:
            if anew:
                layout.planned_files_path(ledger.path).unlink(missing_ok=True)
            if statements is not None:
                ledger.connection.set_trace_callback(statements.append)
            try:
                manifest = parse(text, "job.yaml", self.folder)
                found: Any = planning.plan_into(
                    ledger, manifest, warn=told.append, progress=lambda n: None, check=check
                )
            except errors.ManifestError as error:
                found = [str(problem) for problem in error.problems]
            ledger.connection.set_trace_callback(None)
        return found, told

    def number(self, name: str = "one") -> int:
        """Of the present plan; it stays where only something new has joined it."""
        with self.ledger(name) as ledger:
            return ledger.plan_number

    def grows(self, **job: Any) -> bool:
        """Plans once more; whether what is new has joined the plan as it was."""
        before = self.number()
        found, _ = self.plan(**job)
        assert isinstance(found, planning.PlanResult)
        return self.number() == before

    def image(self, name: str) -> dict[str, list[Any]]:
        """All of a ledger that a plan writes, but for the plan's number."""
        with self.ledger(name) as ledger:
            number = ledger.plan_number
            rows: dict[str, list[Any]] = {
                table: ledger.connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                for table in ("left_out", "passed_over", "digests", "submissions")
            }
            columns = "id, key, name, name_key, plan = ?, images, repeat, params, columns, media, state"
            rows["tasks"] = ledger.connection.execute(
                f"SELECT {columns} FROM tasks ORDER BY id", (number,)
            ).fetchall()
            rows["meta"] = ledger.connection.execute(
                "SELECT * FROM meta WHERE key NOT IN ('plan', 'planned_files') ORDER BY key"
            ).fetchall()
            rows["counts"] = sorted(ledger.counts.items())
        return rows

    def pay(self, ledgers: Sequence[str], place: int, state: str) -> None:
        """Something became of a task of each of these ledgers."""
        for name in ledgers:
            with self.ledger(name) as ledger:
                connection = ledger.connection
                found = connection.execute(
                    "SELECT id FROM tasks WHERE state = 'planned' ORDER BY id LIMIT 1 OFFSET ?", (place,)
                ).fetchone()
                if found is None:
                    continue
                if state == "failed":
                    connection.execute(
                        "UPDATE tasks SET state = 'failed', reason = 'x: y' WHERE id = ?", found
                    )
                    continue
                run = connection.execute("INSERT INTO runs (started_at) VALUES (1) RETURNING id").fetchone()
                submission = connection.execute(
                    "INSERT INTO submissions (task, run, attempt, api, submitted_at, images) "
                    "VALUES (?, ?, 1, 'v2', 1, 1) RETURNING id",
                    (*found, *run),
                ).fetchone()
                connection.execute(
                    "UPDATE tasks SET state = 'submitting', submission = ? WHERE id = ?",
                    (*submission, *found),
                )
                connection.execute("UPDATE tasks SET state = 'doubtful' WHERE id = ?", found)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    for number, colour in enumerate(COLOURS[:3], 1):
        job.put(f"p{number}.png", colour)
    return job


# --- the same ledger, whichever way

NAMED = 'output: {name: "{{ stem }}-{{ place }}"}'
JOBS: tuple[dict[str, str], ...] = (
    {},
    {"params": 'image: "{{ image }}", prompt: "{{ stem }}"'},
    {"inputs": '{images: "photos/**/*.png"}', "params": 'image: "{{ image }}", prompt: "in {{ folder }}."'},
    {"inputs": "{images: [photos/sub, photos]}"},
    {"more": "seed: 7", "params": 'image: "{{ image }}", prompt: x, seed: "{{ seed }}"'},
    {"more": "seed: 7\nrepeat: 2", "params": "prompt: \"{{ choice('a', 'b') }}\", image: \"{{ image }}\""},
    {"more": "matrix: {season: [winter, summer]}", "params": 'image: "{{ image }}", prompt: "{{ season }}"'},
    {"params": 'image: "https://host.example/a.png", prompt: "{{ stem }}"'},
    {
        "inputs": "[{images: photos}, {table: t.csv}]",
        "params": 'image: "{{ image }}", prompt: "{{ place }}"',
        "more": NAMED,
    },
    {
        "inputs": "[{rows: [{place: italy}, {place: japan}]}, {images: photos}]",
        "params": 'image: "{{ image }}", prompt: "{{ place }}"',
        "more": NAMED,
    },
    {"inputs": "{images: photos, filter: \"{{ stem != 'b' }}\"}"},
    {"inputs": "{images: photos, filter: '{{ width > 4 }}', empty: allow}"},
    {"inputs": "{images: photos, order: [-stem]}"},
    {"inputs": "{images: photos, limit: 3}"},
    {"inputs": "{images: photos, sample: 3}"},
    {"inputs": "{images: photos, only: new}"},
    {"inputs": '{images: photos, companions: {mask: "masks/{{ stem }}.png"}, missing: skip}'},
    {"params": 'image: "photos/{{ folder }}/{{ name }}", prompt: x'},
    {"more": 'output: {name: "{{ stem }}"}'},
    {"more": 'output: {name: "{{ stem[:1] }}"}'},
)
MANY_COLOURS = tuple(f"#{n:06x}" for n in range(0, 0xFFFFFF, 0xABCDE))
NAMES = (
    *(f"{n}.png" for n in range(0, 40, 3)),
    "a.png",
    "b.png",
    "c.jpg",
    "a2.png",
    "a10.png",
    "sub/a.png",
    "sub/d.png",
    "B.png",
    "é.png",
    "plain",
)

changes = st.one_of(
    *[st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from(MANY_COLOURS))] * 6,
    st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from((*COLOURS, "broken"))),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just("")),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("file"), st.sampled_from(("notes.txt", "film.mp4", "thing")), st.just("")),
    st.tuples(st.just("pay"), st.sampled_from(("failed", "doubtful")), st.sampled_from("0123")),
)


def apply(job: Job, what: str, name: str, more: str) -> None:
    path = job.folder / "photos" / name
    if what == "put":
        job.put(name, more)
    elif what == "remove":
        path.unlink(missing_ok=True)
    elif what == "move" and path.exists():
        (job.folder / "photos" / more).parent.mkdir(exist_ok=True)
        path.rename(job.folder / "photos" / more)
    elif what == "file":
        path.write_bytes(b"\0\1\2")
    elif what == "pay":
        job.pay(("one", "two"), int(more), name)


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
        ["1 task is identical to an earlier one (first: p92)"],
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
