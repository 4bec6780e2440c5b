"""Three runs of one account. One of them is killed or cancelled, or the account's file refuses it, at any of
its writes: nothing dead is counted, no budget exceeded, no slot taken too early, and the others go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import anyio
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.api.pacing import Slot
from batcher.ledger import spending
from batcher.ledger.account_file import AccountFile, Amounts
from batcher.ledger.totals import credits
from batcher.results.report import Report
from batcher.sandbox import Sandbox
from batcher.storage import user_state
from tests.support.crashing import dies
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox
from tests.support.struck_account import AccountPoints, refusal

TASKS, PRICE, CAP = 6, 0.01, 0.09
"""Of each of three jobs: half of what they want in all is paid for."""
UNSEEN = 1
"""Whoever can never write, and was there first, has sent so many before it reads of the others."""
RPM = 60.0
SAMPLES = 8
"""So many points are tried for each misfortune: the first, the last, and evenly between."""
REFUSED_SECONDS = 8.0
MISFORTUNES = (
    "killed",
    "cancelled",
    "cancelled while busy",
    "busy",
    "full once",
    "read-only",
)


class Scene:
    """Three jobs of one account, the first of which is the victim."""

    def __init__(self, harness: Harness, server: Sandbox, name: str) -> None:
        self.server = server
        self.reports: dict[int, Report] = {}
        self.jobs = [Harness(harness.folder / name / f"job-{n}", harness.now) for n in range(3)]
        for job in self.jobs:
            job.folder.mkdir(parents=True)

    async def run(self, number: int) -> None:
        limits = {"rpm": RPM, "metered": "submits", "max_cost_per": {"day": CAP}}
        job = self.jobs[number]
        self.reports[number] = await job.run(self.server, job.manifest(TASKS, price=PRICE, limits=limits))

    async def together(self, points: AccountPoints, misfortune: str) -> None:
        """All three, until none goes on."""
        scope = anyio.CancelScope()
        points.befalls, points.goes_on = befalling(misfortune, points, scope)

        async def victim() -> None:
            with scope:
                try:
                    await points.victim(self.run, 0)
                except BaseException as error:
                    if not dies(error):
                        raise

        async with anyio.create_task_group() as group:
            for one in (victim, lambda: self.run(1), lambda: self.run(2)):
                group.start_soon(one)
                await anyio.sleep(0.05)

    @property
    def path(self) -> str:
        url = self.server.url
        return str(user_state.account_path(Account(Endpoints(url, url, url), KEY).name))

    @property
    def is_entered(self) -> bool:
        """Whether the file has ever heard of the victim."""
        with closing(sqlite3.connect(self.path)) as connection:
            folders = connection.execute("SELECT folder FROM jobs").fetchall()
        return (str(self.jobs[0].output),) in folders

    def in_file(self) -> dict[str, Amounts]:
        """What each job has of the day, by its folder."""
        query = "SELECT j.folder, s.spent, s.reserved, s.unsure FROM spending s JOIN jobs j ON j.id = s.job"
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(query).fetchall()
        return {folder: Amounts(*amounts) for folder, *amounts in rows if any(amounts)}

    def in_ledgers(self) -> dict[str, Amounts]:
        """The same by the jobs themselves."""
        found = {}
        for job in self.jobs:
            if (path := job.output / ".batcher" / "ledger.sqlite").exists():
                found |= {
                    str(job.output): amounts
                    for amounts in spending.of_ledger(path, 0).values()
                    if any(amounts)
                }
        return found


def befalling(misfortune: str, points: AccountPoints, scope: anyio.CancelScope):
    """What happens at the chosen point, and at each later one."""
    began: list[float] = []

    def nothing() -> None:
        return

    def busy() -> None:
        began.append(anyio.current_time())
        if anyio.current_time() < began[0] + REFUSED_SECONDS:
            raise refusal(sqlite3.SQLITE_BUSY)

    def cancelled_while_busy() -> None:
        scope.cancel()
        raise refusal(sqlite3.SQLITE_BUSY)

    def full() -> None:
        raise refusal(sqlite3.SQLITE_FULL)

    def read_only() -> None:
        raise refusal(sqlite3.SQLITE_READONLY)

    return {
        "killed": (points.die, nothing),
        "cancelled": (scope.cancel, nothing),
        "cancelled while busy": (cancelled_while_busy, nothing),
        "busy": (busy, busy),
        "full once": (full, nothing),
        "read-only": (read_only, read_only),
    }[misfortune]


def assert_within_rate(slots: Sequence[float], story: str) -> None:
    """No window holds more slots than the rate, and one that may be made good."""
    times = sorted(slots)
    for first, begin in enumerate(times):
        for last in range(first + 1, len(times)):
            assert last - first <= (times[last] - begin + 0.05) * RPM / 60 + 1e-6, story


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of the slots that the file's row gave and nobody gave back."""
    given: list[float] = []
    take, give_back = AccountFile.take, AccountFile.give_back

    def taken(file: AccountFile, *arguments: object, **more: object) -> Slot:
        slot = take(file, *arguments, **more)  # type: ignore[arg-type]
        given.append(slot.at)
        return slot

    def given_back(file: AccountFile, slot: Slot) -> None:
        give_back(file, slot)
        given.remove(slot.at)

    monkeypatch.setattr(AccountFile, "take", taken)
    monkeypatch.setattr(AccountFile, "give_back", given_back)
    return given


