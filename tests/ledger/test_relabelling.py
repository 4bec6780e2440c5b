"""How many delivered pictures a plan gives other labels is counted while it enters."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.errors import ManifestError, Problem
from batcher.ledger import plan_writer
from batcher.ledger.plan_writer import PlanResult
from batcher.task import Task
from tests.support.bookkeeping import a_task, blank_ledger

BOXES: list[Any] = [[1, 2, 3, 4]]


def planned(connection: Any, *tasks: Task, fails: bool = False) -> PlanResult:
    def check(connection: Any, number: int) -> None:
        if fails:
            raise ManifestError([Problem("no")])

    return plan_writer.plan(connection, tasks, "a plan", check=check)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"boxes": BOXES, "box_classes": ["cat"]}, 0),
        ({"boxes": BOXES, "box_classes": ["cat"], "caption": "new"}, 0),
        ({"boxes": [[1, 2, 3, 5]], "box_classes": ["cat"]}, 2),
        ({"boxes": BOXES, "box_classes": ["dog"]}, 2),
        ({"boxes": [], "box_classes": []}, 2),
        ({"boxes": BOXES, "box_classes": ["cat"], "objects": {"bbox": [[1, 2, 3, 4]]}}, 2),
        ({"caption": "none"}, 2),
        ({"boxes": BOXES, "box_classes": ["cat"], "box_polygons": [[[1, 2, 3, 4, 5, 6]]]}, 2),
        ({"boxes": [[1, 2, 3, float("nan")]]}, 0),
    ],
)
def test_only_other_labels_of_delivered_pictures_count(columns: dict[str, Any], told: int) -> None:
    connection = blank_ledger()
    before = {"boxes": BOXES, "box_classes": ["cat"]}
    planned(connection, *(a_task(number, columns=before) for number in range(3)))
    connection.execute("DROP TRIGGER tasks_move_only_as_the_table_says")
    connection.execute("UPDATE tasks SET state = 'done', submission = 1 WHERE id < 3")
    again = [a_task(number, columns=columns) for number in range(4)]
    with pytest.raises(ManifestError):
        planned(connection, *again, fails=True)
    warnings = planned(connection, *again).warnings
    sentence = (
        "the labels of 2 delivered pictures have changed since: their boxes are those of the job's inputs"
    )
    assert [one.startswith(sentence) for one in warnings] == [True] * bool(told)
    assert planned(connection, *again).warnings == ()
