"""An edited value that makes an archive anew: told in one sentence, and asked about."""

from __future__ import annotations

from typing import Any

import pytest

from batcher import errors
from batcher.engine import outlook
from batcher.engine.manifest_edit import ManifestEdit
from batcher.job.manifest import Manifest
from batcher.progress import Event, Message
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

TASKS = 5
EDITED = (
    'params.prompt has changed from "a street in {{ place }}" to "a road in {{ place }}": 5 delivered '
    "pictures are made anew, for about 0.10 credits; the old ones keep their files, and leave the plan"
)
NAMES = (
    "5 names are held by paid pictures; the new tasks get 8 digits of their keys behind them "
    "(first: 'place 0' is held, the new task is named 'place 0-"
)


def edited(harness: Harness, tasks: int = TASKS, word: str = "road", **changes: Any) -> Manifest:
    return harness.manifest(tasks, params={"prompt": f"a {word} in {{{{ place }}}}"}, **changes)


def told(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Message)]


async def test_one_edited_value_is_one_sentence_and_one_for_the_names_and_is_asked_about(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    asked: list[tuple[int, float | None, int]] = []
    answer = False

    def confirm(anew: int, cost: float | None, tasks: int) -> bool:
        asked.append((anew, cost, tasks))
        return answer

    async with sandbox(service=2, price=0.02) as server:
        await harness.run(server, harness.manifest(TASKS), confirm_edit=confirm)
        planned = outlook(edited(harness), harness.output)
        names, sentence = planned.warnings
        assert (names.startswith(NAMES), sentence, planned.counts.new) == (True, EDITED, TASKS)
        heard: list[Event] = []
        with pytest.raises(errors.UsageError, match="not confirmed"):
            await harness.run(server, edited(harness), heard.append, confirm_edit=confirm)
        names, sentence = told(heard)
        assert (names.startswith(NAMES), sentence) == (True, EDITED)
        # Refused, it is asked about again, whatever came to the plan meanwhile.
        heard.clear()
        with pytest.raises(errors.UsageError, match="not confirmed"):
            await harness.run(server, edited(harness, TASKS + 1), heard.append, confirm_edit=confirm)
        assert EDITED in told(heard)
        assert outlook(edited(harness, TASKS + 1), harness.output).warnings[-1] == EDITED
        assert server.billed == TASKS
        # Taken back, nothing was.
        heard.clear()
        report = await harness.run(server, harness.manifest(TASKS), heard.append, confirm_edit=confirm)
        assert (told(heard), report.total, server.billed) == ([], TASKS, TASKS)
        answer = True
        await harness.run(server, edited(harness), confirm_edit=confirm)
        assert server.billed == 2 * TASKS
        heard.clear()
        await harness.run(server, edited(harness, TASKS + 2), heard.append, confirm_edit=confirm)
        assert (told(heard), server.billed) == ([], 2 * TASKS + 2)
    assert asked == [(5, 0.1, 5), (5, 0.12, 6), (5, 0.1, 5)]


async def test_pictures_and_rows_that_come_and_go_are_no_edit(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=2) as server:
        await harness.run(server, harness.manifest(TASKS))
        others = [{"place": f"elsewhere {n}"} for n in range(TASKS)]
        for changes in (
            {},
            {"inputs": [{"rows": others}]},
            {"repeat": 2, "output": {"name": "{{ place }}-{{ repeat }}"}},
        ):
            heard: list[Event] = []
            await harness.run(server, harness.manifest(TASKS + 1, **changes), heard.append)
            assert not [text for text in told(heard) if "made anew" in text]


async def test_a_value_that_is_set_back_makes_nothing_anew_but_what_it_was_never_made_for(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    """Edited, tried on a few, set back: the new rows of meanwhile were never made with the old value."""
    heard: list[Event] = []
    async with sandbox(service=2, price=0.02) as server:
        await harness.run(server, harness.manifest(TASKS))
        await harness.run(server, edited(harness, TASKS + 3), limit=2)
        back = outlook(harness.manifest(TASKS + 3), harness.output)
        assert (back.counts.new, back.warnings) == (3, ())
        await harness.run(server, harness.manifest(TASKS + 3), heard.append)
        assert not [text for text in told(heard) if "has changed" in text]
        # What was made with the edited value before it was set back is told, where it is made again.
        await harness.run(server, edited(harness, TASKS + 5))
        heard.clear()
        await harness.run(server, harness.manifest(TASKS + 5), heard.append)
    (sentence,) = [text for text in told(heard) if "has changed" in text]
    assert "2 delivered pictures are made anew, for about 0.04 credits" in sentence


async def test_an_axis_and_a_column_that_are_edited_are_told_too(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    def job(season: str, rows: list[dict[str, str]], prompt: str = "{{ place }} in {{ season }}") -> Manifest:
        names = {"name": "{{ place }}-{{ season }}"}
        matrix = {"season": [season]}
        return harness.manifest(
            inputs=[{"rows": rows}], matrix=matrix, params={"prompt": prompt}, output=names
        )

    places: list[dict[str, str]] = [{"place": f"place {n}"} for n in range(3)]
    async with sandbox(service=2, price=0.02) as server:
        await harness.run(server, job("winter", places))
        (sentence,) = outlook(job("snow", places), harness.output).warnings
        assert "matrix.season has changed" in sentence
        assert "3 delivered pictures are made anew" in sentence
        with_mood = [{**row, "mood": "calm"} for row in places]
        told = outlook(job("winter", with_mood, "{{ mood }} {{ place }} in {{ season }}"), harness.output)
        assert [text for text in told.warnings if "3 delivered pictures are made anew" in text]


async def test_where_nothing_was_delivered_an_edit_makes_nothing_anew(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    async with sandbox(service=2) as server:
        await harness.run(server, harness.manifest(TASKS), limit=0)
        await harness.run(server, edited(harness), heard.append)
        assert server.billed == TASKS
    assert told(heard) == []


def test_several_values_are_told_together_and_a_cost_that_nobody_knows_is_no_zero() -> None:
    edit = ManifestEdit((("seed", None, 7), ("params.steps", 20, 30), ("params.p", "x" * 99, "y")), 1)
    assert edit.sentence(None) == (
        f'seed (from none to 7), params.steps (from 20 to 30), params.p (from "{"x" * 58}… to "y") have '
        "changed: 1 delivered picture is made anew, at a cost not known; the old one keeps its file, and "
        "leaves the plan"
    )
