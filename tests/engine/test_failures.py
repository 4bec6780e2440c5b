"""Failures by meaning, not by number."""

from __future__ import annotations

import pytest
from PIL import Image

from batcher.progress import Event, Snapshot
from batcher.sandbox import Faults, faults
from batcher.sandbox.faults import Route
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


@pytest.mark.parametrize(
    ("code", "message", "exit_code"),
    [
        (401, "Invalid API key", 5),
        (403, "Your account may not use this model", 5),
        (404, "Model not found", 5),
        (410, "Model retired", 5),
        (406, "Insufficient credits", 4),
        (406, "Team spend limit reached", 4),
    ],
)
async def test_what_concerns_the_account_or_the_model_stops_the_run_and_fails_no_task(
    harness: Harness, sandbox: MakeSandbox, code: int, message: str, exit_code: int
) -> None:
    script = Faults([faults.Status(route="submit", code=code, message=message, calls=range(5, 1000))])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(30, limits={"in_flight": 4})
        report = await harness.run(server, manifest)
        harness.check(report)
        assert report.exit_code == exit_code
        assert message in " ".join(report.causes)
        assert (report.counts["done"], report.counts["planned"], report.counts["failed"]) == (4, 26, 0)
    async with sandbox(service=5) as healed:
        harness.rows("UPDATE meta SET value = ? WHERE key = 'origin'", healed.url)
        report = await harness.run(healed, manifest)
        assert (report.exit_code, report.counts["done"]) == (0, 30)


@pytest.mark.parametrize("route", ["status", "result"])
async def test_an_empty_account_keeps_nobody_from_asking_for_what_is_paid(
    harness: Harness, sandbox: MakeSandbox, route: Route
) -> None:
    script = Faults([faults.Status(route=route, code=406, message="Insufficient credits", calls=[1, 2, 4])])
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(4))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 4, 4)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.Status(route="submit", code=400, message="bad prompt", calls=[2]),
         "REJECTED: HTTP 400: bad prompt"),
        (faults.Status(route="submit", code=406, message="Invalid content type", calls=[2]),
         "REJECTED: HTTP 406: Invalid content type"),
        (faults.Status(route="submit", code=500, message="boom", calls=[2]), "SERVER: boom"),
        (faults.Failed(error="CUDA out of memory", calls=[2]), "FAILED: CUDA out of memory"),
        (faults.Failed(error="blocked by RAI policy", calls=[2]), "FAILED: blocked by RAI policy"),
    ],
)  # fmt: skip
async def test_what_concerns_one_task_fails_that_task_and_the_rest_goes_on(
    harness: Harness, sandbox: MakeSandbox, fault: faults.Fault, reason: str
) -> None:
    async with sandbox(service=5, faults=Faults([fault])) as server:
        report = await harness.run(server, harness.manifest(4))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (3, 3, 1)
        assert report.failures == {reason: 1}
        assert harness.lines("errors.jsonl")[0]["reason"] == reason


async def test_a_failed_inference_is_submitted_again_as_often_as_asked_but_not_a_content_block(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults(
        [faults.Failed(error="node died", calls=[1, 4]), faults.Failed(error="NSFW content", calls=[2])]
    )
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(3, retry={"failed": 1}, limits={"in_flight": 1}))
        assert report.failures == {"FAILED: NSFW content": 1}
        assert (report.counts["done"], len(server.jobs)) == (2, 5)


async def test_ten_first_failures_alike_stop_the_run_before_it_burns_through_all(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Failed(error="no such scheduler")])) as server:
        report = await harness.run(server, harness.manifest(500, limits={"in_flight": 8}))
        assert report.exit_code == 5
        assert "no such scheduler" in " ".join(report.causes)
        assert report.counts["failed"] < 20
        assert report.counts["planned"] > 480


