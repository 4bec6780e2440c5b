"""The ledger against the statement: every credit is explained, or the difference is named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import anyio
import pytest

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import audit
from batcher.engine.audit_run import windows
from batcher.ledger import adoption, database
from batcher.ledger.database import SANDBOX_ORIGIN
from batcher.results.audit import Audit, Orphan
from batcher.sandbox import Faults, Sandbox, faults
from tests.support.crashing import dying
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


async def audited(
    harness: Harness, server: Sandbox, *, adopt: bool = False, warn: Callable[[str], None] = lambda text: None
) -> tuple[Audit, list[Orphan]]:
    account = Account(Endpoints(server.url, server.url, server.url), KEY)
    return await audit(harness.output, adopt=adopt, warn=warn, account=account, now=harness.now)


async def test_of_a_quiet_run_every_credit_is_explained(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(6, params={"samples": 2}, model="sd1.5-img2img"))
        found, adopted = await audited(harness, server)
    assert not adopted
    assert found.exit_code == 0
    told = found.as_json()
    assert told["job"] == "job"
    assert told["statement"] == told["delivered"]
    assert told["statement"]["requests"] == told["ledger"]["submissions"] == 6
    assert told["statement"]["credits"] == told["ledger"]["credits"] > 0
    assert (told["orphans"], told["differences"], told["unexplained"]) == ([], [], 0)


async def test_a_job_whose_answer_was_lost_is_an_orphan_with_its_task(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    lost = faults.Cut(route="submit", calls=[2, 4], accepted=True)
    async with sandbox(service=5, price=0.01, faults=Faults([lost])) as server:
        report = await harness.run(server, harness.manifest(6))
        assert (report.counts["done"], server.billed) == (6, 8)
        found, adopted = await audited(harness, server, adopt=True)
    told = found.as_json()
    assert found.exit_code == 3
    assert told["statement"] == {"requests": 8, "credits": 0.08}
    assert told["delivered"] == {"requests": 6, "credits": 0.06}
    assert len(told["orphans"]) == 2
    assert {orphan["cost"] for orphan in told["orphans"]} == {0.01}
    assert all(orphan["url"].startswith("http") for orphan in told["orphans"])
    assert {orphan["task"] for orphan in told["orphans"]} < {f"place {n}" for n in range(6)}
    assert told["unexplained"] == 0
    assert not adopted  # their tasks were paid for once more already


async def test_a_job_that_a_gateway_took_and_denied_is_an_orphan_of_the_task_that_was_paid_for_again(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    """A 502 is submitted again, as the provider says; what it cost all the same is explained."""
    script = Faults([faults.Status(route="submit", code=502, accepted=True, calls=[2])])
    async with sandbox(service=5, price=0.01, faults=script) as server:
        report = await harness.run(server, harness.manifest(6))
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 6, 7)
        assert report.cost["doubtful"] == 0.01
        found, adopted = await audited(harness, server, adopt=True)
    told = found.as_json()
    assert (found.exit_code, told["unexplained"], adopted) == (3, 0, [])
    assert told["statement"] == {"requests": 7, "credits": 0.07}
    assert [orphan["cost"] for orphan in told["orphans"]] == [0.01]


async def test_an_orphan_is_adopted_instead_of_paying_again(harness: Harness, sandbox: MakeSandbox) -> None:
    lost = faults.Cut(route="submit", calls=[2, 4], accepted=True)
    async with sandbox(service=5, price=0.01, faults=Faults([lost])) as server:
        held = harness.manifest(6, retry={"doubtful": "hold"})
        report = await harness.run(server, held)
        assert (report.exit_code, report.counts["doubtful"], server.billed) == (3, 2, 6)
        found, adopted = await audited(harness, server, adopt=True)
        assert len(found.orphans) == len(adopted) == 2
        assert harness.states() == {"done": 4, "ready": 2}
        report = await harness.run(server, held)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 6, 6)
        harness.check(report)
        again, _ = await audited(harness, server)
    assert again.exit_code == 0
    assert again.as_json()["delivered"] == {"requests": 6, "credits": 0.06}


async def test_a_held_task_whose_job_failed_is_named_for_it_may_be_sent_again_and_pays_once(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    lost = faults.Cut(route="submit", calls=[2, 4], accepted=True)
    failed = faults.Failed(route="submit", calls=[2, 5])
    async with sandbox(service=5, price=0.01, faults=Faults([lost, failed])) as server:
        await harness.run(server, harness.manifest(6, retry={"doubtful": "hold"}))
        assert harness.states() == {"done": 3, "doubtful": 2, "failed": 1}
        found, _ = await audited(harness, server)
    ((submission, request),) = found.unbilled
    assert submission.state == "doubtful"
    assert found.as_json()["unbilled"] == [{"request_id": request, "task": submission.name}]
    assert (found.failed.requests, len(found.orphans)) == (2, 1)
    assert submission.name != found.orphans[0].submission.name


async def test_an_answer_lost_before_it_was_a_job_costs_nothing(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, faults=Faults([faults.Cut(route="submit", calls=[3])])) as server:
        await harness.run(server, harness.manifest(6))
        found, _ = await audited(harness, server)
    assert (found.exit_code, found.no_job, found.statement.requests) == (0, 1, 6)


async def test_a_cost_that_is_told_differently_is_named(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(3))
        with closing(database.open_file(harness.output / ".batcher" / "ledger.sqlite")) as connection:
            connection.execute("UPDATE submissions SET cost = 7000 WHERE id = 2")
        found, _ = await audited(harness, server)
    (difference,) = found.as_json()["differences"]
    assert (difference["ledger"], difference["statement"]) == (0.007, 0.01)
    assert found.as_json()["unexplained"] == pytest.approx(0.003)
    assert found.exit_code == 3


async def test_another_jobs_requests_of_the_account_do_not_count(
    harness: Harness, sandbox: MakeSandbox, tmp_path: Any
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(3))
        (tmp_path / "other").mkdir()
        other = Harness(tmp_path / "other", harness.now)
        await other.run(server, other.manifest(5, params={"prompt": "a lane in {{ place }}"}))
        found, _ = await audited(harness, server)
    assert (found.exit_code, found.statement.requests) == (0, 3)


@pytest.mark.parametrize("at", [14, 20, 24, 30])
async def test_what_a_killed_run_left_in_flight_is_explained_and_its_lost_answers_come_home(
    harness: Harness, sandbox: MakeSandbox, at: int
) -> None:
    """Audited and adopted before the next run has looked at anything."""
    async with sandbox(service=5, price=0.01) as server:
        await killed(harness, server, at)
        await anyio.sleep(3600)
        found, adopted = await audited(harness, server, adopt=True)
        assert found.unexplained == 0
        assert found.statement.requests == server.billed
        assert found.in_flight.requests + found.delivered.requests + len(found.orphans) == server.billed
        assert len(adopted) == len(found.orphans) <= harness.states()["ready"]
        report = await harness.run(server, harness.manifest(6))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 6, 6)
        again, _ = await audited(harness, server)
        assert (again.exit_code, again.delivered.requests) == (0, 6)


async def killed(harness: Harness, server: Sandbox, at: int) -> None:
    with dying(at) as points:
        await harness.run(server, harness.manifest(6))
    assert points.dead


@pytest.mark.parametrize(
    "history",
    [
        [faults.RequestBodies(form="repr", defaults=True, wrapped="input")],
        [faults.RequestBodies(floats=True, form="json"), faults.ModelTitles()],
        [faults.SkewedStamps(by=330 * 60, zone=False), faults.PageCap(rows=3)],
        [faults.TeammateRows(count=2)],
    ],
)
async def test_orphans_are_known_in_every_form_in_which_the_history_tells_them(
    harness: Harness, sandbox: MakeSandbox, history: list[faults.Fault]
) -> None:
    lost = faults.Cut(route="submit", calls=[2, 4], accepted=True)
    refused = faults.Cut(route="submit", calls=[5])
    async with sandbox(service=5, price=0.01, faults=Faults([lost, refused, *history])) as server:
        params = {"prompt": "a street, isn't it, in {{ place }}", "strength": 1}
        held = harness.manifest(8, params=params, retry={"doubtful": "hold"})
        await harness.run(server, held)
        found, adopted = await audited(harness, server, adopt=True)
        assert (len(found.orphans), found.no_job, found.unknown, found.unexplained) == (2, 1, 0, 0)
        assert {orphan.request_id for orphan in adopted} <= server.jobs.keys()
        assert harness.states() == {"done": 5, "ready": 2, "doubtful": 1}


async def test_where_a_row_cannot_be_compared_a_lost_answer_is_not_said_to_be_no_job(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = [
        faults.Cut(route="submit", calls=[2], accepted=True),
        faults.RequestBodies(delay=1e6),
    ]
    async with sandbox(service=5, price=0.01, faults=Faults(script)) as server:
        await harness.run(server, harness.manifest(4, retry={"doubtful": "hold"}))
        found, _ = await audited(harness, server)
    assert (found.orphans, found.no_job, found.unknown) == ([], 0, 1)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.Status(route="history", code=404), "404"),
        (faults.Html(route="history"), "history"),
        (faults.Status(route="history", code=403), "cannot be asked"),
        (faults.Status(route="history", code=503), "does not answer"),
    ],
)
async def test_without_a_history_there_is_no_statement_and_the_sentence_says_so(
    harness: Harness, sandbox: MakeSandbox, fault: faults.Fault, said: str
) -> None:
    async with sandbox(service=5, faults=Faults([fault])) as server:
        await harness.run(server, harness.manifest(2))
        with pytest.raises(errors.NoStatement, match=said) as caught:
            await audited(harness, server)
    assert caught.value.exit_code == 5


async def test_what_the_statement_does_not_show_yet_is_told(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5, price=0.01, faults=Faults([faults.LateRows(delay=300)])) as server:
        await harness.run(server, harness.manifest(2))
        told: list[str] = []
        found, _ = await audited(harness, server, warn=told.append)
        assert (found.exit_code, len(found.differences)) == (3, 2)
        assert sum("not shown" in sentence for sentence in told) == 2
        await anyio.sleep(600)
        found, _ = await audited(harness, server)
        assert found.exit_code == 0


async def test_rows_that_appear_within_a_minute_are_waited_for(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5, price=0.01, faults=Faults([faults.LateRows(delay=60)])) as server:
        await harness.run(server, harness.manifest(3))
        found, _ = await audited(harness, server)
        assert (found.exit_code, found.delivered.requests) == (0, 3)


async def test_an_adoption_that_is_refused_moves_nothing(harness: Harness, sandbox: MakeSandbox) -> None:
    """What became of its POST was settled between the look and the adoption."""
    lost = faults.Cut(route="submit", calls=[2], accepted=True)
    async with sandbox(service=5, price=0.01, faults=Faults([lost])) as server:
        await harness.run(server, harness.manifest(3, retry={"doubtful": "hold"}))
        found, _ = await audited(harness, server)
    (orphan,) = found.orphans
    with closing(database.open_file(harness.output / ".batcher" / "ledger.sqlite")) as connection:
        settled = "UPDATE submissions SET outcome = 'lost' WHERE id = ?"
        connection.execute(settled, (orphan.submission.id,))
        asked = (orphan.submission.task, orphan.submission.id, orphan.request_id, orphan.cost, orphan.urls)
        assert not adoption.adopt(connection, *asked, harness.now())
    assert harness.states() == {"done": 2, "doubtful": 1}
    assert harness.rows("SELECT count(*) FROM files WHERE task = ?", orphan.submission.task) == [(0,)]


async def test_what_an_embedded_sandbox_made_is_refused_with_the_reason(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        await harness.run(server, harness.manifest(1))
        with closing(database.open_file(harness.output / ".batcher" / "ledger.sqlite")) as connection:
            database.set_meta(connection, "origin", SANDBOX_ORIGIN)
        with pytest.raises(errors.UsageError, match="embedded sandbox"):
            await audited(harness, server)


async def test_before_any_run_there_is_nothing_to_audit(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox() as server:
        with pytest.raises(errors.UsageError, match="nothing was run yet"):
            await audited(harness, server)


def test_windows_have_31_days_at_most_and_no_gap() -> None:
    day = 86_400.0
    spans = windows(0.0, 70 * day)
    assert spans == [
        ("1970-01-01", "1970-01-31"),
        ("1970-02-01", "1970-03-03"),
        ("1970-03-04", "1970-03-12"),
    ]
