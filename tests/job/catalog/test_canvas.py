"""Canvas arithmetic: the three outpaint models' own parameters and limits, and what cannot be."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batcher.job.catalog import canvas, check, find
from batcher.job.catalog.canvas import ANCHORS, FOOOCUS, applies, fill, parse
from batcher.job.catalog.model import Model, Parameter
from batcher.job.geometry import Geometry, place


def model(slug: str) -> Model:
    found = find(slug)
    assert found is not None
    return found


def asked(slug: str, size: tuple[int, int], aspect: str = "16:9", anchor: str = "center") -> dict[str, Any]:
    return fill(model(slug), parse(model(slug), {"aspect": aspect, "anchor": anchor}), size)


@pytest.mark.parametrize(
    ("size", "anchor", "sides"),
    [
        ((900, 900), "center", (350, 0, 350, 0)),
        ((900, 900), "left", (0, 0, 700, 0)),
        ((900, 900), "right", (700, 0, 0, 0)),
        ((900, 900), "bottom", (350, 0, 350, 0)),
        ((1600, 800), "center", (0, 50, 0, 50)),
        ((1600, 800), "top-left", (0, 0, 0, 100)),
        ((1600, 800), "bottom", (0, 100, 0, 0)),
        ((901, 900), "center", (349, 0, 350, 0)),
    ],
)
def test_seg_beyond_gets_pixels_on_its_sides(
    size: tuple[int, int], anchor: str, sides: tuple[int, int, int, int]
) -> None:
    found = asked("seg-beyond", size, anchor=anchor)
    assert (found["left"], found["top"], found["right"], found["bottom"]) == sides


@pytest.mark.parametrize(
    ("size", "aspect", "anchor", "params"),
    [
        ((512, 512), "4:3", "center", (1024, 768, 1.5, 128, 0)),
        ((512, 512), "4:3", "left", (1024, 768, 1.5, 0, 0)),
        ((512, 512), "4:3", "right", (1024, 768, 1.5, 256, 0)),
        ((640, 360), "1:1", "center", (1024, 1024, 2.0, 0, 224)),
        ((640, 360), "1:1", "top", (1024, 1024, 2.0, 0, 0)),
        ((400, 400), "3:4", "bottom", (768, 1024, 1.5, 0, 256)),
    ],
)
def test_sd_outpaint_gets_a_size_a_scale_and_offsets(
    size: tuple[int, int], aspect: str, anchor: str, params: tuple[Any, ...]
) -> None:
    names = ("img_width", "img_height", "scale", "offset_x", "offset_y")
    assert asked("sd1.5-outpaint", size, aspect, anchor) == dict(zip(names, params, strict=True))


@pytest.mark.parametrize(
    ("size", "aspect", "anchor", "params"),
    [
        ((900, 900), "16:9", "center", ("1344*768", "Left, Right")),
        ((900, 900), "16:9", "left", ("1344*768", "Right")),
        ((900, 900), "16:9", "top-right", ("1344*768", "Left")),
        ((900, 900), "9:16", "center", ("768*1344", "Top, Bottom")),
        ((900, 900), "9:16", "bottom", ("768*1344", "Top")),
        ((1600, 900), "1:1", "top", ("1024*1024", "Bottom")),
    ],
)
def test_focus_outpaint_gets_one_of_its_sizes_and_sides(
    size: tuple[int, int], aspect: str, anchor: str, params: tuple[str, str]
) -> None:
    found = asked("focus-outpaint", size, aspect, anchor)
    assert (found["aspect_ratios"], found["outpaint_selections"]) == params


def test_the_sizes_of_focus_outpaint_are_those_that_its_page_begins_to_spell_out() -> None:
    sizes = model("focus-outpaint").parameters["aspect_ratios"]
    assert [f"{width}*{height}" for width, height in FOOOCUS[: len(sizes.allowed)]] == list(sizes.allowed)
    assert len(FOOOCUS) == sizes.allowed_total


sizes = st.tuples(st.integers(64, 4000), st.integers(64, 4000))
aspects = st.sampled_from(["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "1.5:1"])


@given(
    sizes,
    aspects,
    st.sampled_from(list(ANCHORS)),
    st.sampled_from(["seg-beyond", "sd1.5-outpaint", "focus-outpaint"]),
)
def test_what_is_asked_for_is_within_the_model_and_gives_the_shape(
    size: tuple[int, int], aspect: str, anchor: str, slug: str
) -> None:
    found = model(slug)
    try:
        params = fill(found, parse(found, {"aspect": aspect, "anchor": anchor}), size)
    except ValueError:
        assume(False)
    unchecked = [name for name in found.required if name not in params]
    assert [one for one in check(found, params, unchecked) if not one.warning] == []
    rule = found.geometry
    assert rule is not None
    output = {
        "seg-beyond": lambda: (
            size[0] + params["left"] + params["right"],
            size[1] + params["top"] + params["bottom"],
        ),
        "sd1.5-outpaint": lambda: (params["img_width"], params["img_height"]),
        "focus-outpaint": lambda: tuple(map(int, params["aspect_ratios"].split("*"))),
    }[slug]()
    wanted = parse(found, aspect).ratio
    tolerance = canvas.NEAR if slug != "seg-beyond" else 1 / min(output)
    assert output[0] / output[1] == pytest.approx(wanted, rel=tolerance + 0.01)
    placement = place(rule, params, size, output)
    assert placement is not None
    assert placement.x >= 0
    assert placement.y >= 0
    assert placement.x + placement.width <= output[0]
    assert placement.y + placement.height <= output[1]


@pytest.mark.parametrize(
    ("slug", "size", "aspect", "says"),
    [
        (
            "seg-beyond",
            (1600, 900),
            "16:9",
            "the picture (1600x900) is 16:9 already; there is nothing to add",
        ),
        ("seg-beyond", (4000, 4000), "16:9", "needs left: 1555; seg-beyond takes 0 to 1024"),
        (
            "sd1.5-outpaint",
            (100, 100),
            "16:9",
            "sd1.5-outpaint makes no 16:9; its sizes are 768x1024, 1024x1024",
        ),
        ("sd1.5-outpaint", (100, 100), "1:1", "is 1:1 already"),
        ("sd1.5-outpaint", (1024, 768), "1.36:1", "is 1.36:1 already"),
        ("focus-outpaint", (100, 100), "5:1", "focus-outpaint makes no 5:1"),
        ("seg-beyond", (100, 100), "wide", "'wide' is no aspect; write width:height"),
        ("seg-beyond", (100, 100), "0:1", "'0:1' is no aspect"),
        ("seg-beyond", (100, 100), "100:1", "'100:1' is no shape for a picture"),
        ("seg-beyond", (0, 100), "1:1", "the picture has no size"),
    ],
)
def test_what_cannot_be_is_told(slug: str, size: tuple[int, int], aspect: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        asked(slug, size, aspect)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"aspect": "1:1", "achor": "left"}, "`achor` is unknown here; it takes aspect and anchor"),
        ({"aspect": "1:1", "anchor": "middle"}, "'middle' is no anchor; there are center, left, right"),
        ({}, "None is no aspect"),
        (5, "5 is no aspect"),
    ],
)
def test_a_canvas_that_says_nothing_useful_is_told(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(model("seg-beyond"), value)


def test_only_models_that_extend_pictures_have_a_canvas() -> None:
    assert [slug for slug in ("seg-beyond", "sd1.5-outpaint", "focus-outpaint") if applies(model(slug))] == [
        "seg-beyond",
        "sd1.5-outpaint",
        "focus-outpaint",
    ]
    assert not applies(model("sd1.5-img2img"))
    assert not applies(None)
    margins = Geometry(input="image", margins=("l", "t", "r", "b"))
    named = Model("own", parameters={"canvas": Parameter("canvas", "string")}, geometry=margins)
    assert not applies(named), "a parameter of that name is the model's own"