async def number_of_points(harness: Harness, sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch) -> int:
    points = AccountPoints(None)
    async with sandbox(service=5, sigma=0, price=PRICE) as server:
        with monkeypatch.context() as patch:
            points.watch(patch)
            patch.setenv("XDG_STATE_HOME", str(harness.folder / "state"))
            scene = Scene(harness, server, "none")
            await scene.together(points, "killed")
            assert scene.in_file() == scene.in_ledgers()
            assert server.spent == pytest.approx(CAP)
    return points.passed


def samples(number: int) -> list[int]:
    return sorted({round(n * (number - 1) / (SAMPLES - 1)) for n in range(SAMPLES)})


@pytest.mark.parametrize("misfortune", MISFORTUNES)
async def test_whatever_befalls_one_run_at_its_account_file_no_budget_is_exceeded_and_the_others_go_on(
    harness: Harness,
    sandbox: MakeSandbox,
    monkeypatch: pytest.MonkeyPatch,
    slots: list[float],
    misfortune: str,
) -> None:
    number = await number_of_points(harness, sandbox, monkeypatch)
    assert number > 60
    for at in samples(number):
        story = f"{misfortune} at point {at} of {number}"
        slots.clear()
        async with sandbox(service=5, sigma=0, price=PRICE) as server:
            with monkeypatch.context() as patch:
                patch.setenv("XDG_STATE_HOME", str(harness.folder / f"state-{at}"))
                points, scene = AccountPoints(at), Scene(harness, server, f"at-{at}")
                points.watch(patch)
                await scene.together(points, misfortune)
                assert points.is_reached, story
                unseen = misfortune == "read-only" and not scene.is_entered
                cap = round(CAP + (UNSEEN * PRICE if unseen else 0), 6)
                assert server.spent <= cap + 1e-9, story
                assert {scene.reports[n].exit_code for n in (1, 2)} <= {0, 4}, story
                assert_within_rate(slots, story)
                # What may be billed, and nothing else, is counted; and all that is left was used.
                if misfortune != "read-only":
                    assert scene.in_file() == scene.in_ledgers(), story
                assert CAP <= committed(scene) <= cap, story
            with monkeypatch.context() as patch:
                patch.setenv("XDG_STATE_HOME", str(harness.folder / f"state-{at}"))
                await scene.run(0)
                scene.jobs[0].check(scene.reports[0])
                assert scene.reports[0].exit_code in (0, 4), story
                assert scene.in_file() == scene.in_ledgers(), story
                assert server.spent <= cap + 1e-9, story
                assert CAP <= committed(scene) <= cap, story


def committed(scene: Scene) -> float:
    """Credits that the jobs know to be spent, or perhaps spent."""
    return credits(sum(map(sum, scene.in_ledgers().values())))
