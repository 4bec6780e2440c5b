"""Every parameter of the five pages, at both ends of its range and at each allowed value."""

from __future__ import annotations

import math
from typing import Any

import pytest

from batcher.job.catalog import Model, ParameterProblem, check, find, models
from batcher.job.catalog.lookup import SHIPPED

# The five pages, transcribed a second time: type, default, then the range or the allowed values.
SEED = ("integer", -1)
LONG_SEED = ("integer", -1, range(-1, 1_000_000_000_000_000))
TEXT = ("string", None)
SIDE = ("integer", 0, range(1025))
SAMPLERS = [
    "euler",
    "euler_ancestral",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpm_adaptive",
    "dpmpp_2s_ancestral",
    "dpmpp_2m_sde_gpu",
]
SAMPLER = ("string", "dpmpp_2m_sde_gpu", SAMPLERS, 18)
KARRAS = ("string", "karras", ["normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform"])
RATIOS = [
    "704*1408",
    "704*1344",
    "768*1344",
    "768*1280",
    "832*1216",
    "832*1152",
    "896*1152",
    "896*1088",
    "960*1088",
    "960*1024",
    "1024*1024",
]
BASE_MODELS = "juggernaut_v8 Unstable_diffusers_v11 protovisionxl realism_engine_v3 realVisXL fluentlyXL"
SCHEDULERS = [
    *("DDIM", "DPM Multi", "DPM Single", "Euler a", "Euler"),
    *("Heun", "DPM2 a Karras", "DPM2 Karras", "LMS", "PNDM"),
]
STABLE_DIFFUSION: dict[str, tuple[Any, ...]] = {
    "image": TEXT,
    "prompt": TEXT,
    "guidance_scale": ("number", 7.5, (0.1, 25)),
    "img_height": ("integer", 512, [512, 768]),
    "img_width": ("integer", 512, [512, 768]),
    "negative_prompt": TEXT,
    "num_inference_steps": ("integer", 20, range(20, 101)),
    "samples": ("integer", 1, range(1, 5)),
    "seed": SEED,
    "strength": ("number", 1, (0.1, 1)),
}
EXTENDING: dict[str, tuple[Any, ...]] = {
    "input_image": TEXT,
    "prompt": TEXT,
    "base64": ("boolean", False),
    "guidance_scale": ("number", 4, (1, 25)),
    "negative_prompt": TEXT,
    "sampler": SAMPLER,
    "samples": ("integer", 1, range(1, 5)),
    "scheduler": KARRAS,
    "seed": LONG_SEED,
    "steps": ("integer", 30, range(20, 101)),
    "styles": ("string", "V2,Enhance,Sharp"),
}
PAGES: dict[str, dict[str, tuple[Any, ...]]] = {
    "sd1.5-outpaint": {
        "image": TEXT,
        "prompt": TEXT,
        "guidance_scale": ("number", 7.5, (0.1, 25)),
        "img_height": ("integer", None, [768, 1024]),
        "img_width": ("integer", None, [768, 1024]),
        "mask_expand": ("integer", 8, range(257)),
        "negative_prompt": TEXT,
        "num_inference_steps": ("integer", 25, range(25, 101)),
        "offset_x": SIDE,
        "offset_y": SIDE,
        "scale": ("number", 0.2, (0.1, 10)),
        "scheduler": ("string", "DDIM", ["DDIM"]),
        "seed": SEED,
        "strength": ("number", 1, (0.1, 1)),
    },
    "seg-beyond": {**EXTENDING, "left": SIDE, "right": SIDE, "top": SIDE, "bottom": SIDE},
    "sd1.5-inpainting": {**STABLE_DIFFUSION, "mask": TEXT, "scheduler": ("string", "DDIM", SCHEDULERS, 11)},
    "sd1.5-img2img": {
        **STABLE_DIFFUSION,
        "base64": ("boolean", False),
        "scheduler": ("string", "DDIM", SCHEDULERS, 12),
    },
    "focus-outpaint": {
        **EXTENDING,
        "aspect_ratios": ("string", "1024*1024", RATIOS, 26),
        "base_model": ("string", "juggernaut_v8", BASE_MODELS.split()),
        "outpaint_selections": ("string", "Right"),
    },
}


def parameters(*kinds: type) -> list[Any]:
    """Cases (slug, parameter) of all five pages, or of those whose values are given as one of `kinds`."""
    return [
        pytest.param(slug, name, id=f"{slug}-{name}")
        for slug, page in PAGES.items()
        for name, (_, _, *values) in page.items()
        if not kinds or (values and isinstance(values[0], kinds))
    ]


