"""A run that pays and delivers nothing stops itself within a dozen, and so does the next one with a probe."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.progress import Event, Snapshot
from batcher.sandbox import Faults, faults
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox
from tests.support.scripted_api import PNG, Api, Whole

TASKS = 120
NOT_FOUND = Whole(b"HTTP/1.1 404 Not Found\r\n", b"no such file")
OUT_OF_ORDER = Whole(b"HTTP/1.1 503 Out Of Order\r\n", b"")
RUBBISH = b"\x00\x01\xfe\xff" * 64
PAGE = b"<html>please log in</html>"
ONE_BY_ONE: dict[str, Any] = {"limits": {"in_flight": 1}}


class Files(Api):
    """Its file host gives `said` to everybody, until `healed`."""

    def __init__(self, said: Any, *, healed_in: int = 99) -> None:
        super().__init__()
        self.said = said
        self.healed_in = healed_in
        self.healed = False

    def begins(self, run: int, harness: Harness) -> None:
        self.healed = run >= self.healed_in

    def file(self, path: str) -> Any:
        return PNG if self.healed else self.said


class Refused(Files):
    """Its file host cannot be connected to."""

    def told(self, path: str) -> Any:
        said = super().told(path)
        return said if self.healed else {**said, "output": f"http://127.0.0.1:1{path}.png"}


BAD = {"404": NOT_FOUND, "503": OUT_OF_ORDER, "a page": PAGE, "nothing": b"", "rubbish": RUBBISH,
       "half": PNG[: len(PNG) // 2]}  # fmt: skip


@pytest.mark.parametrize("name", [*BAD, "refused"])
@pytest.mark.parametrize("in_flight", [1, 8])
async def test_a_dozen_are_paid_for_and_one_more_by_each_further_run(
    harness: Harness, name: str, in_flight: int
) -> None:
    api = Refused(b"") if name == "refused" else Files(BAD[name])
    first, second, third = await api.serve(harness, TASKS, runs=3, limits={"in_flight": in_flight})
    assert [report.exit_code for report in (first, second, third)] == [5, 5, 5]
    assert api.submits <= 11 + 2
    assert third.counts["ready"] + third.counts["failed"] == api.submits
    assert "paid" in first.causes[0] or "UNDECODABLE" in first.causes[0]
    assert second.causes[0].startswith("NO_FILES: no file of the last ")
    harness.check(third)


async def test_what_the_file_host_sends_and_no_decoder_reads_ends_and_says_so(harness: Harness) -> None:
    (report,) = await Files(RUBBISH).serve(harness, 2)
    assert (report.exit_code, report.counts["failed"]) == (3, 2)
    assert list(report.failures) == [
        "UNDECODABLE: the file is not a picture; it is billed, and comes the same at every try"
    ]
    assert report.cost["spent"] == 0.02


async def test_bytes_that_differ_from_try_to_try_wait_for_the_next_run(harness: Harness) -> None:
    class Torn(Files):
        tries = 0

        def file(self, path: str) -> Any:
            self.tries += 1
            return PNG if self.healed else RUBBISH * self.tries

    first, second = await Torn(b"", healed_in=1).serve(harness, 2, runs=2)
    assert (first.exit_code, first.counts["ready"]) == (5, 2)
    assert (second.exit_code, second.counts["done"]) == (0, 2)


@pytest.mark.parametrize("name", ["404", "a page", "refused"])
async def test_once_files_come_the_same_command_goes_on_without_a_probe(harness: Harness, name: str) -> None:
    class Told(Files):
        def begins(self, run: int, harness: Harness) -> None:
            super().begins(run, harness)
            self.submits_before = self.submits

    api = Told(BAD.get(name), healed_in=1) if name != "refused" else Refused(b"", healed_in=1)
    first, second = await api.serve(harness, 30, runs=2, **ONE_BY_ONE)
    if name == "refused":
        assert second.counts["done"] >= 19  # the links of the first run stay what they were
        return
    assert (first.exit_code, second.exit_code, second.counts["done"], api.submits) == (5, 0, 30, 30)


async def test_before_the_first_file_came_no_more_than_ten_are_paid_for_however_slow_it_is(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[int] = []
    waiting: set[str] = set()

    def hear(event: Event) -> None:
        if isinstance(event, Snapshot) and not event.delivered:
            waiting.add(event.waiting)
            heard.append(sum(event.counts[state] for state in ("submitted", "ready", "failed")))

    script = Faults([faults.SlowBody(delay=25)])
    async with sandbox(service=1, sigma=0, faults=script) as server:
        report = await harness.run(server, harness.manifest(40, limits={"in_flight": 2}), hear)
        harness.check(report)
        assert (report.exit_code, server.billed) == (0, 40)
    assert max(heard) == 10
    assert "waiting for the first file before more is paid for" in waiting


async def test_a_hundred_in_a_row_are_borne_once_a_hundred_were_delivered(harness: Harness) -> None:
    class Breaks(Files):
        def file(self, path: str) -> Any:
            return PNG if int(path.partition(".")[0].rpartition("/")[2]) <= 150 else NOT_FOUND

    api = Breaks(b"")
    (report,) = await api.serve(harness, 400, limits={"in_flight": 4})
    assert (report.exit_code, report.counts["done"]) == (5, 150)
    assert 100 < report.counts["ready"] <= 105


async def test_a_file_host_that_is_away_for_a_while_pauses_submits_and_costs_nothing(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    script = Faults([faults.Status(route="download", code=503, since=20, until=23)])
    async with sandbox(service=2, faults=script) as server:
        report = await harness.run(server, harness.manifest(200, limits={"rpm": 600}))
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, 200, 200)


async def test_a_bad_picture_now_and_then_is_no_row(harness: Harness) -> None:
    class Odd(Files):
        def file(self, path: str) -> Any:
            return RUBBISH if int(path.partition(".")[0].rpartition("/")[2]) % 2 else PNG

    (report,) = await Odd(b"").serve(harness, 60)
    assert (report.exit_code, report.counts["done"], report.counts["failed"]) == (3, 30, 30)


async def test_results_without_a_picture_count_in_later_runs_too(harness: Harness) -> None:
    class Empty(Api):
        def told(self, path: str) -> Any:
            return {**super().told(path), "output": None}

    api = Empty()
    first, second = await api.serve(harness, 60, runs=2, **ONE_BY_ONE)
    assert (first.exit_code, second.exit_code, api.submits) == (5, 5, 11)
    assert "NO_PICTURE" in second.causes[0]
