"""Where the source lies in the output, and what becomes of its boxes: by the rules, and in real pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from batcher.engine import load
from batcher.job.catalog import find
from batcher.job.geometry import (
    Geometry,
    LabelError,
    Labels,
    Placement,
    as_text,
    carry,
    from_columns,
    from_text,
    from_yolo,
    misfit,
    place,
)
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

SIZES = st.tuples(st.integers(1, 4000), st.integers(1, 4000))


def placed(slug: str, source: tuple[int, int], output: tuple[int, int], **params: Any) -> Any:
    model = find(slug)
    assert model is not None
    assert model.geometry is not None
    found = place(model.geometry, params, source, output)
    return found and (found.x, found.y, found.width, found.height)


# --- placement


@pytest.mark.parametrize(
    ("slug", "source", "output", "params", "expected"),
    [
        (
            "sd1.5-outpaint",
            (800, 400),
            (1024, 768),
            {"scale": 1, "offset_x": 10, "offset_y": 20},
            (10, 20, 512, 256),
        ),
        ("sd1.5-outpaint", (800, 400), (1024, 768), {}, (0, 0, 102, 51)),
        ("sd1.5-outpaint", (100, 100), (1024, 768), {"scale": 2, "offset_x": 600}, (600, 0, 1024, 1024)),
        ("seg-beyond", (640, 480), (940, 480), {"left": 200, "right": 100}, (200, 0, 640, 480)),
        ("seg-beyond", (640, 480), (640, 580), {"top": 100}, (0, 100, 640, 480)),
        ("seg-beyond", (640, 480), (470, 240), {"left": 200, "right": 100}, (100, 0, 320, 240)),
        ("focus-outpaint", (500, 500), (1024, 1024), {}, (0, 128, 768, 768)),
        (
            "focus-outpaint",
            (500, 500),
            (1024, 1024),
            {"outpaint_selections": "Left, Top"},
            (256, 256, 768, 768),
        ),
        (
            "focus-outpaint",
            (500, 500),
            (1024, 1024),
            {"outpaint_selections": "Left,Right,Top,Bottom"},
            (256, 256, 512, 512),
        ),
        ("sd1.5-inpainting", (300, 300), (512, 512), {}, (0, 0, 512, 512)),
        ("sd1.5-img2img", (1024, 512), (512, 512), {}, (-256, 0, 1024, 512)),
        ("sd1.5-img2img", (512, 1024), (768, 512), {"img_width": 768}, (0, -512, 768, 1536)),
    ],
)
def test_each_model_lays_its_source_where_its_file_says(
    slug: str, source: Any, output: Any, params: Any, expected: Any
) -> None:
    assert placed(slug, source, output, **params) == expected


@pytest.mark.parametrize(
    ("slug", "output", "params"),
    [
        ("seg-beyond", (512, 512), {"left": 300}),
        ("sd1.5-outpaint", (512, 512), {"img_width": 1024, "img_height": 768}),
        ("sd1.5-outpaint", (1024, 768), {"scale": "wide"}),
        ("focus-outpaint", (1024, 1024), {"aspect_ratios": "square"}),
        ("focus-outpaint", (1024, 1024), {"aspect_ratios": "0*0"}),
        ("seg-beyond", (640, 480), {"left": True}),
    ],
)
def test_what_the_rule_does_not_explain_has_no_placement(slug: str, output: Any, params: Any) -> None:
    assert placed(slug, (640, 480), output, **params) is None


@given(SIZES, SIZES, st.sampled_from(["none", "contain", "cover", "stretch"]))
def test_a_source_that_is_contained_lies_inside_and_one_that_covers_leaves_nothing_free(
    source: tuple[int, int], output: tuple[int, int], fit: Any
) -> None:
    found = place(Geometry("image", fit=fit), {}, source, output)
    assert found is not None
    right, bottom = found.x + found.width, found.y + found.height
    if fit == "contain":
        assert found.x >= 0
        assert found.y >= 0
        assert right <= output[0] + 1
        assert bottom <= output[1] + 1
    if fit in ("cover", "stretch"):
        assert found.x <= 0
        assert found.y <= 0
        assert right >= output[0] - 1
        assert bottom >= output[1] - 1


def test_a_rule_is_kept_as_text() -> None:
    for slug in ("sd1.5-outpaint", "seg-beyond", "focus-outpaint", "sd1.5-inpainting"):
        model = find(slug)
        assert model is not None
        assert from_text(as_text(model.geometry)) == model.geometry
        assert from_text(as_text(model.geometry)).defaults == model.geometry.defaults
    assert from_text(as_text(None)) is None


# --- labels


@pytest.mark.parametrize(
    ("boxes", "classes", "expected"),
    [
        ([[1, 2, 3, 4]], None, Labels(((1.0, 2.0, 3.0, 4.0),))),
        ("[[1, 2, 3, 4], [5, 6, 7, 8]]", "[0, 1]", Labels(((1, 2, 3, 4), (5, 6, 7, 8)), (0, 1))),
        ("", None, Labels()),
        (None, None, Labels()),
        ([], [], Labels((), ())),
        ([1, 2, 3, 4], ["cat"], Labels(((1, 2, 3, 4),), ("cat",))),
        ([{"bbox": [1, 2, 3, 4], "category_id": 7}], None, Labels(((1, 2, 3, 4),), (7,))),
        ([{"bbox": [1, 2, 3, 4]}], None, Labels(((1, 2, 3, 4),))),
        ([{"bbox": [1, 2, 3, 4], "category": 7.0}], None, Labels(((1, 2, 3, 4),), (7,))),
        ([1, 2, 3, 4], "[7.0]", Labels(((1, 2, 3, 4),), (7,))),
    ],
)
def test_boxes_are_read_as_people_have_them(boxes: Any, classes: Any, expected: Labels) -> None:
    assert from_columns(boxes, classes) == expected


@pytest.mark.parametrize(
    ("boxes", "classes", "sentence"),
    [
        ("[[1, 2, 3]]", None, r"box 1: \[1, 2, 3\] is not \[x, y, width, height\]"),
        ("[[1, 2, 3, 4], [1, 2, -3, 4]]", None, "box 2: its width or height is negative"),
        ("[[1, 2, 3, NaN]]", None, "box 1"),
        ([[1, 2, 3, 10**400]], None, "box 1"),
        ("cats", None, "'cats' is not JSON"),
        ("{}", None, "is not a list"),
        ("[[1, 2, 3, 4]]", "[1, 2]", "1 boxes have 2 classes"),
        ("[[1, 2, 3, 4]]", "[true]", "neither a number nor a name"),
        ("[[1, 2, 3, 4]]", "[7.5]", "neither a number nor a name"),
        ("[" * 100_000, None, "is not JSON"),
    ],
)
def test_boxes_that_cannot_be_read_are_told(boxes: Any, classes: Any, sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        from_columns(boxes, classes)


def test_a_class_that_numpy_wrote_is_a_whole_number() -> None:
    assert from_yolo("1.0 0.5 0.5 0.5 1\n2.000000e+00 0.1 0.1 0.2 0.2", (200, 100)).classes == (1, 2)
    for kind in ("1.5", "nan", "inf"):
        with pytest.raises(LabelError, match=f"line 1: the class {kind} is no whole number"):
            from_yolo(f"{kind} 0.5 0.5 0.5 1", (200, 100))


def test_yolo_text_is_read_with_its_classes() -> None:
    labels = from_yolo("3 0.5 0.5 0.5 1\n\n0 0.1 0.1 0.2 0.2 0.99\n", (200, 100))
    assert labels.classes == (3, 0)
    assert labels.boxes[0] == (50, 0, 100, 100)
    assert labels.boxes[1] == pytest.approx((0, 0, 40, 20))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 0.5 0.5 0.5", "line 1: 4 values"),
        ("0 0.1 0.1 0.1 0.1\ncat 0.5 0.5 0.5 0.5", "line 2: 'cat 0.5 0.5 0.5 0.5' is not made of numbers"),
        ("0 320 240 50 50", "from 0 to 1"),
        ("0 nan 0.5 0.5 0.5", "from 0 to 1"),
    ],
)
def test_yolo_text_that_cannot_be_read_is_told_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        from_yolo(text, (640, 480))


def test_a_box_is_moved_scaled_and_clipped_and_its_class_goes_with_it() -> None:
    labels = Labels(((0, 0, 100, 100), (90, 90, 50, 50), (0, 0, 1, 1)), ("a", "b", "c"))
    found = carry(labels, (100, 100), Placement(-50, 10, 100, 50), (200, 200))
    assert found == Labels(((0, 10, 50, 50), (40, 55, 10, 5)), ("a", "b"))


@given(
    st.lists(st.tuples(*[st.floats(0, 500)] * 4), max_size=5),
    st.builds(Placement, *[st.integers(-300, 300)] * 2, *[st.integers(1, 600)] * 2),
    SIZES,
)
def test_every_carried_box_lies_in_the_output_and_in_the_placement(
    boxes: Any, placement: Placement, output: tuple[int, int]
) -> None:
    labels = Labels(tuple(boxes), tuple(range(len(boxes))))
    found = carry(labels, (500, 500), placement, output)
    assert found.classes is not None
    assert len(found.classes) == len(found.boxes)
    for x, y, width, height in found.boxes:
        assert min(width, height) >= 1
        assert x >= max(0, placement.x)
        assert y >= max(0, placement.y)
        assert x + width <= min(output[0], placement.x + placement.width) + 1e-6
        assert y + height <= min(output[1], placement.y + placement.height) + 1e-6


# --- in real pictures: the sandbox draws, and shares no code with the rules


@pytest.mark.parametrize(
    ("slug", "params"),
    [
        (
            "sd1.5-outpaint",
            {"scale": 1.2, "offset_x": 130, "offset_y": 60, "img_width": 1024, "img_height": 768},
        ),
        ("seg-beyond", {"left": 120, "top": 40, "right": 16}),
        ("focus-outpaint", {"outpaint_selections": "Left, Top", "aspect_ratios": "1024*1024"}),
        ("sd1.5-img2img", {"strength": 0.1, "img_width": 512, "img_height": 768}),
        ("sd1.5-inpainting", {"img_width": 768, "img_height": 512}),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
async def test_the_box_in_the_output_holds_what_it_held_in_the_source(
    tmp_path: Path, now: Any, sandbox: MakeSandbox, slug: str, params: dict[str, Any], turned: bool
) -> None:
    source = Image.new("RGB", (320, 240), (40, 90, 60))
    ImageDraw.Draw(source).rectangle((120, 60, 199, 139), fill=(230, 20, 20))
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
        source = source.transpose(Image.Transpose.ROTATE_90)
    source.save(tmp_path / "red.jpg", quality=95, exif=exif)
    media = "input_image" if slug in ("seg-beyond", "focus-outpaint") else "image"
    body = {media: "{{ image }}", "prompt": "a wood", **params}
    if slug == "sd1.5-inpainting":
        Image.new("L", (320, 240), 0).save(tmp_path / "mask.png")
        body["mask"] = str(tmp_path / "mask.png")
    harness = Harness(tmp_path, now)
    inputs = [{"rows": [{"image": str(tmp_path / "red.jpg"), "boxes": [[120, 60, 80, 80]]}]}]
    (tmp_path / "job.yaml").write_text(
        json.dumps(
            {
                "name": "job",
                "model": slug,
                "inputs": inputs,
                "params": body,
                "output": {"dir": str(harness.output)},
            }
        )
    )
    async with sandbox(pictures=True) as server:
        report = await harness.run(server, load(tmp_path / "job.yaml"))
    assert report.exit_code == 0, report.causes
    (line,) = harness.lines("metadata.jsonl")
    assert line["source_boxes"] == [[120, 60, 80, 80]]
    x, y, width, height = line["boxes"][0]
    with Image.open(harness.output / line["file_name"]) as picture:
        picture.load()
    inside = picture.crop((round(x + 4), round(y + 4), round(x + width - 4), round(y + height - 4)))
    assert _red(inside) > 0.95
    for ring in (
        (x - 12, y, x - 4, y + height),
        (x + width + 4, y, x + width + 12, y + height),
        (x, y - 12, x + width, y - 4),
        (x, y + height + 4, x + width, y + height + 12),
    ):
        assert _red(picture.crop(tuple(map(round, ring)))) < 0.05


def _red(picture: Image.Image) -> float:
    """The share of pixels that are rather red."""
    data = picture.convert("RGB").tobytes()
    pixels = list(zip(data[::3], data[1::3], data[2::3], strict=True))
    return sum(red > green + 60 and red > blue + 60 for red, green, blue in pixels) / max(1, len(pixels))


@pytest.mark.parametrize("box", [[40, 0, 5, 5], [0, 30, 5, 5], [-5, 0, 5, 5], [0, -9, 5, 5]])
def test_a_box_of_which_the_picture_shows_nothing_is_not_the_pictures(box: list[int]) -> None:
    beside = from_columns([[1, 1, 100, 100], box])
    assert misfit(beside, (40, 30)) == f"box 2: {box} lies outside its picture (40 x 30)"
    assert misfit(from_columns([[1, 1, 100, 100], [39, 29, 5, 5]]), (40, 30)) is None
