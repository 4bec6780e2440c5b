"""Checks of a request body, conversion of table cells, counts, and near names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.job.catalog import Model, Parameter, check, convert, count, find
from batcher.job.wording import nearest

EXAMPLE = Model(
    slug="a-model",
    parameters={
        "image": Parameter("image", "string", required=True, media="image", description="The picture"),
        "steps": Parameter("steps", "integer", minimum=20, maximum=100),
        "scale": Parameter("scale", "number"),
        "clip": Parameter("clip", "boolean"),
        "sampler": Parameter("sampler", "string", allowed=("euler", "heun")),
        "ratio": Parameter("ratio", "string", allowed=("1:1", "4:3"), allowed_total=9),
        "samples": Parameter("samples", "integer", default=2, minimum=1, maximum=4, role="count"),
    },
)
PICTURE = {"image": "a.jpg"}


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({}, "image: is missing: a-model requires it (The picture)"),
        ({"image": ""}, "image: is empty; it takes the path or URL of an image"),
        (PICTURE | {"step": 30}, "step: is not a parameter of a-model; did you mean steps?"),
        (PICTURE | {"zzz": 1}, "zzz: is not a parameter of a-model; `batcher models a-model` lists them."),
        (PICTURE | {"steps": "30"}, "steps: '30' is text; it takes a whole number"),
        (PICTURE | {"steps": 30.0}, "steps: 30.0 is a number with a decimal point; it takes a whole number"),
        (PICTURE | {"steps": True}, "steps: True is a boolean; it takes a whole number"),
        (PICTURE | {"steps": 101}, "steps: 101 is out of range; it takes 20 to 100"),
        (PICTURE | {"steps": None}, "steps: is empty (null); it takes a whole number."),
        (PICTURE | {"scale": False}, "scale: False is a boolean; it takes a number"),
        (PICTURE | {"scale": math.nan}, "scale: nan is not a finite number; it takes a number"),
        (PICTURE | {"clip": 1}, "clip: 1 is a number; it takes true or false"),
        (PICTURE | {"image": ["a.jpg"]}, "image: ['a.jpg'] is a list; it takes text"),
        (
            PICTURE | {"sampler": "Euler"},
            "sampler: 'Euler' is not one of its values: euler, heun; did you mean",
        ),
        (PICTURE | {"ratio": "5:9"}, "ratio: '5:9' is not among the 2 known of 9 values (1:1, 4:3)"),
    ],
)
def test_a_finding_is_a_sentence_that_says_what_to_do(params: Mapping[str, Any], sentence: str) -> None:
    (finding,) = check(EXAMPLE, params)
    assert f"{finding.parameter}: {finding.message}".startswith(sentence)


def test_all_findings_are_told_at_once() -> None:
    found = check(EXAMPLE, {"steps": 1, "step": 1, "scale": "x"})
    assert [finding.parameter for finding in found] == ["steps", "step", "scale", "image"]


def test_a_number_takes_whole_numbers_of_any_size() -> None:
    assert check(EXAMPLE, PICTURE | {"scale": 7}) == check(EXAMPLE, PICTURE | {"scale": 10**400}) == []


def test_unchecked_names_pass_as_they_are() -> None:
    params = {"steps": "many", "new_param": object()}
    assert check(EXAMPLE, params, unchecked=["steps", "new_param", "image"]) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*EXAMPLE.parameters, "step"]) | st.text(), values))
def test_check_finds_a_fault_or_nothing_but_never_breaks(params: dict[str, Any]) -> None:
    for finding in check(EXAMPLE, params):
        assert finding.parameter in params or finding.parameter in EXAMPLE.required
        assert "\n" not in finding.message


# convert


@given(st.integers(min_value=-(10**290), max_value=10**290), st.sampled_from(["{}", " {} ", "{}.0", "{}."]))
def test_a_whole_number_in_a_cell_becomes_an_integer(number: int, form: str) -> None:
    value = convert(EXAMPLE.parameters["steps"], form.format(number))
    assert value == number
    assert type(value) is int


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9))
def test_a_number_in_a_cell_keeps_its_value_and_its_kind(number: float) -> None:
    value = convert(EXAMPLE.parameters["scale"], repr(number))
    assert value == number
    assert isinstance(value, int) == (isinstance(number, int))


@given(st.text())
def test_text_in_a_cell_stays_as_it_is(cell: str) -> None:
    assert convert(EXAMPLE.parameters["image"], cell) == cell


@given(st.sampled_from(["steps", "scale", "clip"]), st.text() | st.from_regex(r"\A[-+0-9.eE_ ]*\Z"))
def test_any_cell_becomes_the_parameters_type_or_a_sentence(name: str, cell: str) -> None:
    parameter = EXAMPLE.parameters[name]
    right = {"integer": int, "number": int | float, "boolean": bool}[parameter.type]
    sentence = ""
    try:
        value = convert(parameter, cell)
    except ValueError as error:
        sentence = str(error)
    else:
        assert isinstance(value, right)
        assert parameter.type == "boolean" or math.isfinite(value)
    assert not sentence or (name in sentence and "\n" not in sentence)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("true", True),
        ("TRUE", True),
        (" Yes ", True),
        ("1", True),
        ("False", False),
        ("no", False),
        ("0", False),
    ],
)
def test_a_boolean_may_be_written_in_the_ways_of_spreadsheets(cell: str, value: bool) -> None:
    assert convert(EXAMPLE.parameters["clip"], cell) is value


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *(("steps", cell) for cell in ("", "  ", "25.5", "1e3", "1_000", "0x10", "٣", "ten", "9" * 9000)),
        *(("scale", cell) for cell in ("", "nan", "inf", "-inf", "1e999", "1,5", "1_0.0", "infinity")),
        *(("clip", cell) for cell in ("", "maybe", "2", "on fire")),
    ],
)
def test_what_is_not_of_the_type_is_refused(name: str, cell: str) -> None:
    with pytest.raises(ValueError, match=name):
        convert(EXAMPLE.parameters[name], cell)


# count and nearest


@pytest.mark.parametrize(
    ("model", "params", "images"),
    [
        (EXAMPLE, {"samples": 4}, 4),
        (EXAMPLE, {}, 2),
        (EXAMPLE, {"samples": "four"}, 1),
        (None, {"samples": 4}, 4),
        (None, {"samples": 16_000}, 1),
        (None, {"samples": True}, 1),
        (None, {}, 1),
        (Model(slug="plain"), {"samples": 4}, 1),
    ],
)
def test_a_request_gives_as_many_images_as_its_count_parameter_says(
    model: Model | None, params: Mapping[str, Any], images: int
) -> None:
    assert count(model, params) == images


@pytest.mark.parametrize(
    ("slug", "wrong", "right"),
    [
        ("sd1.5-outpaint", "img_with", "img_width"),
        ("sd1.5-outpaint", "width", "img_width"),
        ("sd1.5-outpaint", "steps", "num_inference_steps"),
        ("seg-beyond", "image", "input_image"),
        ("seg-beyond", "Guidance-Scale", "guidance_scale"),
        ("seg-beyond", "xyzzy", None),
    ],
)
def test_the_nearest_name_is_the_one_that_was_meant(slug: str, wrong: str, right: str | None) -> None:
    model = find(slug)
    assert model is not None
    assert nearest(wrong, model.parameters) == right
