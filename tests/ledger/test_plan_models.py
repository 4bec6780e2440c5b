"""A picture's labels are those of the model that made it, whatever the job is made with since."""

from __future__ import annotations

from pathlib import Path

from batcher.job.geometry import Geometry, as_text
from batcher.ledger import database
from batcher.ledger.plan_models import PlanModels
from tests.support.bookkeeping import a_ledger, a_task

STRETCHED, PLACED = (Geometry("image", fit) for fit in ("stretch", "none"))


async def test_each_plan_has_its_model_and_each_model_its_geometry(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with a_ledger(path, 0) as ledger:
        for number, (model, rule) in enumerate([("one", STRETCHED), ("two", PLACED), ("one", STRETCHED)]):
            ledger.plan([a_task(number)], f"plan {number}")
            ledger.set_model(model, as_text(rule))
    models = PlanModels(database.open_for_reading(path))
    assert [models.of(plan) for plan in (0, 2, 3, 4, 9)] == ["one", "one", "two", "one", "one"]
    assert (models.geometry("one"), models.geometry("two")) == (STRETCHED, PLACED)


async def test_a_ledger_of_an_older_run_has_the_one_model_that_it_tells(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with a_ledger(path, 0) as ledger:
        ledger.plan([a_task(0)], "a plan")
        ledger.set_meta("model", "one")
        ledger.set_meta("geometry", as_text(PLACED))
        ledger.plan([a_task(1)], "another plan")
        ledger.set_model("two", as_text(STRETCHED))
    models = PlanModels(database.open_for_reading(path))
    assert [models.of(plan) for plan in (2, 3)] == ["one", "two"]
