"""Outlines and run-length masks of objects: read as COCO and YOLO write them, carried as their pixels are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from batcher.job.geometry import (
    LabelError,
    Labels,
    Placement,
    as_columns,
    carry,
    from_columns,
    from_row,
    from_yolo,
    misfit,
    polygons,
    rle,
)

BITS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.lists(
        st.lists(st.sampled_from([0, 1]), min_size=size[0], max_size=size[0]),
        min_size=size[1],
        max_size=size[1],
    )
)
"""A mask by its rows."""


def runs(rows: list[list[int]]) -> list[int]:
    """COCO's uncompressed counts of a mask, by counting its pixels down the columns."""
    counts, value = [0], 0
    for x in range(len(rows[0])):
        for row in rows:
            if row[x] != value:
                counts.append(0)
                value = row[x]
            counts[-1] += 1
    return counts


def pixels(mask: rle.Rle) -> list[list[int]]:
    """The rows of a mask, by laying its runs out."""
    flat = [number % 2 for number, count in enumerate(mask.counts) for _ in range(count)]
    return [[flat[x * mask.height + y] for x in range(mask.width)] for y in range(mask.height)]


@given(BITS)
def test_a_mask_is_read_as_it_was_written_in_both_forms(rows: list[list[int]]) -> None:
    listed = rle.from_json({"size": [len(rows), len(rows[0])], "counts": runs(rows)})
    assert pixels(listed) == rows
    assert rle.from_json(rle.as_json(listed)) == listed
    assert rle.area(listed) == sum(map(sum, rows))


@given(st.lists(st.integers(0, 1 << 24), min_size=1, max_size=40))
def test_long_runs_are_read_as_they_were_written(counts: list[int]) -> None:
    mask = rle.Rle(sum(counts), 1, tuple(counts))
    if 0 < sum(counts) <= rle.MOST_PIXELS:
        assert rle.from_json(rle.as_json(mask)) == mask


@pytest.mark.parametrize(
    ("counts", "text"),
    [([0, 12], "0<"), ([6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"), ([100], "T3")],
)
def test_the_compressed_form_is_cocos(counts: list[int], text: str) -> None:
    """The second is the example of the mask API's own source."""
    assert rle.as_json(rle.Rle(sum(counts), 1, tuple(counts)))["counts"] == text


@settings(max_examples=60)
@given(
    BITS,
    st.builds(Placement, *[st.integers(-9, 9)] * 2, *[st.integers(1, 20)] * 2),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_a_carried_mask_is_what_pillow_makes_of_its_picture(
    rows: list[list[int]], placement: Placement, output: tuple[int, int]
) -> None:
    size = (len(rows[0]), len(rows))
    picture = Image.new("L", size)
    picture.putdata([bit for row in rows for bit in row])
    whole = Image.new("L", output)
    room = (placement.width, placement.height)
    whole.paste(picture.resize(room, Image.Resampling.NEAREST), (placement.x, placement.y))
    flat = list(whole.tobytes())
    expected = [flat[y * output[0] : (y + 1) * output[0]] for y in range(output[1])]
    mask = rle.from_json({"size": [size[1], size[0]], "counts": runs(rows)})
    found = rle.carried(mask, placement, output)
    carried = pixels(found) if found else [[0] * output[0]] * output[1]

    def on_an_edge(place: int, start: int, source: int, placed: int) -> bool:
        """Whether a pixel's centre falls between two of the source: Pillow's rounding decides it by luck."""
        return (2 * (place - start) + 1) * source % (2 * placed) == 0

    for y in range(output[1]):
        for x in range(output[0]):
            if not on_an_edge(x, placement.x, size[0], room[0]) and not on_an_edge(
                y, placement.y, size[1], room[1]
            ):
                assert carried[y][x] == expected[y][x]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"counts": [4]}, "its RLE has no `size: [height, width]`"),
        ({"size": [2, 2], "counts": [3]}, "its RLE has runs of 3 pixels, and is to have 2 x 2"),
        ({"size": [2, 2], "counts": [5, -1]}, "its RLE has `counts` that are none"),
        ({"size": [2, 2], "counts": "~~"}, "its RLE has `counts` that are none"),
        ({"size": [2, 2], "counts": "P"}, "its RLE ends in the middle of a number"),
        ({"size": [2, 2], "counts": "o" * 99}, "its RLE has `counts` that are none"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "its RLE has the size [1000000000, 1000000000]"),
        ({"size": [0, 2], "counts": []}, "its RLE has the size [0, 2]"),
    ],
)
def test_a_mask_that_is_none_is_told_with_its_box(value: Any, why: str) -> None:
    with pytest.raises(LabelError) as told:
        from_columns([{"bbox": [0, 0, 2, 2], "segmentation": value}])
    assert str(told.value) == f"box 1: {why}"


