"""A lock or a ledger that is taken away in mid-run: its holder stops at once, and no second run gets in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from batcher import errors
from batcher.progress import Event, StateChanged
from batcher.storage import layout
from batcher.task import State
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 12


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    aside = path.with_name("aside")
    shutil.copy(path, aside)
    aside.replace(path)


@pytest.mark.parametrize("taken", [removed, replaced])
@pytest.mark.parametrize("which", [layout.lock_path, layout.ledger_path])
async def test_its_holder_stops_at_once_and_no_post_leaves_any_more(
    harness: Harness,
    sandbox: MakeSandbox,
    taken: Callable[[Path], None],
    which: Callable[[Path], Path],
) -> None:
    path = which(harness.output)
    submits_then: list[int] = []

    async with sandbox(service=5) as server:

        def listener(event: Event) -> None:
            if isinstance(event, StateChanged) and event.target is State.DONE and not submits_then:
                submits_then.append(server.counts["submit"])
                taken(path)

        began = harness.now()
        with pytest.raises(errors.LockLost, match=path.name) as caught:
            await harness.run(server, harness.manifest(TASKS, limits={"in_flight": 2}), listener)
        assert caught.value.exit_code == 5
        assert harness.now() - began < 60
        assert server.counts["submit"] <= submits_then[0] + 1
        if which is layout.lock_path:
            report = await harness.run(server, harness.manifest(TASKS))
            harness.check(report)
            assert (report.exit_code, report.counts["done"], server.billed) == (0, TASKS, TASKS)


async def test_a_second_run_does_not_begin_beside_one_whose_lock_was_removed(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=5) as server:
        manifest = harness.manifest(TASKS, limits={"in_flight": 2})
        refusals: list[BaseException] = []

        async def second() -> None:
            await anyio.sleep(6)
            layout.lock_path(harness.output).unlink()
            with pytest.raises(errors.Locked) as caught:
                await harness.run(server, manifest)
            refusals.append(caught.value)

        async def first() -> None:
            with pytest.raises(errors.LockLost):
                await harness.run(server, manifest)

        async with anyio.create_task_group() as both:
            both.start_soon(first)
            both.start_soon(second)
        assert len(refusals) == 1
        report = await harness.run(server, manifest)
        harness.check(report)
        assert (report.exit_code, report.counts["done"], server.billed) == (0, TASKS, TASKS)
