"""redo: another picture in place of a rejected one, a task of its own of the same cell.

How a replacement comes, and what a crash leaves at each point:

    move                       in one transaction with         a crash before it    a crash after it
    ready -> rejected (check)  the replacement, planned        ready, judged again  both are there
    done -> rejected (--redo)  the number that is wanted       nothing was asked    the next start plans it
    rejected -> done (keep)    a waiting one's withdrawal      still rejected       it is not made
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import anyio
import pytest

from batcher.engine import load, plan_outlook
from batcher.errors import ManifestError
from batcher.ledger.replacement_cells import Cell, due
from batcher.progress import Event, Message, Started
from batcher.results.export import ExportOptions, export
from batcher.results.merge import merge
from batcher.results.report import of_folder
from batcher.results.verify import check_output
from batcher.sandbox import Faults, Sandbox, faults
from batcher.shard import Shard
from tests.support.crashing import dying
from tests.support.harness import Harness
from tests.support.redrawn import DRAWN, PARAMS, said
from tests.support.sandboxes import MakeSandbox


def blacks(*calls: int) -> Faults:
    return Faults([faults.BlackPicture(calls=list(calls))])


async def ran(harness: Harness, server: Sandbox, tasks: int = 3, **changes: Any) -> Any:
    told = await harness.run(server, harness.manifest(tasks, **DRAWN | changes))
    harness.check(told)
    return told


# --- decisions


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        (Cell("k", 0, "blank", 0, 0, None), 1),
        (Cell("k", 1, "blank", 0, 0, 2), 2),
        (Cell("k", 2, "blank", 0, 0, None), None),  # the chain ends
        (Cell("k", 0, "person", 0, 0, None), None),  # nobody asked
        (Cell("k", 0, "person", 1, 0, None), 1),
        (Cell("k", 2, "person", 3, 0, None), 3),  # whoever asks gets one more
        (Cell("k", 1, "person", 1, 0, None), None),  # that one was made, and rejected
        (Cell("k", 0, "blank", 0, 1, None), None),  # another one of it is there, or on its way
    ],
)
def test_what_is_due(cell: Cell, number: int | None) -> None:
    assert due(cell, 2) == number


# --- the manifest


@pytest.mark.parametrize(
    "params",
    [
        {"prompt": "x"},
        {"prompt": "x", "seed": 7},
        {"prompt": "x", "seed": "{{ place }}"},
        {"prompt": "{{ choice('red') }} {{ choice(['red', 'red']) }}", "seed": "{{ randint(7, 7) }}"},
    ],
)
def test_a_job_that_draws_nothing_would_buy_the_same_picture(
    harness: Harness, params: dict[str, Any]
) -> None:
    with pytest.raises(ManifestError) as refused:
        harness.manifest(2, redo=1, seed=42, params=PARAMS | {"seed": None} | params, unchecked=["seed"])
    assert [problem.key for problem in refused.value.problems] == ["redo"]
    assert "the params draw nothing" in refused.value.problems[0].message


@pytest.mark.parametrize("params", [{"seed": -1}, {"prompt": "{{ choice('a', 'b') }}", "seed": 1}, {}])
def test_a_seed_a_picker_and_the_models_own_seed_draw(harness: Harness, params: dict[str, Any]) -> None:
    assert harness.manifest(2, redo=1, seed=42, params=PARAMS | params).redo == 1


def test_keys_of_other_tasks_do_not_change(harness: Harness) -> None:
    def keys(**changes: Any) -> Any:
        job = harness.manifest(3, **changes)
        return plan_outlook.outlook(job, job.output.dir).sample

    assert keys(seed=42, params=PARAMS) == keys(**DRAWN)


# --- the engine


async def test_a_rejected_picture_is_made_anew_and_the_new_one_takes_its_name(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, sigma=0, pictures=True, price=0.01, faults=blacks(2)) as server:
        told = await ran(harness, server)
        assert (told.exit_code, told.state, told.total) == (0, "finished", 4)
        assert {state: n for state, n in told.counts.items() if n} == {"done": 3, "rejected": 1}
        assert (server.billed, told.cost["spent"]) == (4, 0.04)
        assert harness.pictures() == [f"place {n}.jpg" for n in range(3)]
        (aside,) = harness.lines("rejected.jsonl")
        (new,) = [line for line in harness.lines("metadata.jsonl") if "redo" in line]
        assert (new["redo"], new["replaces"]) == (1, aside["key"])
        assert new["place"] == aside["place"]
        assert new["file_name"] == aside["file_name"].replace("rejected/", "images/")
        assert new["seed"] != aside["seed"]
        assert "redo" not in aside
        seeds = {job.body["seed"] for job in server.jobs.values()}
        assert len(seeds) == 4
        again = await ran(harness, server)
        assert (again.counts, server.billed) == (told.counts, 4)


async def test_a_chain_ends_and_a_higher_number_goes_on_from_there(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, pictures=True, price=0.01, faults=blacks(*range(1, 5))) as server:
        told = await ran(harness, server, 1)
        assert (told.exit_code, told.counts["rejected"], server.billed) == (0, 3, 3)
        assert sorted(harness.pictures("rejected"))[0].startswith("place 0-")
        told = await ran(harness, server, 1, redo=5)
        assert (told.counts["rejected"], told.counts["done"], server.billed) == (4, 1, 5)
        assert [line.get("redo", 0) for line in harness.lines("metadata.jsonl")] == [4]
        assert harness.pictures() == ["place 0.jpg"]
    found = await check_output(harness.output)
    assert (found.checked, found.findings) == (5, ())


async def test_it_stays_within_max_cost(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, pictures=True, price=0.01, faults=blacks(*range(1, 99))) as server:
        told = await ran(harness, server, 4, redo=9, limits={"max_cost": 0.06})
        assert (told.exit_code, server.billed, told.cost["spent"]) == (4, 6, 0.06)
        assert told.counts["planned"] == 4


async def test_an_edited_manifest_keeps_replacements_and_doubles_none(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, pictures=True, price=0.01, faults=blacks(1, 2, 4)) as server:
        first = await ran(harness, server)
        assert (first.total, first.counts["done"], server.billed) == (6, 3, 6)
        more = await ran(harness, server, 5)
        assert (more.total, more.counts["done"], more.counts["rejected"], server.billed) == (8, 5, 3, 8)
        job = harness.manifest(5, **DRAWN)
        looked = plan_outlook.outlook(job, job.output.dir)
        assert (looked.total, looked.done, looked.counts.rejected, looked.new) == (8, 5, 3, 0)
        fewer = await harness.run(server, harness.manifest(1, **DRAWN))
        assert fewer.total == sum(fewer.counts.values())
        assert server.billed == 8
        back = await ran(harness, server, 5)
        assert (back.counts, server.billed) == (more.counts, 8)


async def test_a_person_asks_and_the_next_run_makes_it(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever `redo` is: somebody looked."""
    job = str(harness.folder / "job.yaml")
    async with sandbox(service=5, pictures=True, price=0.01) as server:
        await ran(harness, server, redo=0)
        assert await said("reject", job, "place 1", "--reason", "six fingers", "--redo") == 0
        assert "the next `batcher run` makes 1 replacement, which will be paid for" in capsys.readouterr().out
        stands = of_folder(harness.output, now=harness.now())
        assert (stands.state, stands.replacements, stands.counts["planned"]) == ("idle", 1, 0)
        assert await said("status", job) == 0
        assert "1 replacement; `batcher run` makes it" in capsys.readouterr().out
        looked = plan_outlook.outlook(load(harness.folder / "job.yaml"), harness.output)
        assert (looked.total, looked.new, looked.counts.submits, looked.cost) == (4, 1, 1, 0.01)
        heard: list[Event] = []
        told = await harness.run(server, harness.manifest(3, **DRAWN | {"redo": 0}), heard.append)
        (started,) = [event for event in heard if isinstance(event, Started)]
        assert (started.total, started.new) == (looked.total, looked.new)
        assert (told.state, told.replacements) == ("finished", 0)
        assert (told.counts["done"], told.counts["rejected"], server.billed) == (3, 1, 4)
        assert (await ran(harness, server, redo=0)).counts == told.counts
        # Its replacement has the name; the rejected one lies in rejected/.
        assert await said("reject", job, "images/place 1.jpg", "--redo", "--json") == 0
        decided = json.loads(capsys.readouterr().out)
        assert (decided["rejected"], decided["redo"], decided["skipped"]) == (1, 1, [])
        told = await ran(harness, server, redo=0)
        assert (told.counts["done"], told.counts["rejected"], server.billed) == (3, 2, 5)
        assert [line.get("redo") for line in harness.lines("metadata.jsonl")] == [None, None, 2]
        made = export(harness.output, ExportOptions(to="imagefolder", into=harness.folder / "set"))
        assert made.pictures == 3