def test_a_mask_of_another_size_is_not_the_pictures() -> None:
    labels = from_columns([[0, 0, 2, 2]], None, None, [{"size": [4, 4], "counts": [16]}])
    assert misfit(labels, (5, 4)) == "box 1: its RLE (4 x 4) is not of the size of its picture (5 x 4)"
    assert misfit(labels, (4, 4)) is None


def test_annotations_are_carried_with_all_that_stands_there() -> None:
    labels = from_columns(
        [
            {"id": 7, "bbox": [0, 0, 4, 4], "category_id": 3, "iscrowd": 0, "area": 16.0, "segmentation": []},
            {
                "id": 8,
                "bbox": [],
                "category_id": 5,
                "segmentation": [[2, 2, 8, 2, 8, 8, 2, 8]],
                "iscrowd": 0,
            },
            {"id": 9, "category_id": 1, "segmentation": {"size": [10, 10], "counts": [0, 20, 80]}},
        ]
    )
    placement = Placement(6, 0, 20, 20)
    found = as_columns(carry(labels, (10, 10), placement, (20, 20)))
    assert found == {
        "boxes": [[6, 0, 8, 8], [10, 4, 10, 12], [6, 0, 4, 20]],
        "box_classes": [3, 5, 1],
        "box_polygons": [[], [[10, 4, 20, 4, 20, 16, 10, 16]], []],
        "box_rles": [None, None, found["box_rles"][2]],
        "box_attributes": [{"id": 7, "iscrowd": 0}, {"id": 8, "iscrowd": 0}, {"id": 9}],
    }
    assert rle.from_json(found["box_rles"][2]) == rle.Rle(20, 20, (120, 80, 200))


def test_an_object_that_is_cut_is_truncated_where_its_data_set_says_of_objects_whether_they_are() -> None:
    boxes = [[0, 0, 20, 20], [30, 0, 10, 10]]
    placement = Placement(-10, 0, 64, 48)
    for said in ("truncated", "score"):
        labels = from_columns(boxes, attributes=[{said: 0}, {said: 0}])
        carried = carry(labels, (64, 48), placement, (64, 48)).attributes
        assert carried == ({said: 1 if said == "truncated" else 0}, {said: 0})
    assert carry(from_columns(boxes), (64, 48), placement, (64, 48)).attributes is None


def test_what_is_read_of_columns_is_what_was_written_there() -> None:
    labels = Labels(
        ((1.0, 2.0, 3.0, 4.0), (5.0, 5.0, 2.0, 2.0)),
        ("cat", "dog"),
        (((1.0, 2.0, 4.0, 2.0, 4.0, 6.0),), ()),
        (None, rle.Rle(8, 8, (45, 2, 17))),
        ({"difficult": 1}, {}),
    )
    assert from_row(as_columns(labels)) == labels


