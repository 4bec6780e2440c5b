"""What a run tells of its tasks at its start, in the words of `plan`; and the counts of a part."""

from __future__ import annotations

import anyio

from batcher.engine import outlook, run
from batcher.engine.options import RunOptions
from batcher.progress import Event, Finished, Snapshot, Started
from batcher.task import State
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


def started(heard: list[Event]) -> Started:
    (found,) = [event for event in heard if isinstance(event, Started)]
    return found


async def test_what_was_in_flight_in_a_sandbox_that_has_ended_is_new_for_the_run_as_for_the_plan(
    harness: Harness,
) -> None:
    manifest = harness.manifest(40, output={"dir": str(harness.output)})
    folder = harness.output.with_name("out-sandbox")
    with anyio.move_on_after(2):
        await run(manifest, sandbox=True, now=harness.now)
    planned = outlook(manifest, folder, sandbox=True, now=harness.now)
    heard: list[Event] = []
    await run(manifest, listener=heard.append, sandbox=True, now=harness.now, options=RunOptions(limit=1))
    first = started(heard)
    assert first.new + first.done == first.total == 40
    assert first.new > 0
    assert (first.done, first.in_flight, first.submits) == (planned.done, 0, 1)


async def test_failed_tasks_that_are_tried_again_are_new(harness: Harness, sandbox: MakeSandbox) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(6), limit=2)
        await harness.run(server, harness.manifest(6), heard.append, limit=1)
    first = started(heard)
    assert (first.total, first.new, first.done, first.submits) == (6, 4, 2, 1)


async def test_the_counts_of_a_run_with_a_limit_are_of_that_limit(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=5, price=0.01) as server:
        await harness.run(server, harness.manifest(24), limit=4)
        await harness.run(server, harness.manifest(24), heard.append, limit=3)
        parts = [event.this_time for event in heard if isinstance(event, Snapshot)]
        (finished,) = [event for event in heard if isinstance(event, Finished)]
        assert {sum(part.values()) for part in parts} == {3}
        assert parts[0][State.PLANNED] == 3
        assert finished.snapshot.this_time[State.DONE] == 3
        assert finished.snapshot.counts[State.DONE] == 7
        heard.clear()
        await harness.run(server, harness.manifest(24), heard.append)
        assert not any(event.this_time for event in heard if isinstance(event, Snapshot))
