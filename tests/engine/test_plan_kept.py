"""What `plan` has planned for a folder without a ledger its first run takes over: the ledger is as if it had
planned by itself, and where anything is in doubt it does."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher import errors
from batcher.engine import outlook, plan_copy, planning, uploads
from batcher.ledger import database, kept_plans
from batcher.ledger.kept_plans import KeptPlans
from batcher.ledger.ledger import Ledger
from batcher.shard import Shard
from batcher.storage import layout, user_state
from tests.support.harness import Harness
from tests.support.photo_jobs import COLOURS, JOBS, MANY_COLOURS, NOW, PLAIN, Job, apply, changes
from tests.support.sandboxes import MakeSandbox

PLANNED = "everything was planned"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    for number, colour in enumerate(COLOURS[:3], 1):
        job.put(f"p{number}.png", colour)
    return job


@pytest.fixture
def expansions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each time that a manifest is expanded."""
    found: list[str] = []
    expanded = planning.expanded

    def counted(*args: Any) -> Any:
        found.append(PLANNED)
        return expanded(*args)

    monkeypatch.setattr(planning, "expanded", counted)
    return found


def plans(**options: Any) -> KeptPlans:
    return KeptPlans(user_state.kept_plans(), lambda: NOW, **options)


def looked(job: Job, **options: Any) -> Any:
    """As `batcher plan` looks at a job whose output folder is not there."""
    chosen = {name: options.pop(name) for name in ("inputs", "params", "more") if name in options}
    now = options.pop("now", lambda: NOW)
    return outlook(job.manifest(**chosen), job.folder / "out", keep=True, now=now, **options)


def kept() -> list[Path]:
    folder = user_state.kept_plans()
    return sorted(folder.iterdir()) if folder.exists() else []


# --- the same ledger, whichever way


@settings(max_examples=40)
@given(
    chosen=st.sampled_from(JOBS), steps=st.lists(changes, max_size=4), meanwhile=st.lists(changes, max_size=1)
)
def test_a_plan_that_was_kept_gives_the_same_ledger(
    chosen: dict[str, Any], steps: list[tuple[str, str, str]], meanwhile: list[tuple[str, str, str]]
) -> None:
    async def planned_twice(folder: Path) -> None:
        job = Job(folder)
        job.put("m.png", "red")
        job.put("sub/m2.png", "grey")
        for change in steps:
            apply(job, *change)
        store = KeptPlans(folder / "kept", lambda: NOW, once=True)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(plan_copy, "KeptPlans", lambda *_: store)
            try:
                seen = looked(job, **chosen)
            except errors.ManifestError:
                seen = None
        before = (folder / "kept").exists() and [*(folder / "kept").iterdir()]
        for change in meanwhile:
            apply(job, *change)
        found, told = job.plan("one", kept_plans=store, **chosen)
        found_anew, told_anew = job.plan("two", anew=True, **chosen)
        assert (found, sorted(told)) == (found_anew, sorted(told_anew))
        assert job.image("one") == job.image("two")
        for beside in ("planned-files", "composed-files.jsonl"):
            files = [folder / name / beside for name in ("one", "two")]
            assert len({file.read_bytes() if file.exists() else None for file in files}) == 1
        if seen is not None and not meanwhile:
            assert not (folder / "kept").exists(), "it was taken over"
            assert before
            assert (seen.total, seen.new) == (found.total, found.new)
        # And what comes after it comes in the same way.
        job.put("zz.png", "#fedcba")
        found, told = job.plan("one", **chosen)
        found_anew, told_anew = job.plan("two", **chosen)
        assert (found, sorted(told)) == (found_anew, sorted(told_anew))
        assert job.image("one") == job.image("two")

    folder = Path(tempfile.mkdtemp(prefix="kept-"))
    try:
        asyncio.run(planned_twice(folder))
    finally:
        shutil.rmtree(folder)


