"""`only: new`: rows whose picture has a delivered result are left alone when the manifest is edited."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from batcher.engine import outlook
from batcher.job.manifest import Manifest
from batcher.progress import Event, Message
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


def inbox(harness: Harness, pictures: int, prompt: str = "a street", **changes: Any) -> Manifest:
    """A nightly job of so many pictures in a folder."""
    folder = harness.folder / "inbox"
    folder.mkdir(exist_ok=True)
    for number in range(pictures):
        if not (folder / f"{number}.png").exists():
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    data = {
        "inputs": [{"images": "inbox/*.png", "only": "new"}],
        "params": {"image": "{{ image }}", "prompt": prompt},
        "output": {"name": "{{ stem }}"},
    }
    return harness.manifest(**(data | changes))


async def test_an_edited_value_concerns_what_is_new_alone(harness: Harness, sandbox: MakeSandbox) -> None:
    heard: list[Event] = []
    async with sandbox(service=2) as server:
        await harness.run(server, inbox(harness, 4))
        edited = inbox(harness, 6, "a road")
        planned = outlook(edited, harness.output)
        left_alone = "`only: new`: 4 tasks are left alone, for a picture of the same source is delivered"
        assert (planned.counts.new, planned.warnings) == (2, (left_alone,))
        report = await harness.run(server, edited, heard.append)
        assert (report.exit_code, report.images, server.billed) == (0, 6, 6)
        assert [event.text for event in heard if isinstance(event, Message)] == [left_alone]
        # The same file under another name is the same picture.
        (harness.folder / "inbox/0.png").rename(harness.folder / "inbox/renamed.png")
        assert outlook(inbox(harness, 0, "an alley"), harness.output).counts.new == 0
    assert len(harness.lines("metadata.jsonl")) == 6


async def test_without_an_edit_it_changes_nothing(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, inbox(harness, 4))
        report = await harness.run(server, inbox(harness, 6))
        assert (report.total, report.counts["done"], server.billed) == (6, 6, 6)


@pytest.mark.parametrize("again", ["a street", "a road"])
async def test_a_night_that_was_cut_off_among_the_variants_of_a_picture_goes_on(
    harness: Harness, sandbox: MakeSandbox, again: str
) -> None:
    variants = {"repeat": 3, "output": {"name": "{{ stem }}-{{ repeat }}"}}
    async with sandbox(service=2) as server:
        await harness.run(server, inbox(harness, 2, **variants), limit=1)
        report = await harness.run(server, inbox(harness, 3, again, **variants))
        # Of the first picture one variant was delivered: the other two are its task's own, or left alone.
        assert server.billed == (9 if again == "a street" else 7)
        assert report.exit_code == 0


async def test_rows_without_a_picture_are_known_by_their_values(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    def job(places: int, word: str) -> Manifest:
        return harness.manifest(
            inputs=[{"rows": [{"place": f"{n}"} for n in range(places)], "only": "new"}],
            params={"prompt": f"{word} {{{{ place }}}} {{{{ season }}}}"},
            matrix={"season": ["winter", "summer"]},
            output={"name": "{{ place }}-{{ season }}"},
        )

    async with sandbox(service=2) as server:
        await harness.run(server, job(2, "street"))
        await harness.run(server, job(3, "road"))
        assert server.billed == 4 + 2


async def test_beside_another_source_the_source_itself_counts(harness: Harness, sandbox: MakeSandbox) -> None:
    places = [{"images": "inbox/*.png", "only": "new"}, {"rows": [{"place": "rome"}, {"place": "oslo"}]}]
    both = {"inputs": places, "output": {"name": "{{ stem }}-{{ place }}"}}
    async with sandbox(service=2) as server:
        await harness.run(server, inbox(harness, 2, "a street in {{ place }}", **both))
        await harness.run(server, inbox(harness, 3, "a road in {{ place }}", **both))
        assert server.billed == 4 + 2
