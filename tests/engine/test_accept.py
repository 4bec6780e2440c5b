"""accept: so many accepted pictures of each group are enough, and no more is submitted than can be needed.

What becomes of a place in a group; a crash leaves nothing but rows, from which the next start counts it:

    planned -> submitting       taken when the task is chosen
    submitting -> doubtful      held: it may be accepted
    any -> planned (next try)   held, or taken again where there is one
    ready -> done               held for good
    ready -> rejected, failed   free for the next candidate
    done -> rejected (person)   free for the next start, or beside a run within a second
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from typing import Any

import anyio
import pytest
from PIL import Image

from batcher.cli import ended, text_tables
from batcher.engine import plan_outlook
from batcher.errors import ManifestError, UsageError
from batcher.job.manifest import Manifest
from batcher.ledger.acceptance import AcceptRule, AcceptStatus, GroupStatus, may_submit
from batcher.progress import Event, Finished
from batcher.progress.closing_text import closing
from batcher.sandbox import Faults, Sandbox, faults
from batcher.shard import Shard
from tests.support.crashing import dying
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

LABELS = ("cat", "dog", "owl")
PARAMS = {
    "image": "https://photos.example/one.png",
    "prompt": "a {{ label }} in {{ place }}",
    "seed": "{{ seed }}",
}


def job(harness: Harness, count: int, candidates: int = 6, **changes: Any) -> Manifest:
    """A job of 3 labels x so many places."""
    rows = [{"place": f"place {place}", "label": label} for place in range(candidates) for label in LABELS]
    given: dict[str, Any] = {
        "inputs": [{"rows": rows}],
        "params": PARAMS,
        "seed": 42,
        "accept": {"count": count, "per": ["label"]},
        "output": {"name": "{{ label }} {{ place }}"},
    }
    return harness.manifest(1, **given | changes)


async def ran(harness: Harness, server: Sandbox, count: int, candidates: int = 6, **changes: Any) -> Any:
    told = await harness.run(server, job(harness, count, candidates, **changes))
    lines = [*harness.lines("metadata.jsonl")]
    per = Counter(line["label"] for line in lines)
    assert all(n <= count for n in per.values()), per
    assert told.total == sum(told.counts.values())
    return told, per


async def said(*arguments: str) -> int:
    return await asyncio.to_thread(ended, list(arguments))


# --- decisions


@pytest.mark.parametrize(
    ("count", "accepted", "in_flight", "images", "number"),
    [
        (5, 0, 0, 1, 5),
        (5, 3, 2, 1, 0),
        (5, 3, 1, 1, 1),
        (5, 6, 0, 1, 0),  # a person took one back
        (10, 8, 0, 4, 0),  # another four would be two too many
        (10, 0, 0, 4, 2),
    ],
)
def test_how_many_more_may_be_under_way(
    count: int, accepted: int, in_flight: int, images: int, number: int
) -> None:
    assert may_submit(count, accepted, in_flight, images) == number


def test_a_group_is_short_where_its_candidates_do_not_suffice() -> None:
    assert not GroupStatus({}, 5, accepted=2, in_flight=1, waiting=2).is_short
    assert GroupStatus({}, 5, accepted=2, in_flight=1, waiting=1).is_short
    assert GroupStatus({}, 10, accepted=8, waiting=9, images=4).is_short
    assert GroupStatus({}, 10, waiting=100).expected(0.5, 0) == 20
    assert GroupStatus({}, 10, waiting=12).expected(0.5, 0) == 12
    assert GroupStatus({}, 10, waiting=12).expected(0.5, 2) == 20
    assert GroupStatus({}, 10, accepted=10, waiting=12).expected(0.5, 2) == 0


# --- the manifest


def test_a_job_that_draws_nothing_and_a_column_that_is_not_there_are_errors(harness: Harness) -> None:
    with pytest.raises(ManifestError, match="the params draw nothing"):
        job(harness, 2, params={"image": PARAMS["image"], "prompt": "a {{ label }}"})
    with pytest.raises(ManifestError, match="did you mean `label`"):
        job(harness, 2, accept={"count": 2, "per": "labl"})


async def test_a_share_cannot_count_what_others_accept(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox() as server:
        with pytest.raises(UsageError, match="counts over the whole plan"):
            await harness.run(server, job(harness, 2), shard=Shard(1, 2))


# --- the engine


async def test_so_many_of_each_are_made_and_the_rest_stays_planned(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        told, per = await ran(harness, server, 4)
        assert (told.exit_code, told.state, per) == (0, "finished", dict.fromkeys(LABELS, 4))
        assert {state: n for state, n in told.counts.items() if n} == {"done": 12, "planned": 6}
        assert (server.billed, told.cost["spent"], told.cost["reserved"]) == (12, 0.12, 0)
        assert (await ran(harness, server, 4))[0].counts == told.counts
        assert server.billed == 12
        more, per = await ran(harness, server, 5)
        assert (more.exit_code, per, server.billed) == (0, dict.fromkeys(LABELS, 5), 15)
        fewer, _ = (await harness.run(server, job(harness, 1)), None)
        assert (fewer.exit_code, fewer.counts["done"], server.billed) == (0, 15, 15)


async def test_candidates_come_from_all_sources_in_turn(harness: Harness, sandbox: MakeSandbox) -> None:
    rows = [{"place": f"place {n}", "label": "cat"} for n in range(4)]
    async with sandbox(service=5) as server:
        await ran(
            harness,
            server,
            6,
            inputs=[{"rows": rows}],
            matrix={"light": ["day", "dusk", "night"]},
            output={"name": "{{ place }} {{ light }}"},
        )
        lights = Counter((line["place"], line["light"]) for line in harness.lines("metadata.jsonl"))
    assert sorted(lights) == [
        ("place 0", "day"),
        ("place 0", "dusk"),
        ("place 1", "day"),
        ("place 1", "dusk"),
        ("place 2", "day"),
        ("place 3", "day"),
    ]


async def test_what_is_rejected_frees_its_place_also_when_a_person_does_it_later(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.BlackPicture(calls=[1, 2])])
    checks = {"blank": "reject", "duplicate": "off"}
    async with sandbox(service=5, pictures=True, price=0.01, faults=script) as server:
        told, per = await ran(harness, server, 2, 4, checks=checks)
        assert (per, told.counts["rejected"], server.billed) == (dict.fromkeys(LABELS, 2), 2, 8)
        name = harness.lines("metadata.jsonl")[0]["file_name"]
        assert await said("reject", str(harness.folder / "job.yaml"), name) == 0
        told, per = await ran(harness, server, 2, 4, checks=checks)
        assert (per, told.counts["rejected"], server.billed) == (dict.fromkeys(LABELS, 2), 3, 9)
        assert await said("keep", str(harness.folder / "job.yaml"), name) == 0
        told = await harness.run(server, job(harness, 2, 4, checks=checks))
        assert (told.exit_code, told.counts["done"], server.billed) == (0, 7, 9)


async def test_a_group_that_cannot_be_filled_is_told_with_what_would_help(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Faults([faults.Failed(calls=[1])])
    async with sandbox(service=5, sigma=0, faults=script) as server:
        told, per = await ran(harness, server, 3, 3)
        assert (told.exit_code, told.counts["failed"], sum(per.values())) == (3, 1, 8)
        (why,) = told.causes
        assert "`accept` has no more candidates for 1 of 3 groups (label=" in why
        assert "2 of 3" in why
        assert f"`batcher retry {harness.output}`" in why
        capsys.readouterr()
        assert await said("status", str(harness.output)) == 0
        out = capsys.readouterr().out
        assert re.search(rf"^accept +{re.escape(why)}$", out, re.MULTILINE)
        assert re.search(
            r"^state +finished, but 1 of 3 groups of `accept` cannot be filled$", out, re.MULTILINE
        )


async def test_status_tells_how_far_each_group_is_in_the_words_of_plan(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(harness.folder / "job.yaml")
    async with sandbox(service=5, sigma=0, price=0.01) as server:
        await ran(harness, server, 3, limits={"in_flight": 1, "max_cost": 0.05})
        assert await said("status", path, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["state"], sum(group["accepted"] for group in told["accept"]["groups"])) == ("idle", 5)
        assert await said("plan", path, "--json") == 0
        planned = json.loads(capsys.readouterr().out)["accept"]
        assert planned == {**told["accept"], "expected": 4}
        assert await said("status", path) == 0
        out = capsys.readouterr().out
        assert re.search(r"^group +accepted +in flight +rejected +failed +candidates$", out, re.MULTILINE)
        assert re.search(r"^label=cat +2 of 3 +0 +0 +0 +4$", out, re.MULTILINE)
        await ran(harness, server, 3)
        assert await said("status", path) == 0
        out = capsys.readouterr().out
        assert re.search(r"^state +finished$", out, re.MULTILINE)
        assert out.count("3 of 3") == 3


def test_of_many_groups_those_that_lack_something_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    groups = tuple(GroupStatus({"label": n}, 2, accepted=2 if n < 40 else 1) for n in range(42))
    text_tables.echo_groups(AcceptStatus(AcceptRule(2, ("label",)), groups, 0.0), 10)
    out = capsys.readouterr().out
    assert out.count("1 of 2") == 2
    assert out.endswith("and 32 more\n")


async def test_plan_shows_the_groups_and_counts_what_is_about_to_be_done(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(harness.folder / "job.yaml")
    manifest = job(harness, 4)
    looked = plan_outlook.outlook(manifest, harness.output)
    assert (looked.total, looked.counts.submits, looked.cost) == (18, 12, 0.12)
    script = Faults([faults.BlackPicture(calls=[1, 2, 3])])
    checks = {"blank": "reject", "duplicate": "off"}
    async with sandbox(service=5, sigma=0, pictures=True, price=0.01, faults=script) as server:
        await ran(harness, server, 3, checks=checks, limits={"in_flight": 1, "max_cost": 0.06})
    job(harness, 5, 9, checks=checks)
    assert await said("plan", path, "--json") == 0
    accept = json.loads(capsys.readouterr().out)["accept"]
    assert (accept["count"], accept["per"], accept["rejections"]) == (5, ["label"], 0.5)
    assert [group["accepted"] for group in accept["groups"]] == [1, 1, 1]
    assert [group["candidates"] for group in accept["groups"]] == [7, 7, 7]
    assert accept["expected"] == 21
    assert await said("plan", path) == 0
    out = capsys.readouterr().out
    assert "5 of each of 3 groups; about 21 tasks to submit for that, 50% being rejected as so far" in out
    assert "label=cat" in out
    assert "1 of 5" in out


async def test_a_dear_run_asks_about_what_it_needs(harness: Harness, sandbox: MakeSandbox) -> None:
    asked: list[tuple[float | None, int]] = []

    def confirm(cost: float | None, tasks: int) -> bool:
        asked.append((cost, tasks))
        return True

    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, job(harness, 2), confirm=confirm)
        await harness.run(server, job(harness, 2), confirm=confirm)
        await harness.run(server, job(harness, 3), confirm=confirm)
    assert asked == [(0.06, 6), (0.03, 3)]


async def test_what_a_person_rejects_beside_a_run_is_made_up_for_by_that_run(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.SlowBody(delay=60, calls=[2])])
    async with sandbox(service=5, sigma=0, pictures=True, faults=script) as server:
        reports = []

        async def running() -> None:
            reports.append(await harness.run(server, job(harness, 1, 3)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running)
            await anyio.sleep(30)
            assert harness.states() == {"ready": 1, "done": 2, "planned": 6}
            name = harness.rows("SELECT name FROM tasks WHERE state = 'done'")[0][0]
            assert await said("reject", str(harness.output), name) == 0
        harness.check(reports[0])
        assert (reports[0].exit_code, reports[0].counts["done"]) == (0, 3)
        assert (reports[0].counts["rejected"], server.billed) == (1, 4)


async def test_the_end_says_that_every_group_has_its_pictures_or_that_some_have_not(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    said_at_end: list[str] = []

    def listener(event: Event) -> None:
        if isinstance(event, Finished):
            said_at_end.append(
                "\n".join(line.text for line in closing(event, command="batcher run job.yaml"))
            )

    async with sandbox(service=5) as server:
        await harness.run(server, job(harness, 2, 3), listener)
        await harness.run(server, job(harness, 4, 3), listener)
    assert "job: all that `accept` asks for, 6 of 9 tasks done, after" in said_at_end[0]
    assert "goes on" not in said_at_end[0]
    assert "fewer pictures are accepted than were asked for, 9 of 9 tasks done" in said_at_end[1]


async def test_submits_that_come_back_keep_their_places(harness: Harness, sandbox: MakeSandbox) -> None:
    script = Faults(
        [faults.Status(code=503, route="submit", calls=[1, 2, 5]), faults.Cut(route="submit", calls=[8])]
    )
    async with sandbox(service=5, price=0.01, faults=script) as server:
        told, per = await ran(harness, server, 4, retry={"doubtful": "hold"})
        assert told.counts["doubtful"] <= 1
        assert sum(per.values()) + told.counts["doubtful"] == 12
        assert told.exit_code == (3 if told.counts["doubtful"] else 0)


async def test_a_tenth_of_each_fault_and_the_counts_and_the_money_are_exact(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    """Nothing is paid beyond accepted + rejected + doubtful; failed ones are not billed."""
    script = Faults(
        [
            faults.BlackPicture(calls=list(range(3, 400, 10))),
            faults.RepeatedPicture(calls=list(range(5, 400, 10))),
            faults.UnchangedPicture(calls=list(range(7, 400, 10))),
            faults.WrongSize(calls=list(range(9, 400, 10))),
        ]
    )
    checks = dict.fromkeys(("blank", "size", "unchanged", "duplicate"), "reject")
    for number in range(10):
        noise = random.Random(number).randbytes(3 * 6 * 5)
        Image.frombytes("RGB", (6, 5), noise).resize((192, 160)).save(harness.folder / f"{number}.png")
    given: dict[str, Any] = {
        "inputs": [{"images": str(harness.folder / "?.png")}],
        "matrix": {"label": [*LABELS]},
        "params": {
            "image": "{{ image }}",
            "prompt": "a {{ label }}",
            "img_width": 768,
            "img_height": 768,
            "seed": "{{ seed }}",
        },
        "output": {"name": "{{ label }} {{ stem }}"},
    }
    async with sandbox(service=5, pictures=True, price=0.01, faults=script) as server:
        told, per = await ran(harness, server, 5, 10, checks=checks, redo=2, limits={"in_flight": 2}, **given)
        rejected = told.counts["rejected"]
        assert (told.exit_code, per) == (0, dict.fromkeys(LABELS, 5))
        assert {reason.partition(":")[0] for reason in told.rejections} == set(checks)
        assert rejected >= 4
        assert server.billed == 15 + rejected
        assert told.cost["spent"] == round(0.01 * (15 + rejected), 6)
        assert (told.cost["reserved"], told.cost["doubtful"], told.cost["lost"]) == (0, 0, 0)


# --- killed


@pytest.mark.parametrize("offset", range(4))
async def test_a_crash_anywhere_leaves_no_group_with_one_too_many(
    harness: Harness, sandbox: MakeSandbox, offset: int
) -> None:
    at = offset
    asked: dict[str, Any] = {"checks": {"blank": "reject", "duplicate": "off"}, "redo": 1}
    while True:
        harness.move_to(f"out-{at}")
        script = Faults([faults.BlackPicture(calls=[1])])
        async with sandbox(service=5, sigma=0, pictures=True, price=0.01, faults=script) as server:
            manifest = job(harness, 1, 2, accept={"count": 1}, **asked)
            with dying(at) as points:
                await harness.run(server, manifest)
            if not points.dead:
                break
            doubted = harness.states()["submitting"]
            told = await harness.run(server, manifest)
            harness.check(told)
            story = f"killed at point {at} with {doubted} in the air: {told.counts}"
            assert (told.exit_code, told.counts["done"]) == (0, 1), story
            assert 1 + told.counts["rejected"] <= server.billed, story
            assert server.billed <= 1 + told.counts["rejected"] + doubted, story
        at += 4
    assert at > 30
