"""A picture's labels are those of the model that made it, whatever the job is made with since."""

from __future__ import annotations

from pathlib import Path

from batcher.geometry import Geometry, as_text
from batcher.ledger import store
from batcher.ledger.models import Models
from bookkeeping import a_ledger, a_task

STRETCHED, PLACED = (Geometry("image", fit) for fit in ("stretch", "none"))


async def test_each_plan_has_its_model_and_each_model_its_geometry(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with a_ledger(path, 0) as ledger:
        for number, (model, rule) in enumerate([("one", STRETCHED), ("two", PLACED), ("one", STRETCHED)]):
            ledger.plan([a_task(number)], f"plan {number}")
            ledger.made_with(model, as_text(rule))
    models = Models(store.open_for_reading(path))
    assert [models.of(plan) for plan in (0, 2, 3, 4, 9)] == ["one", "one", "two", "one", "one"]
    assert (models.geometry("one"), models.geometry("two")) == (STRETCHED, PLACED)


async def test_a_ledger_of_an_older_run_has_the_one_model_that_it_tells(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with a_ledger(path, 0) as ledger:
        ledger.plan([a_task(0)], "a plan")
        ledger.note("model", "one")
        ledger.note("geometry", as_text(PLACED))
        ledger.plan([a_task(1)], "another plan")
        ledger.made_with("two", as_text(STRETCHED))
    models = Models(store.open_for_reading(path))
    assert [models.of(plan) for plan in (2, 3)] == ["one", "two"]
