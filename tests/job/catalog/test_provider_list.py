"""The provider's list of models: what is understood of it is used, whatever its form; nothing is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import Problem
from batcher.job.catalog import find, models
from batcher.job.catalog.provider_list import (
    ProviderList,
    keep_list,
    kept_list,
    read_list,
    retired_text,
    unknown_text,
)
from batcher.job.diagnostics import Diagnostics
from batcher.job.plan import PlanContext, expand
from batcher.job.row import Row
from batcher.sandbox.model_pages import model_list
from tests.support.manifests import parse

SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string"},
        "steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20},
        "mode": {"enum": ["a", "b"], "type": "string"},
        "lora": {"type": "object"},
        "faces": {"type": "array", "items": {"type": "string"}},
    },
}
AS_LIST = [
    {"name": "image", "type": "str", "required": True},
    {"name": "steps", "type": "int", "maximum": 50},
]


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA), AS_LIST, json.dumps(AS_LIST)])
@pytest.mark.parametrize(
    "whole",
    [
        lambda entry: [entry],
        lambda entry: {"data": [entry]},
        lambda entry: {"Some Title": [entry], "count": 1, "tags": [{"label": "x"}]},
        lambda entry: {"result": {"models": [entry]}},
        lambda entry: {"painter": entry},
    ],
)
def test_it_is_read_in_whatever_form_it_comes(schema: Any, whole: Any) -> None:
    entry = {"slug": "painter", "title": "Painter", "is_depreciated": 1, "parameters_schema": schema}
    (found,) = read_list(whole(entry)).values()
    assert (found.model.slug, found.model.title, found.retired) == ("painter", "Painter", True)
    assert found.model.required == ("image",)
    assert found.model.parameters["steps"].maximum == 50
    assert [one.parameter for one in found.check({"image": "x", "steps": 51})] == ["steps"]
    assert not found.check({"image": "x", "steps": 50})


def test_what_is_not_understood_of_a_parameter_is_not_checked() -> None:
    (found,) = read_list([{"slug": "p", "parameters_schema": SCHEMA}]).values()
    assert found.retired is None
    assert not found.check({"image": "x", "lora": {"any": 1}, "faces": ["a"], "mode": "a"})
    wrong = {problem.parameter for problem in found.check({"faces": "a", "mode": "c", "stepz": 1})}
    assert wrong == {"faces", "mode", "stepz", "image"}


def test_the_sandboxs_list_says_what_the_shipped_files_say() -> None:
    found = read_list(model_list())
    for model in models():
        listed = found[model.slug]
        assert set(listed.model.parameters) == set(model.parameters)
        assert not listed.check(model.example)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["slug", "name", "type", "properties", "parameters_schema", "required", "enum"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(anything)
def test_nothing_that_it_says_ends_a_command(data: Any) -> None:
    for slug, listed in read_list(data).items():
        assert listed.model.slug == slug
        listed.check({"x": 1, "prompt": "y"})


def test_a_list_that_is_kept_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert kept_list() is None
    found = read_list([{"slug": "p", "deprecated": "yes", "parameters_schema": SCHEMA}, {"slug": "q"}])
    keep_list(found, as_of="2026-11-29", source="https://a.example")
    assert kept_list() == ProviderList("2026-11-29", "https://a.example", found)
    (tmp_path / "batcher/models.json").write_text('{"as_of": 1')
    assert kept_list() is None


def test_a_relative_state_folder_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = keep_list({}, as_of="2026-11-29", source="x")
    assert path == tmp_path / ".local/state/batcher/models.json"


LISTING = ProviderList(
    "2026-11-29",
    "https://a.example",
    read_list(
        [
            {"slug": "painter", "is_depreciated": False, "parameters_schema": SCHEMA},
            {"slug": "seg-beyond", "is_depreciated": True},
            {"slug": "silent"},
        ]
    ),
)


@pytest.mark.parametrize(
    ("slug", "listing", "sentence"),
    [
        ("seg-beyand", None, "its parameters are not checked. Did you mean seg-beyond?"),
        (
            "paintr",
            LISTING,
            "nor in the provider's list of 2026-11-29: its parameters are not checked. Did",
        ),
        ("painter", LISTING, "compared with the provider's list of 2026-11-29"),
        ("silent", LISTING, "the provider's list does not tell its parameters"),
    ],
)
def test_a_model_that_is_not_in_the_catalogue_is_told_with_what_is_known(
    slug: str, listing: ProviderList | None, sentence: str
) -> None:
    assert sentence in unknown_text(slug, listing, ["seg-beyond"])


def test_a_retired_model_is_told_also_where_the_catalogue_has_it() -> None:
    assert "is retired, says the provider's list of 2026-11-29" in retired_text("seg-beyond", LISTING)
    assert retired_text("painter", LISTING) == retired_text("silent", LISTING) == ""
    assert retired_text("seg-beyond", None) == ""


def test_a_mistake_there_warns_once_and_the_task_is_planned(tmp_path: Path) -> None:
    text = "model: painter\nparams: {image: 'https://a.example/a.png', steps: 99}\nrepeat: 3\n"
    warnings: list[str] = []
    problems: list[Problem] = []
    keys = {
        listed is None: [
            task.key
            for task in expand(
                parse(text, "job.yaml", tmp_path),
                find("painter"),
                [Row({})],
                PlanContext(str, lambda _: 0, listed=listed),
                Diagnostics(warn=warnings.append, sink=problems.append),
            )
        ]
        for listed in (None, LISTING.models["painter"])
    }
    assert keys[True] == keys[False]
    assert len(keys[True]) == 3
    assert problems == []
    assert [one for one in warnings if one.startswith("steps")] == [
        "steps: 99 is out of range; it takes 1 to 50"
    ]