async def test_what_a_replacement_of_several_pictures_costs_is_told(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=5, pictures=True, price=0.01) as server:
        several = {"params": {**DRAWN["params"], "samples": 3}, "model": "sd1.5-img2img", "redo": 0}
        told = await ran(harness, server, **several)
        assert told.images == 9
        assert await said("reject", str(harness.folder / "job.yaml"), "place 1", "--redo") == 0
        assert "which will be paid for: about 0.03 credits" in capsys.readouterr().out
        assert (await ran(harness, server, **several)).cost["spent"] == 0.12


async def test_a_job_that_draws_nothing_is_told_before_anything_is_set_aside(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(2))
    assert await said("reject", str(harness.output), "place 1", "--redo") == 2
    assert "another try would buy the same picture" in capsys.readouterr().err
    assert harness.states() == {"done": 2}


async def test_beside_a_run_the_run_makes_it(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Faults([faults.SlowBody(delay=60, calls=[3])])
    async with sandbox(service=5, sigma=0, pictures=True, faults=script) as server:
        reports = []

        async def running() -> None:
            reports.append(await harness.run(server, harness.manifest(3, **DRAWN)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await anyio.sleep(30)
            name = harness.rows("SELECT name FROM tasks WHERE state = 'done'")[0][0]
            assert await said("reject", str(harness.output), name, "--redo") == 0
            assert "the run that goes on makes 1 replacement" in capsys.readouterr().out
        harness.check(reports[0])
        assert (reports[0].counts["done"], reports[0].counts["rejected"]) == (3, 1)
        assert server.billed == 4


async def test_what_is_kept_before_its_replacement_was_sent_needs_none(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    job = str(harness.folder / "job.yaml")
    async with sandbox(service=5, pictures=True) as server:
        await ran(harness, server)
        assert await said("reject", job, "place 1", "--redo") == 0
        assert await said("keep", job, "place 1") == 0
        assert (await ran(harness, server)).total == 3
        # Planned by a run that was stopped before it.
        assert await said("reject", job, "place 1", "--redo") == 0
        assert (await ran(harness, server, limits={"max_cost": 0.001})).counts["planned"] == 1
        assert await said("keep", job, "place 1") == 0
        told = await harness.run(server, harness.manifest(3, **DRAWN))
        assert (told.total, told.counts["done"], server.billed) == (3, 3, 3)


@pytest.mark.parametrize("way", ["command", "option"])
async def test_a_retry_buys_no_replacement_that_failed_of_what_is_kept(
    harness: Harness, sandbox: MakeSandbox, way: str
) -> None:
    """Of two that failed, the other one is retried."""
    job = str(harness.folder / "job.yaml")
    script = Faults([faults.Failed(error="CUDA out of memory", calls=[1, 4])])
    async with sandbox(service=5, pictures=True, faults=script) as server:
        await ran(harness, server)
        (name,) = harness.rows("SELECT name FROM tasks WHERE state = 'done' LIMIT 1")[0]
        assert await said("reject", job, name, "--redo") == 0
        assert (await ran(harness, server)).counts["failed"] == 2
        assert await said("keep", job, name) == 0
        if way == "command":
            assert await said("retry", job) == 0
        told = await harness.run(server, harness.manifest(3, **DRAWN), retry_failed=way == "option")
        harness.check(told)
        assert harness.rows("SELECT redo FROM tasks WHERE state = 'failed'") == [(1,)]
        assert (told.counts["done"], server.billed) == (3, 3)


async def test_what_is_kept_beside_its_replacement_gets_a_name_of_its_own(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    job = str(harness.folder / "job.yaml")
    async with sandbox(service=5, pictures=True, faults=blacks(1, 2)) as server:
        told = await ran(harness, server, 1)
        assert (told.counts["done"], told.counts["rejected"]) == (1, 2)
        assert await said("keep", job, "place 0") == 2
        err = capsys.readouterr().err
        assert "place 0 was rejected 2 times: name one of them by its file, rejected/place 0.jpg or " in err
        assert await said("keep", job, "rejected/place 0.jpg") == 0
        assert "for 1 task of these a replacement is delivered, or on its way" in capsys.readouterr().out
        key = harness.rows("SELECT key FROM tasks WHERE redo = 0")[0][0]
        assert harness.pictures() == [f"place 0-{key[:8]}.jpg", "place 0.jpg"]
        told = await ran(harness, server, 1)
        assert (told.counts["done"], told.counts["rejected"], server.billed) == (2, 1, 3)


async def test_pickers_draw_another_body(harness: Harness, sandbox: MakeSandbox) -> None:
    params = PARAMS | {"prompt": "{{ choice('a', 'b') }} in {{ place }}", "seed": 5}
    async with sandbox(service=5, pictures=True, faults=blacks(*range(1, 7))) as server:
        await ran(harness, server, 6, params=params, checks={"blank": "reject", "duplicate": "off"})
        prompts: dict[str, list[str]] = {}
        for job in server.jobs.values():
            prompts.setdefault(job.body["prompt"].partition(" in ")[2], []).append(job.body["prompt"])
        assert len(server.jobs) >= 12
        assert all(one != other for bodies in prompts.values() for one, other in pairwise(bodies))


@pytest.mark.parametrize(
    ("choices", "bodies"), [("[place]", 1), ("'red', 'blue'", 2), ("'red', 'blue', 'green'", 3)]
)
async def test_no_body_of_a_cell_is_bought_twice(
    harness: Harness, sandbox: MakeSandbox, choices: str, bodies: int
) -> None:
    """Each try is another body than every one before it; where the choices are used up, there is no other."""
    params = PARAMS | {"prompt": f"{{{{ choice({choices}) }}}} in {{{{ place }}}}", "seed": 7}
    heard: list[Event] = []
    async with sandbox(service=5, sigma=0, pictures=True, faults=Faults([faults.BlackPicture()])) as server:
        job = harness.manifest(2, **DRAWN | {"params": params, "redo": 3})
        for _ in range(2):  # the next run finds them used up, too
            heard.clear()
            told = await harness.run(server, job, heard.append)
            harness.check(told)
            assert (told.exit_code, told.counts["rejected"], server.billed) == (0, 2 * bodies, 2 * bodies)
            sentences = (event.text for event in heard if isinstance(event, Message))
            assert sorted(text for text in sentences if "anew" in text) == [
                f"place {n} was rejected and is not made anew: its choices are used up, and another try "
                "would buy the same picture"
                for n in range(2)
            ]
        prompts = [job.body["prompt"] for job in server.jobs.values()]
        assert len(set(prompts)) == len(prompts)


async def test_used_up_choices_matter_not_where_the_model_draws_its_seed(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    params = PARAMS | {"prompt": "{{ choice('red') }} in {{ place }}", "seed": -1}
    async with sandbox(service=5, pictures=True, faults=blacks(1, 2)) as server:
        told = await ran(harness, server, 1, params=params)
        assert (told.counts["rejected"], told.counts["done"], server.billed) == (2, 1, 3)


async def test_shares_make_theirs_and_come_together(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, pictures=True, faults=blacks(1, 2, 5)) as server:
        for shard in (Shard(1, 2), Shard(2, 2), Shard(1, 2)):
            await harness.run(server, harness.manifest(8, **DRAWN), shard=shard)
        billed = server.billed
        assert billed == 11
    shares = [harness.output / f"shard-{n}-of-2" for n in (1, 2)]
    told = merge(shares, harness.folder / "whole", now=harness.now)
    assert (told.report.counts["done"], told.report.counts["rejected"]) == (8, 3)
    assert (await check_output(harness.folder / "whole")).findings == ()


# --- killed


@pytest.mark.parametrize("offset", range(3))
async def test_a_crash_anywhere_loses_no_replacement_and_pays_none_twice(
    harness: Harness, sandbox: MakeSandbox, offset: int
) -> None:
    at = offset
    while True:
        harness.move_to(f"out-{at}")
        async with sandbox(service=5, sigma=0, pictures=True, price=0.01, faults=blacks(1)) as server:
            job = harness.manifest(1, **DRAWN)
            with dying(at) as points:
                await harness.run(server, job)
            if not points.dead:
                break
            doubted = harness.states()["submitting"]
            told = await harness.run(server, job)
            harness.check(told)
            story = f"killed at point {at} with {doubted} in the air: {told.counts}"
            assert (told.exit_code, told.counts["done"]) == (0, 1), story
            assert told.counts["rejected"] == len(harness.pictures("rejected")) <= 1, story
            assert told.total == 1 + told.counts["rejected"], story
            assert told.total <= server.billed <= told.total + doubted, story
        at += 3
    assert at > 30