EVERY, RANGED, LISTED = parameters(), parameters(range, tuple), parameters(list)


def shipped(slug: str) -> Model:
    model = find(slug)
    assert model is not None
    return model


def about(model: Model, name: str, value: Any) -> list[ParameterProblem]:
    """The findings for the page's example with one parameter changed."""
    return check(model, {**model.example, name: value})


def test_the_catalogue_has_the_five_models_and_their_files_are_named_for_them() -> None:
    assert [model.slug for model in models()] == sorted(PAGES)
    assert sorted(path.stem for path in SHIPPED.glob("*.yaml")) == sorted(PAGES)


@pytest.mark.parametrize("slug", PAGES)
def test_a_model_has_the_parameters_of_its_page_and_no_others(slug: str) -> None:
    model = shipped(slug)
    assert set(model.parameters) == set(PAGES[slug])
    assert model.seed == "seed"
    assert model.count == (None if slug == "sd1.5-outpaint" else "samples")
    picture = "image" if "image" in PAGES[slug] else "input_image"
    media = (picture, "mask") if slug == "sd1.5-inpainting" else (picture,)
    assert model.media == media
    assert model.required == (*media, "prompt")
    assert model.title
    assert model.description


def test_only_focus_outpaint_is_v1_and_every_model_has_its_published_time_and_price() -> None:
    facts = {model.slug: (model.api, model.seconds, model.price) for model in models()}
    assert facts == {
        "focus-outpaint": ("v1", 15.64, 0.0245),
        "sd1.5-img2img": ("v2", 7.7, 0.0037),
        "sd1.5-inpainting": ("v2", 2.9, 0.0018),
        "sd1.5-outpaint": ("v2", 4.3, 0.0109),
        "seg-beyond": ("v2", 25.34, 0.0364),
    }
    assert {(model.price_as_of, model.price_source) for model in models()} == {
        ("2026-08", "the provider's model list")
    }


@pytest.mark.parametrize("slug", PAGES)
def test_the_example_of_a_page_has_nothing_against_it(slug: str) -> None:
    assert check(shipped(slug), shipped(slug).example) == []


@pytest.mark.parametrize(("slug", "name"), EVERY)
def test_a_parameter_has_the_type_and_default_of_its_page(slug: str, name: str) -> None:
    parameter = shipped(slug).parameters[name]
    type_, default, *_ = PAGES[slug][name]
    assert (parameter.type, parameter.default) == (type_, default)
    assert type(parameter.default) is type(default)
    assert parameter.description


@pytest.mark.parametrize(("slug", "name"), RANGED)
def test_a_range_takes_both_its_ends_and_nothing_just_outside(slug: str, name: str) -> None:
    span, model = PAGES[slug][name][2], shipped(slug)
    low, high = span[0], span[-1]
    whole = isinstance(span, range)
    outside = (low - 1, high + 1) if whole else (math.nextafter(low, -1), math.nextafter(high, 100))
    assert (model.parameters[name].minimum, model.parameters[name].maximum) == (low, high)
    assert about(model, name, low) == about(model, name, high) == []
    for value in outside:
        (finding,) = about(model, name, value)
        assert finding.parameter == name
        assert not finding.warning
        assert f"it takes {low} to {high}" in finding.message


@pytest.mark.parametrize(("slug", "name"), LISTED)
def test_each_allowed_value_passes_and_another_is_an_error_or_where_the_list_is_open_a_warning(
    slug: str, name: str
) -> None:
    _, _, values, *total = PAGES[slug][name]
    model = shipped(slug)
    parameter = model.parameters[name]
    assert list(parameter.allowed) == values
    assert parameter.allowed_total == (total[0] if total else None)
    assert parameter.complete == (not total)
    for value in values:
        assert about(model, name, value) == []
    (finding,) = about(model, name, 640 if parameter.type == "integer" else "res_multistep")
    assert finding.warning == bool(total)


@pytest.mark.parametrize(("slug", "name"), EVERY)
@pytest.mark.parametrize("value", [None, [], {}, math.nan, math.inf, -math.inf, b"x"], ids=repr)
def test_no_parameter_takes_what_json_cannot_say_plainly(slug: str, name: str, value: Any) -> None:
    (finding,) = about(shipped(slug), name, value)
    assert (finding.parameter, finding.warning) == (name, False)