async def test_a_run_after_a_plan_plans_nothing(
    harness: Harness, sandbox: MakeSandbox, expansions: list[str]
) -> None:
    manifest = harness.manifest(5)
    assert outlook(manifest, harness.output, keep=True, now=harness.now).new == 5
    assert expansions == [PLANNED]
    assert outlook(manifest, harness.output, keep=True, now=harness.now).new == 5
    assert not harness.output.exists()
    async with sandbox() as server:
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], len(server.jobs)) == (0, 5, 5)
        assert expansions == [PLANNED]
        assert harness.rows("SELECT value FROM meta WHERE key = 'origin'") == [(server.url,)]
        assert kept() == [], "it takes up no more room"
        again = await harness.run(server, manifest)
        assert (again.exit_code, len(server.jobs), expansions) == (0, 5, [PLANNED])


async def test_a_picture_that_plan_has_read_is_read_no_more(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, whole = list[str](), uploads.check_whole
    monkeypatch.setattr(
        uploads, "check_whole", lambda file, size: opened.append(file.name) or whole(file, size)
    )
    looked(job)
    assert len(opened) == 3
    found, _ = job.plan(kept_plans=plans())
    assert (found.total, len(opened)) == (3, 3)
    job.put("p4.png", "black")
    assert job.grows()
    assert len(opened) == 4


async def test_what_was_told_is_told_by_the_run_too(job: Job, expansions: list[str]) -> None:
    job.put("p4.png", "red")
    (job.folder / "photos/film.mp4").write_bytes(b"")
    seen = looked(job)
    assert sorted(seen.warnings) == sorted(looked(job).warnings)
    _, told = job.plan(kept_plans=plans())
    assert sorted(told) == sorted(seen.warnings)
    assert len(told) == 2
    assert expansions == [PLANNED]


# --- what has changed meanwhile, and what was asked otherwise


@pytest.mark.parametrize(
    "what", ["changed", "gone", "new", "table", "params", "name", "repeat", "strict", "version", "old"]
)
async def test_what_is_not_the_very_same_is_planned(
    job: Job, expansions: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    chosen: dict[str, Any] = {
        "inputs": "[{images: photos}, {table: t.csv}]",
        "params": 'image: "{{ image }}", prompt: "{{ place }}"',
        "more": 'output: {name: "{{ stem }}-{{ place }}"}',
    }
    looked(job, **chosen, strict=what == "strict")
    store = plans()
    if what == "changed":
        job.put("p1.png", "white")
    elif what == "gone":
        (job.folder / "photos/p1.png").unlink()
    elif what == "new":
        job.put("p4.png", "black")
    elif what == "table":
        (job.folder / "t.csv").write_text("place\nitaly\nnorway\n")
    elif what == "params":
        chosen["params"] = 'image: "{{ image }}", prompt: "{{ place }}!"'
    elif what == "name":
        chosen["more"] = 'output: {name: "{{ place }}-{{ stem }}"}'
    elif what == "repeat":
        chosen["more"] = 'output: {name: "{{ stem }}-{{ place }}-{{ repeat }}"}\nrepeat: 2'
    elif what == "version":
        monkeypatch.setattr(planning, "__version__", "0.0.0")
    elif what == "old":
        store = KeptPlans(user_state.kept_plans(), lambda: NOW + 25 * 3600)
    expansions.clear()
    assert job.plan(kept_plans=store, **chosen)[0].total
    assert expansions == [PLANNED]
    job.plan("two", anew=True, **chosen)
    assert job.image("one") == job.image("two")


async def test_a_file_that_parameters_put_together_is_looked_at(job: Job, expansions: list[str]) -> None:
    chosen = {
        "inputs": "{table: t.csv}",
        "params": 'image: "photos/{{ place }}.png", prompt: x',
        "more": 'output: {name: "{{ place }}"}',
    }
    for name in ("italy.png", "japan.png"):
        job.put(name, "red" if name == "italy.png" else "blue")
    looked(job, **chosen)
    job.put("japan.png", "green")
    expansions.clear()
    job.plan(kept_plans=plans(), **chosen)
    job.plan("two", **chosen)
    assert expansions == [PLANNED, PLANNED]
    assert job.image("one") == job.image("two")


@pytest.mark.parametrize("options", [{"limit": 2}, {"sample": 2}, {"sandbox": True}, {"pay_again": True}])
async def test_what_changes_no_plan_may_be_asked_otherwise(
    job: Job, expansions: list[str], options: dict[str, Any]
) -> None:
    looked(job, **options)
    expansions.clear()
    found, _ = job.plan(kept_plans=plans())
    assert (found.total, expansions) == (3, [])
    job.plan("two", anew=True)
    assert job.image("one") == job.image("two")


async def test_a_rehearsal_leaves_the_plan_for_the_run(job: Job, expansions: list[str]) -> None:
    looked(job)
    for name, once, left in (("rehearsal", False, 1), ("one", True, 0)):
        job.plan(name, kept_plans=plans(once=once))
        assert len(kept()) == left
    assert expansions == [PLANNED]
    assert job.image("rehearsal") == job.image("one")


async def test_a_share_is_planned_by_itself(job: Job, expansions: list[str]) -> None:
    looked(job, shard=Shard(1, 2))
    assert kept() == []
    looked(job)
    found = looked(job, shard=Shard(1, 2))
    assert found.total < 3
    assert expansions == [PLANNED] * 3


async def test_what_is_not_settled_is_not_kept(job: Job) -> None:
    path = job.put("p4.png", "broken")
    os.utime(path, (NOW, NOW))
    (told,) = looked(job).left_out
    assert "still being written" not in told.message, "who looks hears what is wrong"
    assert kept() == []
    job.plan(kept_plans=plans())
    with job.ledger() as ledger:
        query = "SELECT reason FROM left_out"
        assert "still being written" in ledger.connection.execute(query).fetchone()[0]


async def test_who_only_checks_a_manifest_keeps_nothing(job: Job) -> None:
    assert outlook(job.manifest(), job.folder / "out").total == 3
    assert not user_state.kept_plans().parent.exists()


async def test_a_ledger_that_is_not_new_takes_nothing_over(job: Job, expansions: list[str]) -> None:
    looked(job)
    with job.ledger() as ledger:
        database.set_meta(ledger.connection, "limits", "{}")
    job.plan(kept_plans=plans())
    assert expansions == [PLANNED, PLANNED]
    with job.ledger() as ledger:
        assert ledger.meta("limits") == "{}"


# --- damage


@pytest.mark.parametrize(
    "damage", ["flipped", "short", "empty", "gone", "note", "no note", "listing", "more"]
)
async def test_what_is_damaged_is_not_believed(job: Job, expansions: list[str], damage: str) -> None:
    looked(job)
    (folder,) = kept()
    ledger, note = folder / kept_plans.LEDGER, folder / kept_plans.NOTE
    data = ledger.read_bytes()
    if damage == "flipped":
        place = data.index(b"p2.png")
        ledger.write_bytes(data[:place] + b"q" + data[place + 1 :])
    elif damage == "short":
        ledger.write_bytes(data[:-4096])
    elif damage == "empty":
        ledger.write_bytes(b"")
    elif damage == "gone":
        ledger.unlink()
    elif damage == "note":
        note.write_text("[1]")
    elif damage == "no note":
        note.unlink()
    elif damage == "listing":
        (folder / "planned-files").write_bytes(b"")
    else:
        (folder / "more").write_bytes(b"")
    expansions.clear()
    assert job.plan(kept_plans=plans())[0].total == 3
    assert expansions == [PLANNED]
    job.plan("two", anew=True)
    assert job.image("one") == job.image("two")
    shutil.rmtree(folder, ignore_errors=True)
    looked(job)
    expansions.clear()
    job.plan("three", kept_plans=plans())
    assert expansions == [], "and the next one is whole again"


async def test_where_nothing_can_be_kept_all_is_as_ever(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, expansions: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert looked(job).total == 3
    assert job.plan(kept_plans=plans())[0].total == 3
    assert expansions == [PLANNED, PLANNED]
    assert (tmp_path / "file").read_text() == "no folder"


# --- crashes and refusals


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> Iterator[None]:
    """The n-th call of a function of the takeover is the process's last."""
    calls = [0]
    original: Callable[..., Any] = getattr(kept_plans, name)

    def last(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            raise KeyboardInterrupt
        return original(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(kept_plans, name, last)
        yield


@pytest.mark.parametrize(
    ("name", "at"),
    [("_copy_beside", 1), ("_refuse_to_wait", 1), ("transaction", 1), ("set_meta", 1), ("_digest", 1)],
)
async def test_a_crash_at_any_point_leaves_a_folder_that_the_next_run_goes_on_with(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    manifest = harness.manifest(5)
    outlook(manifest, harness.output, keep=True, now=harness.now)
    async with sandbox() as server:
        with broken(monkeypatch, name, at), pytest.raises(KeyboardInterrupt):
            await harness.run(server, manifest)
        assert not server.jobs
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], len(server.jobs)) == (0, 5, 5)
        assert harness.rows("SELECT value FROM meta WHERE key = 'origin'") == [(server.url,)]
        assert harness.rows("SELECT max(plan), min(plan) FROM tasks") == [(1, 1)]


async def test_a_plan_that_another_folder_has_paid_for_is_refused_and_stays_kept(
    harness: Harness, sandbox: MakeSandbox, expansions: list[str]
) -> None:
    async with sandbox() as server:
        await harness.run(server, harness.manifest(5))
        moved = harness.manifest(5, output={"dir": str(harness.folder / "elsewhere")})
        origin = server.url
        seen = outlook(moved, harness.folder / "elsewhere", keep=True, now=harness.now, origin=origin)
        assert "`run` refuses this" in seen.warnings[0]
        expansions.clear()
        with pytest.raises(errors.PaidElsewhere):
            await harness.run(server, moved)
        assert not (harness.folder / "elsewhere").exists()
        assert len(kept()) == 1
        report = await harness.run(server, moved, pay_again=True)
        assert (report.counts["done"], len(server.jobs), expansions) == (5, 10, [])


async def test_a_ledger_that_somebody_else_writes_to_is_planned_as_ever(
    job: Job, expansions: list[str]
) -> None:
    looked(job)
    with job.ledger() as ledger:
        ledger.connection.execute("PRAGMA busy_timeout=50")
        with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises((errors.DiskError, sqlite3.OperationalError), match="locked"):
                planning.plan_into(
                    ledger,
                    job.manifest(),
                    warn=print,
                    progress=lambda n: None,
                    check=lambda connection, number: None,
                    kept_plans=plans(),
                )
            other.execute("ROLLBACK")
        assert kept_plans.is_blank(ledger.connection)


# --- bounds


async def test_no_more_than_the_newest_few_are_kept_and_none_for_longer_than_a_day(job: Job) -> None:
    for number in range(kept_plans.MOST + 2):
        looked(job, params=f"{PLAIN}{number}", now=lambda at=number: NOW + at)
    assert len(kept()) == kept_plans.MOST
    made_at = [json.loads((one / kept_plans.NOTE).read_text())["made_at"] for one in kept()]
    assert sorted(made_at) == [NOW + 2, NOW + 3, NOW + 4]
    unfinished = user_state.kept_plans() / f"{kept_plans.UNFINISHED}killed"
    unfinished.mkdir()
    os.utime(unfinished, (NOW, NOW))
    looked(job, now=lambda: NOW + 3600)
    assert unfinished.exists()
    looked(job, params=f"{PLAIN}9", now=lambda: NOW + 26 * 3600)
    assert len(kept()) == 1


async def test_one_that_is_too_large_is_not_kept(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    looked(job)
    (folder,) = kept()
    size = sum(path.stat().st_size for path in folder.iterdir())
    monkeypatch.setattr(kept_plans, "MOST_BYTES", size * 3 // 2)
    for number in range(3):
        looked(job, params=f"{PLAIN}{number}", now=lambda at=number: NOW + at + 1)
    assert len(kept()) == 1
    shutil.rmtree(user_state.kept_plans())
    monkeypatch.setattr(kept_plans, "MOST_BYTES", size // 2)
    looked(job)
    assert kept() == []


# --- a look at a folder that has a ledger


def state_of(folder: Path) -> dict[str, bytes]:
    """All files, but for those that every reader of a ledger leaves beside it."""
    files = (
        path for path in folder.rglob("*") if path.is_file() and path.suffix[-4:] not in ("-shm", "-wal")
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextmanager
def own_ledger(job: Job) -> Iterator[Ledger]:
    path = layout.ledger_path(job.folder / "out")
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Ledger(path, now=lambda: NOW)) as ledger:
        yield ledger


def planned(job: Job, **chosen: Any) -> None:
    with own_ledger(job) as ledger:
        planning.plan_into(
            ledger, job.manifest(**chosen), warn=print, progress=lambda n: None, check=lambda c, n: None
        )


async def test_a_look_at_what_a_ledger_knows_expands_nothing_and_changes_nothing(
    job: Job, expansions: list[str]
) -> None:
    job.put("p4.png", "red")
    planned(job)
    before = state_of(job.folder / "out")
    expansions.clear()
    seen = looked(job)
    assert (seen.total, seen.new, expansions) == (4, 4, [])
    assert seen.warnings == ("1 task is identical to an earlier one (first: p4); each is paid for",)
    assert state_of(job.folder / "out") == before
    assert kept() == []


async def test_a_look_at_a_folder_that_has_grown_reads_what_is_new(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(job)
    before = state_of(job.folder / "out")
    asked, expanded = list[Any](), planning.expanded

    def noted(manifest: Any, context: Any, *more: Any) -> Any:
        asked.append(context.grown)
        return expanded(manifest, context, *more)

    monkeypatch.setattr(planning, "expanded", noted)
    job.put("p4.png", "black")
    assert looked(job).total == 4
    ((grown,),) = [one.values() for one in asked]
    assert [Path(file.path).name for file in grown.files] == ["p4.png"]
    assert state_of(job.folder / "out") == before


async def test_a_ledger_of_an_earlier_version_is_looked_at_whole_for_what_there_is_to_tell(
    job: Job, expansions: list[str]
) -> None:
    job.put("p4.png", "red")
    planned(job)
    with own_ledger(job) as ledger:
        ledger.connection.execute("DELETE FROM meta WHERE key = 'plan_warnings'")
    expansions.clear()
    assert looked(job).warnings == ("1 task is identical to an earlier one (first: p4); each is paid for",)
    assert expansions == [PLANNED]


async def test_what_is_wrong_with_a_ledger_is_told_by_its_own_path(job: Job) -> None:
    planned(job)
    path = layout.ledger_path(job.folder / "out")
    with own_ledger(job) as ledger:
        ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(len(data) - 4096))
    with pytest.raises(errors.LedgerError) as raised:
        looked(job)
    assert str(path) in str(raised.value)
    assert "plans" not in str(raised.value)


async def test_a_look_from_a_ledger_of_another_share_plans_its_own(job: Job) -> None:
    for number in range(6):
        job.put(f"q{number}.png", MANY_COLOURS[number])
    planned(job)
    one, two = (looked(job, shard=Shard(n, 2)).total for n in (1, 2))
    assert one + two == 9