@given(
    st.lists(st.floats(0, 100), min_size=6, max_size=16).filter(lambda values: len(values) % 2 == 0),
    st.builds(Placement, *[st.integers(-80, 80)] * 2, *[st.integers(1, 200)] * 2),
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
)
def test_a_carried_outline_lies_in_the_output_and_encloses_no_more(
    values: list[float], placement: Placement, output: tuple[int, int]
) -> None:
    outline = tuple(values)
    labels = Labels(((0, 0, 100, 100),), None, ((outline,),))
    found = carry(labels, (100, 100), placement, output)
    for part in found.polygons[0] if found.polygons else ():
        assert all(-1e-6 <= x <= output[0] + 1e-6 for x in part[::2])
        assert all(-1e-6 <= y <= output[1] + 1e-6 for y in part[1::2])
        assert polygons.area([part]) <= output[0] * output[1] + 1e-6 or len(values) > 6


@pytest.mark.parametrize(
    "objects",
    [
        {"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "categories": ["cat", "dog"], "area": [12, None]},
        [{"bbox": [1, 2, 3, 4], "category": "cat"}, {"bbox": [5, 6, 7, 8], "category": "dog"}],
        '{"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "category": ["cat", "dog"]}',
    ],
)
def test_objects_as_hugging_face_documents_them_are_boxes(objects: Any) -> None:
    assert from_row({"objects": objects}) == Labels(((1, 2, 3, 4), (5, 6, 7, 8)), ("cat", "dog"))


@pytest.mark.parametrize("words", ["a cat, a dog", ["a cat"], "[3]", {"a": 1}, None, 4])
def test_objects_that_are_words_are_a_column_like_any_other(words: Any) -> None:
    assert from_row({"objects": words}) is None


def test_objects_of_uneven_lists_are_told() -> None:
    with pytest.raises(LabelError, match=r"objects: 1 `bbox` have 2 `category`"):
        from_row({"objects": {"bbox": [[1, 2, 3, 4]], "category": [1, 2]}})


@given(
    st.lists(
        st.tuples(
            st.integers(0, 90),
            st.lists(st.integers(0, 1000), min_size=6, max_size=12).filter(
                lambda values: len(values) % 2 == 0
            ),
        ),
        max_size=4,
    )
)
def test_yolo_outlines_are_read_as_they_were_written(rows: list[tuple[int, list[int]]]) -> None:
    text = "".join(f"{kind} {' '.join(str(value / 1000) for value in values)}\n" for kind, values in rows)
    labels = from_yolo(text, (200, 100))
    assert list(labels.classes or ()) == [kind for kind, _ in rows]
    for (_, values), outline, box in zip(rows, labels.polygons or (), labels.boxes, strict=True):
        expected = [value / 1000 * (200, 100)[place % 2] for place, value in enumerate(values)]
        assert list(outline[0]) == expected
        assert box[:2] == (min(expected[::2]), min(expected[1::2]))


def test_the_rows_of_a_data_set_of_poses_have_their_boxes_read() -> None:
    assert from_yolo("0 .5 .5 .2 .2 .1 .1 2 .3 .3 2\n", (10, 10), points=6).boxes == ((4, 4, 2, 2),)


def test_the_box_of_a_mask_is_found_run_by_run() -> None:
    huge = {"size": [1, 1 << 29], "counts": [5, (1 << 29) - 5]}
    assert from_columns([{"segmentation": huge}]).boxes == ((5, 0, (1 << 29) - 5, 1),)
    for cells in ("0000 0110 0100", "1000 0000 0001", "0001 1000 0000", "0000 0000 0010"):
        columns = cells.split()
        counts, last = [0], "0"
        for cell in "".join(columns):
            counts = [*counts[:-1], counts[-1] + 1] if cell == last else [*counts, 1]
            last = cell
        box = from_columns([{"segmentation": {"size": [4, 3], "counts": counts}}]).boxes[0]
        across = [x for x, column in enumerate(columns) if "1" in column]
        down = [y for y in range(4) if any(column[y] == "1" for column in columns)]
        assert box == (across[0], down[0], across[-1] + 1 - across[0], down[-1] + 1 - down[0])
