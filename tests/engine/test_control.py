"""A run is talked to: paused, resumed, given another limit, and what holds for the runs after it."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import Any

import anyio
import pytest
import yaml

from batcher.cli import ended
from batcher.engine import load
from batcher.job.manifest import Limits
from batcher.ledger import controls, database
from batcher.ledger.controls import SetLimit, still_held
from batcher.progress import Event, Finished, Message, Snapshot, closing_text, summary
from batcher.results import report, run_control
from batcher.sandbox import Sandbox
from batcher.storage import layout
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


async def said(*arguments: str) -> int:
    """A command in a thread: a run in this loop goes on meanwhile."""
    return await asyncio.to_thread(ended, [*arguments])


def texts(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Message)]


def changed(harness: Harness, **limits: Any) -> Any:
    """The manifest with other limits."""
    path = harness.folder / "job.yaml"
    data = yaml.safe_load(path.read_text())
    return harness.manifest(20, limits=data["limits"] | limits)


@pytest.mark.parametrize("rpm", [60, "none"])
@pytest.mark.parametrize("in_flight", [1, 50])
async def test_a_pause_lets_nothing_leave_and_everything_come_home(
    harness: Harness, sandbox: MakeSandbox, rpm: Any, in_flight: int
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5) as server:
        job = harness.manifest(20, limits={"rpm": rpm, "in_flight": in_flight})
        if rpm == "none":
            server_submits = 0

        async def paused_for_a_while() -> None:
            nonlocal server_submits
            await anyio.sleep(0.2 if in_flight == 50 and rpm == "none" else 5)
            assert await said("pause", str(harness.output)) == 0
            await anyio.sleep(1.0)
            server_submits = server.counts["submit"]
            await anyio.sleep(100)
            assert server.counts["submit"] == server_submits
            stands = report.of_folder(harness.output, now=0.0)
            if stands.counts["planned"]:
                assert stands.state == "paused"
                assert stands.counts["submitted"] == stands.counts["ready"] == 0
                (last,) = [event for event in heard if isinstance(event, Snapshot)][-1:]
                assert (last.paused, last.waiting[:13]) == (True, "paused since ")
                assert last.waiting.endswith(f"; `batcher resume {harness.output}` goes on")
                assert (last.eta_low, last.eta_high) == (None, None)
                assert summary.left(last) == "not known while it is paused"
            assert await said("resume", str(harness.output)) == 0

        server_submits = 0
        async with anyio.create_task_group() as beside:
            beside.start_soon(paused_for_a_while)
            result = await harness.run(server, job, heard.append)
        harness.check(result)
        assert (result.exit_code, result.counts["done"], server.billed) == (0, 20, 20)
        assert "resumed: submits go on" in texts(heard) or server_submits == 20


async def test_a_pause_survives_the_process_and_a_stop_ends_the_wait(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5) as server:
        job = harness.manifest(6)
        assert (await harness.run(server, job, limit=2)).counts["planned"] == 4
        assert await said("pause", str(harness.output), "--json") == 0
        assert json.loads(capsys.readouterr().out)["state"] == "paused"
        bounded = harness.manifest(6, limits={"max_duration": "60s"})
        waited = await harness.run(server, bounded, heard.append)
        assert (waited.exit_code, waited.state, waited.counts["planned"]) == (10, "paused", 4)
        (finished,) = [event for event in heard if isinstance(event, Finished)]
        told = [line.text for line in closing_text.closing(finished, command="batcher run g.yaml")]
        assert f"4 tasks are left: `batcher resume {harness.output}`; then the same command goes on" in (
            "\n".join(told)
        )
        assert waited.causes[0].startswith("paused since ")
        assert f"`batcher resume {harness.output}` goes on" in waited.causes[0]
        assert "max_duration of 60 s" in waited.causes[1]
        assert texts(heard)[0].startswith("paused since ")
        assert await said("resume", str(harness.output)) == 0
        assert (await harness.run(server, job)).exit_code == 0


async def test_a_paused_run_with_nothing_left_to_submit_ends(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        job = harness.manifest(3)
        await harness.run(server, job, limit=1)
        assert await said("pause", str(harness.output)) == 0
        assert (await harness.run(server, job, limit=0)).exit_code == 0
        assert await said("resume", str(harness.output)) == 0
        assert (await harness.run(server, job)).state == "finished"
        assert await said("pause", str(harness.output)) == 0
        assert (await harness.run(server, job)).state == "finished"


async def while_it_runs(harness: Harness, server: Sandbox, job: Any, *words: str) -> tuple[Any, list[Event]]:
    """A run to which a command is said after 10 s."""
    heard: list[Event] = []

    async def speak() -> None:
        await anyio.sleep(10)
        assert await said("set", str(harness.output), *words) == 0

    async with anyio.create_task_group() as beside:
        beside.start_soon(speak)
        result = await harness.run(server, job, heard.append)
    return result, heard


async def test_a_rate_that_is_set_holds_within_a_second(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=1) as server:
        job = harness.manifest(40, limits={"rpm": 60, "in_flight": 50})
        began = asyncio.get_running_loop().time()
        result, heard = await while_it_runs(harness, server, job, "limits.rpm=600")
        assert (result.exit_code, server.billed) == (0, 40)
        assert asyncio.get_running_loop().time() - began < 22
        assert "limits.rpm: 60 -> 600, by `batcher set`" in texts(heard)


async def test_more_money_is_taken_over_and_never_more_than_that(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2, price=0.01) as server:
        job = harness.manifest(40, limits={"rpm": 60, "max_cost": 0.30})
        result, _ = await while_it_runs(harness, server, job, "limits.max_cost=0.15")
        assert (result.exit_code, result.counts["done"], server.billed) == (4, 15, 15)
        assert await said("set", str(harness.output), "limits.max_cost=0.20") == 0
        result = await harness.run(server, job)
        assert (result.exit_code, server.billed) == (4, 20)


@pytest.mark.parametrize("key", ["max_cost", "max_cost_per.day", "max_cost_per.month"])
@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_a_first_bound_on_money_holds_for_all_that_waits_for_its_turn(
    harness: Harness, sandbox: MakeSandbox, key: str, api: str
) -> None:
    async with sandbox(service=2, price=0.01) as server:
        job = harness.manifest(40, api=api, limits={"rpm": 60})
        result, _ = await while_it_runs(harness, server, job, f"limits.{key}=0.155")
        assert (result.exit_code, result.counts["done"], server.billed) == (4, 15, 15)
        (cause,) = result.causes
        assert f"{key} allows 0.155" in cause
        harness.check(result)


@pytest.mark.parametrize("before", ["none", 0.40])
async def test_less_than_is_spent_already_lets_nothing_more_leave(
    harness: Harness, sandbox: MakeSandbox, before: Any
) -> None:
    async with sandbox(service=2, price=0.01) as server:
        limits = {"rpm": 60} | ({} if before == "none" else {"max_cost": before})
        result, _ = await while_it_runs(
            harness, server, harness.manifest(40, limits=limits), "limits.max_cost=0.02"
        )
        assert result.exit_code == 4
        assert 9 <= server.billed <= 12  # a call a second, and `set` is noticed within one
        assert result.counts["done"] == server.billed


async def test_fewer_in_flight_are_taken_over(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, sigma=0) as server:
        job = harness.manifest(60, limits={"rpm": 600, "in_flight": 20})
        result, heard = await while_it_runs(harness, server, job, "limits.in_flight=2")
        assert result.exit_code == 0
        snapshots = [event for event in heard if isinstance(event, Snapshot) and event.elapsed > 20]
        assert snapshots
        assert max(snapshot.in_flight for snapshot in snapshots) <= 2


async def test_what_was_set_holds_for_later_runs_until_the_manifest_says_another_value(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=1) as server:
        harness.manifest(20, limits={"rpm": 60, "in_flight": 50})
        await harness.run(server, changed(harness), limit=1)
        assert await said("set", str(harness.output), "limits.rpm=120") == 0
        assert capsys.readouterr().out.splitlines()[0] == "limits.rpm: 60 -> 120"
        assert await said("set", str(harness.output), "limits.rpm=240") == 0
        assert capsys.readouterr().out.splitlines()[0] == "limits.rpm: 120 -> 240"
        heard: list[Event] = []
        await harness.run(server, changed(harness), heard.append, limit=1)
        assert texts(heard)[0] == "limits.rpm is 240, as `batcher set` said; the manifest says 60"
        assert [event.rpm_configured for event in heard if isinstance(event, Snapshot)][-1] == 240
        heard.clear()
        await harness.run(server, changed(harness, rpm=90), heard.append, limit=1)
        said_once = "limits.rpm is 90: the manifest was changed since `batcher set` said 240"
        assert texts(heard)[0] == said_once
        heard.clear()
        await harness.run(server, changed(harness, rpm=90), heard.append, limit=1)
        assert texts(heard) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("limits.rmp=9", "what can be set is limits.rpm, limits.max_cost, limits.in_flight"),
        ("rpm=9", "what can be set is"),
        ("limits.rpm", "what can be set is"),
        ("limits.rpm=0", "must be above 0"),
        ("limits.max_cost=-3", "limits.max_cost"),
        ("limits.max_cost=nothing", "limits.max_cost"),
        ("limits.in_flight=many", "limits.in_flight"),
        ("limits.rpm=[", "limits.rpm"),
    ],
)
async def test_what_no_manifest_could_say_is_refused_and_changes_nothing(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str], words: str, text: str
) -> None:
    async with sandbox(service=1) as server:
        await harness.run(server, harness.manifest(2), limit=1)
    assert await said("set", str(harness.output), "limits.max_cost=5", words) == 2
    assert text in capsys.readouterr().err
    assert harness.rows("SELECT value FROM meta WHERE key = 'limits'") == []


async def test_two_limits_that_are_set_at_once_both_hold(
    harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(1))
    output = harness.output
    run_control.set_limits(output, ["limits.max_cost=5"])
    noted = controls.set_limits

    def late(*args: Any) -> Any:
        monkeypatch.setattr(controls, "set_limits", noted)
        assert run_control.set_limits(output, ["limits.max_cost=9"]) == {"max_cost": (5.0, 9.0)}
        return noted(*args)

    monkeypatch.setattr(controls, "set_limits", late)
    assert run_control.set_limits(output, ["limits.rpm=60"]) == {"rpm": (6000, 60)}
    with closing(database.open_for_reading(layout.ledger_path(output))) as connection:
        assert {key: one.value for key, one in controls.limits(connection).items()} == {
            "max_cost": 9.0,
            "rpm": 60,
        }


@pytest.mark.parametrize("key", ["max_cost", "max_cost_per.day", "max_cost_per.month"])
async def test_none_takes_a_bound_on_money_away_as_set_itself_writes_it(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    async with sandbox(service=1, price=0.01) as server:
        job = harness.manifest(4, limits={"max_cost": 0.02, "max_cost_per": {"day": 0.02, "month": 0.02}})
        await harness.run(server, job, limit=1)
        assert await said("set", str(harness.output), f"limits.{key}=none") == 0
        assert capsys.readouterr().out.splitlines()[0] == f"limits.{key}: 0.02 -> none"
        others = {"max_cost", "max_cost_per.day", "max_cost_per.month"} - {key}
        assert await said("set", str(harness.output), *(f"limits.{one}=none" for one in others)) == 0
        assert (await harness.run(server, job)).exit_code == 0


async def test_plan_and_status_tell_what_was_set_and_plan_reckons_with_it(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    job = str(harness.folder / "job.yaml")
    async with sandbox(service=1, price=0.01) as server:
        manifest = harness.manifest(20, limits={"rpm": 60, "max_cost_per": {"day": 0.10}})
        await harness.run(server, manifest, limit=1)
    words = ("limits.rpm=7", "limits.max_cost_per.day=5", "limits.max_cost=9", "limits.in_flight=3")
    assert await said("set", str(harness.output), *words) == 0
    capsys.readouterr()
    for command in (("plan", job), ("run", "-n", job)):
        assert await said(*command) == 0
        shown = capsys.readouterr().out
        assert "7 calls a minute, at most 3 in flight, at most 9 credits" in shown
        assert ", of which the limit counts the 19 submits" in shown
        assert "of 5 credits are left today" in shown
        assert "limits.rpm is 7, as `batcher set` said; the manifest says 60" in shown
    assert await said("plan", job, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["budget"]["day"]["limit"], found["estimate"]["seconds"] > 120) == (5, True)
    assert await said("status", job) == 0
    assert "limits.rpm 7, limits.max_cost_per.day 5, limits.max_cost 9, limits.in_flight 3" in (
        capsys.readouterr().out
    )
    assert await said("plan", job, "--set", "limits.rpm=90") == 0
    shown = capsys.readouterr().out
    assert "limits.rpm is 90 this time, as the command line says; without that it is 7, as" in shown
    assert "90 calls a minute" in shown


async def test_what_is_typed_holds_for_this_run_and_what_was_set_for_the_next_one(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    job = harness.folder / "job.yaml"
    heard: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Message) and "limits." in event.text:
            heard.append(event.text)

    async with sandbox(service=1, price=0.01) as server:
        harness.manifest(20, limits={"max_cost": 0.10})
        await harness.run(server, load(job), limit=1)
        assert await said("set", str(harness.output), "limits.max_cost=0.08") == 0
        # Typed as the manifest says it, and otherwise.
        for typed in (0.03, 0.10):
            heard.clear()
            told = load(job, overrides=[f"limits.max_cost={typed}"])
            ended_so = await harness.run(server, told, hear, limit=4 if typed == 0.10 else None)
            assert ended_so.exit_code == (0 if typed == 0.10 else 4)
            assert heard == [
                f"limits.max_cost is {typed:g} this time, as the command line says; without that it is 0.08, "
                "as `batcher set` said"
            ]
        assert ended_so.cost["spent"] == pytest.approx(0.07)
        assert report.of_folder(harness.output, now=0.0).set_limits == ()
        heard.clear()
        ended_so = await harness.run(server, load(job), hear)
        assert heard == ["limits.max_cost is 0.08, as `batcher set` said; the manifest says 0.1"]
        assert (ended_so.exit_code, ended_so.cost["spent"]) == (4, 0.08)
        assert report.of_folder(harness.output, now=0.0).set_limits == ("limits.max_cost 0.08",)


async def test_what_is_set_beside_a_run_goes_before_what_was_typed_for_it(
    harness: Harness, sandbox: MakeSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(40), limit=1)
        assert await said("set", str(harness.output), "limits.rpm=60") == 0
        typed = load(harness.folder / "job.yaml", overrides=["limits.rpm=2", "limits.metered=submits"])
        capsys.readouterr()
        async with anyio.create_task_group() as group:
            group.start_soon(harness.run, server, typed)
            await anyio.sleep(100)
            assert len(server.jobs) < 8
            assert await said("set", str(harness.output), "limits.rpm=60") == 0
            assert "limits.rpm: 2 -> 60" in capsys.readouterr().out
            began = harness.now()
        assert harness.now() - began < 80
        # Whatever the manifest says beside what was typed: it was not known when this was set.
        heard: list[Event] = []
        await harness.run(server, load(harness.folder / "job.yaml"), heard.append)
        assert "limits.rpm is 60, as `batcher set` said; the manifest says 6000" in texts(heard)


@pytest.mark.parametrize("option", ["--rpm", "--max-duration"])
async def test_a_wrong_option_is_named_as_it_was_typed(
    harness: Harness, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    harness.manifest(2)
    assert await said("run", str(harness.folder / "job.yaml"), option, "-1") == 2
    told = capsys.readouterr().err
    assert f"{option} -1" in told
    assert "--set" not in told


def test_a_limit_holds_while_the_manifest_says_what_it_said() -> None:
    noted = {"rpm": SetLimit(120, 60), "max_cost": SetLimit(None, 3), "in_flight": SetLimit(4, None)}
    assert still_held(Limits(rpm=60, max_cost=3), noted) == noted
    assert still_held(Limits(rpm=61, max_cost=4, in_flight=9), noted) == {}
