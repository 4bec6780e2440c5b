"""Cells without a value, numbers as pandas writes them, and paths where a text is meant."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.errors import ManifestError, Problem
from batcher.job.row import Row
from batcher.task import Task
from tests.support.manifests import parse
from tests.support.plans import FOLDER, MODEL, cell, expanded, picture_row, plan, problems

TEXT = (
    "params: {prompt: '{{ p }}', steps: '{{ n }}', strength: '{{ s }}', mask: '{{ m }}', base64: '{{ b }}'}"
)


def row(number: int, **columns: Any) -> Row:
    return Row(columns, "t.jsonl", number, number, "/t")


def lenient(text: str, *rows: Row) -> tuple[list[Task], list[Problem]]:
    left_out: list[Problem] = []
    manifest = parse(f"model: painter\ninputs: {{table: t.jsonl}}\n{text}", "job.yaml", FOLDER)
    return expanded(manifest, MODEL, rows, sink=left_out.append), left_out


# A null, or an absent cell.


def test_null_leaves_an_optional_parameter_out_for_that_row() -> None:
    full = {"p": "a", "n": 5, "s": 0.5, "m": "/p/a.png", "b": True}
    empty = {"p": "b", "n": None, "s": None, "m": None, "b": None}
    tasks, left_out = lenient(TEXT, row(1, **full), row(2, **empty))
    assert [list(task.params) for task in tasks] == [
        ["prompt", "steps", "strength", "mask", "base64"],
        ["prompt"],
    ]
    assert (tasks[1].media, left_out) == ({}, [])


def test_an_absent_cell_is_as_good_as_null() -> None:
    given, absent = row(1, p="a", n=None, s=1, m=None, b=None), row(1, p="a", s=1)
    for one in (given, absent):
        tasks, left_out = lenient(TEXT, row(2, p="x", n=1, s=1, m="/p/a.png", b=True), one)
        assert (tasks[1].params, left_out) == ({"prompt": "a", "strength": 1}, [])
    first, second = (lenient(TEXT, row(2, p="x", n=1, m="", b=True, s=0), one)[0] for one in (given, absent))
    assert first[1].key == second[1].key


def test_a_column_that_no_row_has_is_wrong_though_the_parameter_is_optional() -> None:
    text, rows = "params: {prompt: '{{ p }}', steps: '{{ nn }}'}", [row(1, p="a", n=5), row(2, p="b", n=6)]
    (problem,) = problems(text, rows)
    assert (problem.key, problem.message) == (
        "params.steps",
        "unknown variable `nn`; did you mean `n`?",
    )
    with pytest.raises(ManifestError) as caught:
        lenient(text, *rows)
    assert caught.value.problems == (problem,)


def test_an_empty_cell_of_a_text_table_is_null_where_a_text_is_no_value() -> None:
    text = "params: {prompt: '{{ p }}', steps: '{{ n }}', sampler: '{{ s }}', mask: '{{ m }}'}"
    (task,) = plan(text, [cell(1, p="a", n=" ", s="", m="")])
    assert task.params == {"prompt": "a"}


def test_a_required_parameter_without_a_value_makes_the_row_unusable() -> None:
    for value in (None, "", "  ", "\n\t", "\u200b", "\ufeff \u00a0"):
        tasks, left_out = lenient(
            "params: {prompt: '{{ p }}'}", row(1, p="a"), row(2, p=value), row(3, p="c")
        )
        assert [task.params["prompt"] for task in tasks] == ["a", "c"]
        (problem,) = left_out
        assert (problem.file, problem.line, problem.key) == ("t.jsonl", 2, "params.prompt")
        assert problem.message == "row 2, column `p`: is empty; prompt must have a value"


def test_a_text_of_several_cells_that_are_all_empty_is_empty_too() -> None:
    text = "params: {prompt: '{{ a }} {{ b }}'}"
    tasks, left_out = lenient(text, row(1, a="x", b=""), row(2, a="", b=" "))
    assert ([task.params["prompt"] for task in tasks], len(left_out)) == (["x "], 1)
    assert (left_out[0].line, "is empty" in left_out[0].message) == (2, True)


def test_an_optional_text_may_be_empty() -> None:
    from dataclasses import replace

    prompt = replace(MODEL.parameters["prompt"], required=False)
    model = replace(MODEL, parameters={**MODEL.parameters, "prompt": prompt})
    (task,) = plan("params: {prompt: '{{ p }}'}", [{"p": ""}], model=model)
    assert task.params == {"prompt": ""}


@pytest.mark.parametrize(
    "text", ["a photo of {{ p }}", "{{ p | upper }}", "{{ p | trim }}, {{ q }}", "{{ q }} {{ p }}"]
)
def test_null_is_never_sent_as_a_word(text: str) -> None:
    tasks, left_out = lenient(f"params: {{prompt: '{text}'}}", row(1, p="cat", q="x"), row(2, p=None, q="x"))
    assert len(tasks) == 1
    (problem,) = left_out
    assert (problem.line, "is null, and stands in a text" in problem.message) == (2, True)


def test_a_template_may_say_what_stands_for_null() -> None:
    text = (
        "params: {prompt: \"a {{ p or 'thing' }}, {{ p | default('x', true) }}\", steps: '{{ n or none }}'}"
    )
    tasks, left_out = lenient(text, row(1, p=None, n=0))
    assert ([task.params for task in tasks], left_out) == ([{"prompt": "a thing, x"}], [])


def test_what_the_manifest_itself_leaves_empty_is_its_own_fault() -> None:
    (problem,) = problems("matrix: {p: ['', x]}\nparams: {prompt: '{{ p }}'}", [row(1, q="a")])
    assert (problem.file, problem.key) == ("job.yaml", "matrix.p.0")
    inline = Row({"p": ""}, "job.yaml", 2, 1)
    with pytest.raises(ManifestError, match="is empty; prompt must have a value"):
        lenient("params: {prompt: '{{ p }}'}", row(1, p="x"), inline)


def test_a_model_that_is_not_known_gets_null_as_it_is() -> None:
    (task,) = plan("params: {a: '{{ n }}', b: '{{ e }}'}", [{"n": None, "e": ""}], model=None)
    assert task.params == {"a": None, "b": ""}


def test_a_null_in_a_name_is_a_word_as_before() -> None:
    (task,) = plan("params: {prompt: x}\noutput: {name: 'a-{{ n }}'}", [{"n": None}])
    assert task.name == "a-None"


# Whole numbers.


def test_a_whole_number_with_a_point_is_one() -> None:
    tasks = plan("params: {prompt: x, steps: '{{ n }}', strength: '{{ s }}'}", [{"n": 42.0, "s": 1.0}])
    assert [(one, type(one)) for one in tasks[0].params.values()][1:] == [(42, int), (1.0, float)]
    (same,) = plan("params: {prompt: x, steps: '{{ n }}', strength: '{{ s }}'}", [{"n": 42, "s": 1.0}])
    assert tasks[0].key == same.key
    (problem,) = problems("params: {prompt: x, steps: '{{ n }}'}", [{"n": 42.5}])
    assert "42.5" in problem.message
    (task,) = plan("params: {prompt: x, steps: '{{ n * 0.5 }}'}", [{"n": 42}])
    assert (task.params["steps"], type(task.params["steps"])) == (21, int)


# Paths.


@pytest.mark.parametrize(
    ("prompt", "variable"),
    [("{{ image }}", "image"), ("a photo of {{ image }}, sharp", "image"), ("{{ f }}", "f")],
)
def test_a_path_in_a_text_is_an_error_of_the_manifest(prompt: str, variable: str) -> None:
    rows = [picture_row(stem, f="../p/a.png") for stem in ("a", "b", "copy")]
    (problem,) = problems(f"params: {{image: '{{{{ image }}}}', prompt: '{prompt}'}}", rows)
    assert (problem.file, problem.key) == ("job.yaml", "params.prompt")
    assert problem.message.startswith(f"`{variable}` holds the path of a file of this machine")
    with pytest.raises(ManifestError, match="would be sent as a text"):
        lenient(f"params: {{prompt: '{prompt}'}}", *rows)


def test_a_stored_picture_in_a_text_is_an_error_too() -> None:
    (problem,) = problems("params: {prompt: '{{ f }}'}", [{"f": "s3://bucket/a.png"}])
    assert "holds the path of a file" in problem.message


def test_what_only_looks_like_a_path_is_a_text() -> None:
    texts = ["/imagine a cat", "IMG_1.jpg", "16/9", "~", "https://h/a.png", "and/or", "/", "a\n/p/a.png"]
    tasks = plan("params: {prompt: '{{ p }}'}", [{"p": text} for text in texts])
    assert [task.params["prompt"] for task in tasks] == texts
    (task,) = plan("params: {prompt: '{{ stem }} {{ folder }}'}", [picture_row("a", folder="animals/cats")])
    assert task.params["prompt"] == "a animals/cats"


@pytest.mark.parametrize(
    "template", ["a {{ kinds[0] }}", "{{ kinds[0] }}", "{{ kinds | first }}", "{{ kinds | last }}"]
)
def test_the_first_of_a_list_in_which_nothing_is_makes_the_row_unusable(template: str) -> None:
    """As the class of the first box, in a picture that shows no object: one such picture stops no job."""
    text = f"params: {{prompt: '{template}'}}"
    tasks, left_out = lenient(text, row(1, kinds=["cat"]), row(2, kinds=[]), row(3, kinds=["dog"]))
    assert [task.params["prompt"].removeprefix("a ") for task in tasks] == ["cat", "dog"]
    assert [problem.line for problem in left_out] == [2]
    with pytest.raises(ManifestError, match=r"has no element 0|sequence was empty"):
        lenient(text, row(1, kinds=[]))
