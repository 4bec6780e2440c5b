"""What is exported as COCO, YOLO or Pascal VOC is read back by `dataset:` as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs import InputsContext, rows
from batcher.results.export import ExportOptions, export
from batcher.results.export.writer import ExportFormat
from tests.support.manifests import parse
from tests.support.shelf import Shelf

MARGIN = 36
"""Pixels that the model of the shelf adds on the left."""


@pytest.mark.parametrize(
    ("form", "place", "within"),
    [
        ("coco", "", 0.02),
        ("coco", "annotations/instances_train.json", 0.02),
        ("yolo", "data.yaml", 0.1),
        ("voc", "", 1),
    ],
)
def test_an_export_is_a_dataset_again(tmp_path: Path, form: ExportFormat, place: str, within: float) -> None:
    shelf = Shelf(tmp_path)
    boxes = [[8.25, 4, 16, 12], [1, 1, 5, 6]]
    shelf.deliver(
        shelf.variant("a", shelf.photo("a.png"), boxes=boxes, box_classes=["dog", "cat"]),
        shelf.variant("b", shelf.photo("b.png"), boxes=[], box_classes=[]),
    )
    export(shelf.output, ExportOptions(to=form, into=tmp_path / "set"))
    job = parse(f"model: x\ninputs: {{dataset: set/{place}}}\n", "job.yaml", tmp_path)
    told: list[str] = []
    context = InputsContext(job, Diagnostics("job.yaml", warn=told.append))
    first, second = (row.columns for row in rows(context))
    assert first["boxes"] == [pytest.approx([x + MARGIN, *rest], abs=within) for x, *rest in boxes]
    assert first["box_classes"] == ["dog", "cat"]
    assert second["boxes"] == []
    assert {first["split"], second["split"]} == {"train"}
    assert {one.name for one in context.categories.categories} >= {"cat", "dog"}
    # An export without a val split says in its data.yaml that train is for that.
    assert [sentence for sentence in told if "2 pictures of val came in train before" not in sentence] == []
