"""The classes of a job keep their ids and their order, whichever form says them."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.job.geometry import LabelError
from batcher.job.labels.categories import (
    VOC_CLASSES,
    Category,
    CategoryTable,
    as_text,
    from_text,
    of_coco,
    of_voc,
    of_yolo,
)

CAT, DOG = Category(17, "cat", "animal"), Category(3, "dog")


def test_those_of_coco_keep_ids_order_and_what_is_above_them() -> None:
    listed = [{"id": 17, "name": "cat", "supercategory": "animal", "keypoints": []}, {"id": 3, "name": "dog"}]
    assert of_coco(listed) == (CAT, DOG)


@pytest.mark.parametrize(
    ("names", "number", "expected"),
    [
        (["cat", "dog"], None, [(0, "cat"), (1, "dog")]),
        ({1: "dog", 0: "cat"}, 2, [(0, "cat"), (1, "dog")]),
        ({"0": "cat", "7": 7}, None, [(0, "cat"), (7, "7")]),
        ([False, 1.5], None, [(0, "False"), (1, "1.5")]),
        (None, 2, [(0, "class_0"), (1, "class_1")]),
    ],
)
def test_those_of_yolo_are_a_list_or_a_mapping(names: Any, number: Any, expected: Any) -> None:
    assert [(one.id, one.name) for one in of_yolo(names, number)] == expected


def test_those_of_voc_have_the_numbers_of_its_masks() -> None:
    assert [(one.id, one.name) for one in of_voc({"tvmonitor", "cat"})] == [*enumerate(VOC_CLASSES, 1)]
    assert of_voc({"lorry", "cat"}) == (Category(1, "cat"), Category(2, "lorry"))
    assert of_voc({"lorry", "bee", "ant"}, ["lorry"]) == (
        Category(1, "lorry"),
        Category(2, "ant"),
        Category(3, "bee"),
    )
    assert of_voc(()) == ()


@pytest.mark.parametrize(
    ("read", "wrong", "why"),
    [
        (of_coco, {"1": "cat"}, "`categories` is no list"),
        (of_coco, [{"id": "one", "name": "cat"}], "category 1 has no `id`"),
        (of_coco, [{"id": True, "name": "cat"}], "category 1 has no `id`"),
        (of_coco, [{"id": 1, "name": "cat"}, 7], "category 2"),
        (of_coco, [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "the class 1 has two names: 'a' and 'b'"),
        (of_yolo, None, "neither a list"),
        (of_yolo, "names.txt", "neither a list"),
        (of_yolo, [], "`names` is empty"),
        (of_yolo, {}, "`names` is empty"),
        (of_yolo, {"cat": 0}, "'cat' is no number"),
        (of_yolo, ["cat", None], "the class 1 has no name"),
        (of_yolo, ["cat", {"a": 1}], "the class 1 has no name"),
    ],
)
def test_what_is_no_class_is_told(read: Any, wrong: Any, why: str) -> None:
    with pytest.raises(LabelError) as caught:
        read(wrong)
    assert why in str(caught.value)


def test_two_data_sets_with_the_same_classes_are_one_table() -> None:
    table = CategoryTable()
    table.add([Category(17, "cat"), DOG], "train.json")
    table.add([DOG, CAT, Category(5, "bee")], "val.json")
    assert table.categories == (CAT, DOG, Category(5, "bee"))
    assert table.conflict() == ""


def test_where_data_sets_disagree_what_came_first_stays_and_it_is_told() -> None:
    table = CategoryTable()
    table.add([Category(1, "cat"), Category(2, "dog")], "a.json")
    table.add([Category(0, "cat"), Category(1, "bee"), Category(2, "ant")], "data.yaml")
    assert [(one.id, one.name) for one in table.categories] == [
        (1, "cat"),
        (2, "dog"),
        (3, "bee"),
        (4, "ant"),
    ]
    assert table.conflict() == (
        "3 classes have another number in one data set than in another; what came first stays "
        "(first: 'cat' is 1 in a.json and 0 in data.yaml; it is 1 in this job)"
    )


def test_a_new_class_does_not_take_the_number_of_one_that_comes_behind_it() -> None:
    table = CategoryTable()
    table.add([Category(0, "cat")], "a")
    table.add([Category(0, "dog"), Category(1, "bee")], "b")
    assert [(one.id, one.name) for one in table.categories] == [(0, "cat"), (2, "dog"), (1, "bee")]


def test_one_name_with_two_ids_in_one_data_set_is_one_class() -> None:
    table = CategoryTable()
    table.add([Category(1, "bat"), Category(2, "bat", "sport")], "a.json")
    assert table.categories == (Category(1, "bat", "sport"),)
    assert "'bat' is 1 in a.json and 2 in a.json" in table.conflict()


def test_the_ledger_s_text_says_them_whole() -> None:
    assert from_text(as_text([CAT, Category(0, "Löwe")])) == (CAT, Category(0, "Löwe"))