async def test_results_without_a_picture_fail_alike_whatever_they_hold_instead(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        job = harness.manifest(500, model="mock-inference", limits={"in_flight": 8})
        report = await harness.run(
            server, job.model_copy(update={"params": {"sleep": 1, "place": "{{ place }}"}})
        )
        assert report.exit_code == 5
        assert report.counts["failed"] < 20
        assert list(report.failures) == ["NO_PICTURE: the result has no picture in it, and is billed"]
        assert "COMPLETED" in harness.rows("SELECT detail FROM submissions WHERE outcome = 'completed'")[0][0]


@pytest.mark.parametrize("route", ["submit", "upload"])
async def test_an_hour_of_nothing_but_429s_ends_the_run_with_all_planned(
    harness: Harness, sandbox: MakeSandbox, route: Route
) -> None:
    photo = harness.folder / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    params = {"image": str(photo), "prompt": "a street in {{ place }}"}
    script = Faults([faults.Throttle(route=route, reset_in=60)])
    async with sandbox(service=5, faults=script) as server:
        began = harness.now()
        report = await harness.run(server, harness.manifest(3, params=params))
        harness.check(report)
        assert (report.exit_code, report.counts["planned"], server.billed) == (5, 3, 0)
        assert 3600 <= harness.now() - began <= 4000
        assert "let nothing pass for 60 minutes" in report.causes[0]


async def test_a_status_that_is_throttled_for_ever_ends_with_its_record_and_the_history_has_the_result(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Throttle(route="status", reset_in=60)])) as server:
        began = harness.now()
        report = await harness.run(server, harness.manifest(2, retry={"expired": "fail"}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 2, 2)
        assert 3600 + 600 <= harness.now() - began <= 3600 + 900


async def test_failed_tasks_are_submitted_again_only_when_asked(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Failed(error="bad luck", calls=[1])])) as server:
        manifest = harness.manifest(3)
        assert (await harness.run(server, manifest)).exit_code == 3
        assert (await harness.run(server, manifest)).exit_code == 3
        report = await harness.run(server, manifest, retry_failed=True)
        assert (report.exit_code, report.counts["done"], len(server.jobs)) == (0, 3, 4)


async def test_attempts_are_bounded_when_the_gateway_never_recovers_for_one_task(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Status(route="submit", code=502, calls=[1, 3, 5])])
    async with sandbox(service=5, faults=script) as server:
        manifest = harness.manifest(1, retry={"attempts": 2})
        report = await harness.run(server, manifest)
        assert (report.exit_code, report.counts["done"]) == (0, 1)
        assert harness.rows("SELECT attempts FROM tasks") == [(1,)]


async def test_a_service_that_is_down_for_a_minute_fails_nobody(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Down(since=8, until=68)])
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(60, limits={"rpm": 240}, retry={"attempts": 2}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"]) == (0, 60)
        assert server.billed == 60


@pytest.mark.parametrize(
    ("route", "said"), [("submit", "the API is down: "), ("upload", "the file storage is down: ")]
)
async def test_while_a_service_is_down_the_run_says_so(
    harness: Harness, sandbox: MakeSandbox, route: Route, said: str
) -> None:
    heard: set[str] = set()

    def hear(event: Event) -> None:
        if isinstance(event, Snapshot):
            heard.add(event.waiting.partition(said)[1])

    photo = harness.folder / "one.png"
    Image.new("RGB", (32, 32)).save(photo)
    script = Faults([faults.Cut(route=route, until=30)])
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(6, params={"image": str(photo)}), hear)
        assert (report.exit_code, report.counts["done"]) == (0, 6)
    assert said in heard


@pytest.mark.parametrize("code", [502, 503])
async def test_a_gateway_that_answers_for_a_dead_api_for_a_minute_fails_nobody(
    harness: Harness, sandbox: MakeSandbox, code: int
) -> None:
    script = Faults([faults.Status(route=["submit", "status", "result"], code=code, since=8, until=68)])
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(60, limits={"rpm": 240}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 60, 60)


async def test_after_ten_minutes_of_nothing_the_run_ends_and_the_rest_stays_planned(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Down(since=8)])
    async with sandbox(service=5, faults=script) as server:
        began = harness.now()
        report = await harness.run(server, harness.manifest(60, limits={"rpm": 240}, result_ttl="2m"))
        assert report.exit_code == 5
        assert report.counts["failed"] == 0
        assert report.counts["planned"] > 20
        assert harness.now() - began < 900


async def test_records_that_answer_404_for_two_seconds_are_not_gone(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=0.5, faults=Faults([faults.Hidden(delay=2.0)])) as server:
        report = await harness.run(server, harness.manifest(10))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 10, 10)
