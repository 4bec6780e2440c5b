"""Pickers and canvases in a plan: stable draws, pictures as they are, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import ManifestError, Problem
from batcher.job.catalog import find
from batcher.job.manifest.templates import TemplateError
from batcher.job.plan.pickers import Picker
from batcher.job.row import Row
from batcher.task import Task
from tests.support.manifests import parse
from tests.support.plans import FOLDER, MODEL, cell, digest, expanded, keys, picture_row, plan, problems

SIZES = {"/p/a.png": (900, 900), "/p/b.png": (1600, 900), "/p/copy.png": (900, 900)}


def prompts(text: str, *rows: Row) -> list[Any]:
    return [task.params["prompt"] for task in plan(text, rows or ({},))]


# Pickers.

PICKED = "seed: 42\nparams: {prompt: \"{{ choice('red', 'blue', 'green') }} {{ p }}\", image: '{{ image }}'}"


def test_each_picker_draws_what_it_says() -> None:
    (task,) = plan(
        "seed: 1\nparams: {prompt: '{{ choice([\"a\", \"b\"]) }}', steps: '{{ randint(20, 40) }}', "
        "strength: '{{ uniform(0.4, 0.8) }}'}"
    )
    assert task.params["prompt"] in ("a", "b")
    assert (type(task.params["steps"]), 20 <= task.params["steps"] <= 40) == (int, True)
    assert (type(task.params["strength"]), 0.4 <= task.params["strength"] <= 0.8) == (float, True)


def test_draws_stay_the_same_for_ever() -> None:
    (task,) = plan(PICKED, [picture_row("a", p="x")])
    assert (task.key, task.params["prompt"]) == (
        "df1668d2c60d8100ff11b1a683235fda",
        "red x",
    )


def test_draws_hang_on_what_params_uses_only() -> None:
    alone = prompts(PICKED, picture_row("a", p="x"))
    assert prompts(PICKED, picture_row("b", p="x"), picture_row("a", p="x", label="cat"))[1:] == alone
    assert (
        prompts(PICKED.replace("params", "matrix: {unused: [1, 2]}\nparams"), picture_row("a", p="x"))[:1]
        == alone
    )
    many = [picture_row("a", p=str(number)) for number in range(40)]
    drawn = [one.split()[0] for one in prompts(PICKED, *many)]
    assert set(drawn) == {"red", "blue", "green"}
    assert drawn != [one.split()[0] for one in prompts(PICKED.replace("42", "43"), *many)]


def test_each_call_and_each_parameter_draws_a_value_of_its_own() -> None:
    drawn = "{{ randint(0, 999999) }}"
    (task,) = plan(f"seed: 1\nparams: {{prompt: '{drawn} {drawn}', x: '{drawn}'}}\nunchecked: [x]")
    first, second = task.params["prompt"].split()
    assert len({first, second, str(task.params["x"])}) == 3


def test_repeats_and_identical_tasks_draw_anew_and_more_repeats_change_none() -> None:
    two, three = (plan(f"repeat: {n}\n{PICKED}", [picture_row("a", p="x")] * 2) for n in (2, 3))
    assert keys(two) < keys(three)
    text = "seed: 1\nrepeat: 5\nparams: {prompt: 'no {{ randint(0, 999999999) }}'}"
    assert len({task.params["prompt"] for task in plan(text, [{}, {}])}) == 10


def test_a_picked_picture_is_a_file_like_any_other() -> None:
    text = "seed: 1\nparams: {prompt: x, image: \"{{ choice('/p/a.png', '/p/b.png') }}\"}\nrepeat: 20"
    tasks = plan(text)
    assert {(task.params["image"], task.media["image"]) for task in tasks} == {
        ("/p/a.png", "aa"),
        ("/p/b.png", "bb"),
    }
    (problem,) = problems("seed: 1\nparams: {prompt: x, image: \"{{ choice('no.png') }}\"}")
    assert "there is no file 'no.png'" in problem.message


def test_pickers_without_a_seed_of_the_job_are_refused() -> None:
    (problem,) = problems("params: {prompt: '{{ choice(\"a\") }}'}")
    assert (problem.key, problem.line) == ("params.prompt", 3)
    assert "need a top-level `seed:`, as `seed: 42`" in problem.message


@pytest.mark.parametrize(
    "text",
    ["output: {name: \"{{ choice('a') }}\"}", "inputs: {images: p, filter: '{{ randint(0, 1) == 1 }}'}"],
)
def test_pickers_draw_for_params_only(text: str) -> None:
    with pytest.raises(ManifestError, match="draw values for `params`, and only there"):
        parse(f"model: painter\nseed: 1\n{text}", "job.yaml", FOLDER)


def test_a_column_may_have_the_name_of_a_picker() -> None:
    assert prompts("params: {prompt: '{{ choice }}'}", cell(1, choice="mine")) == ["mine"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("choice()", "needs something to choose from"),
        ("choice([])", "needs something to choose from"),
        ("uniform(2, 1)", "two numbers, the smaller first"),
        ("uniform('a', 1)", "two numbers"),
        ("randint(1, 2.5)", "two whole numbers"),
        ("randint(true, 2)", "two whole numbers"),
    ],
)
def test_a_draw_that_makes_no_sense_is_told(call: str, says: str) -> None:
    (problem,) = problems(f'seed: 1\nparams: {{prompt: "{{{{ {call} }}}}"}}')
    assert says in problem.message


@given(
    st.text(), st.integers(-(10**9), 10**9), st.integers(0, 10**9), st.floats(-1e9, 1e9), st.floats(0, 1e9)
)
def test_draws_keep_within_their_bounds(text: str, low: int, span: int, start: float, width: float) -> None:
    picker = Picker(text, "p")
    assert low <= picker.randint(low, low + span) <= low + span
    assert start <= picker.uniform(start, start + width) <= start + width
    assert picker.choice(*range(7)) in range(7)
    with pytest.raises(TemplateError):
        picker.uniform(float("nan"), 1)


# Canvases.


def arranged(
    text: str, *rows: Row, slug: str = "seg-beyond", sink: list[Problem] | None = None
) -> list[Task]:
    def read_size(path: str) -> tuple[int, int]:
        if path not in SIZES:
            raise ValueError("the file is a page, not a picture")
        return SIZES[path]

    manifest = parse(f"model: {slug}\ninputs: {{table: t.csv}}\n{text}", "job.yaml", FOLDER)
    return expanded(
        manifest,
        find(slug),
        rows,
        digest=lambda path: "cc" if path == "/p/c.png" else digest(path),
        read_size=read_size,
        sink=None if sink is None else sink.append,
    )


def test_a_canvas_becomes_the_models_own_parameters() -> None:
    text = "params: {input_image: '{{ image }}', prompt: x, canvas: '16:9'}"
    (task,) = arranged(text, picture_row("a"))
    assert task.params == {
        "input_image": "/p/a.png",
        "prompt": "x",
        "left": 350,
        "top": 0,
        "right": 350,
        "bottom": 0,
    }


def test_a_canvas_may_hang_on_an_axis_and_on_a_draw() -> None:
    text = "matrix: {shape: ['16:9', '4:3'], side: [left, right]}\nparams: {input_image: '{{ image }}', "
    text += "prompt: x, canvas: {aspect: '{{ shape }}', anchor: '{{ side }}'}}"
    tasks = arranged(text, picture_row("a"))
    assert [(task.params["left"], task.params["right"]) for task in tasks] == [
        (0, 700),
        (700, 0),
        (0, 300),
        (300, 0),
    ]
    assert len(keys(tasks)) == 4
    text = "seed: 1\nrepeat: 20\nparams: {input_image: '{{ image }}', prompt: x, "
    text += "canvas: \"{{ choice('16:9', '4:3') }}\"}"
    assert {task.params["left"] for task in arranged(text, picture_row("a"))} == {350, 150}


def test_a_canvas_that_no_picture_could_have_is_told_once_at_its_key() -> None:
    for slug, aspect in (("sd1.5-outpaint", "16:9"), ("seg-beyond", "wide")):
        with pytest.raises(ManifestError) as caught:
            arranged(f"params: {{prompt: x, canvas: '{aspect}'}}", slug=slug)
        (problem,) = [one for one in caught.value.problems if one.key == "params.canvas"]
        assert (problem.line, bool(problem.excerpt)) == (3, True)


def test_a_parameter_that_the_canvas_works_out_is_not_given_beside_it() -> None:
    with pytest.raises(ManifestError, match="`left` is worked out by `canvas`; keep one of them"):
        arranged("params: {input_image: '{{ image }}', prompt: x, canvas: '1:1', left: 5}")


def test_a_picture_for_which_it_cannot_be_done_is_named() -> None:
    text = "params: {input_image: '{{ image }}', prompt: x, canvas: '16:9'}"
    rows = [picture_row("a"), picture_row("b"), picture_row("c")]
    with pytest.raises(ManifestError) as caught:
        arranged(text, *rows)
    told = [one.message for one in caught.value.problems]
    assert told == [
        "/p/b.png: the picture (1600x900) is 16:9 already; there is nothing to add",
        "/p/c.png: the file is a page, not a picture",
    ]
    left_out: list[Problem] = []
    (task,) = arranged(text, *rows, sink=left_out)
    assert task.params["input_image"] == "/p/a.png"
    assert [one.message for one in left_out] == told
    with pytest.raises(ManifestError, match="behind a URL is not known"):
        arranged(text.replace("{{ image }}", "http://h/x.png"), Row({}))


# Rows that are left out.


def lenient(text: str, rows: list[Row], left_out: list[Problem]) -> list[Task]:
    manifest = parse(f"model: painter\ninputs: {{table: t.jsonl}}\n{text}", "job.yaml", FOLDER)
    return expanded(manifest, MODEL, rows, sink=left_out.append)


def row(number: int, **columns: Any) -> Row:
    return Row(columns, "t.jsonl", number, number, "/t")


def test_a_row_without_a_column_that_others_have_is_left_out_once() -> None:
    left_out: list[Problem] = []
    text = "matrix: {s: [1, 2, 3]}\nparams: {prompt: '{{ p }} {{ s }}'}"
    tasks = lenient(text, [row(1, p="a"), row(2, q="b"), row(3, p="c")], left_out)
    assert len(tasks) == 6
    assert [(one.message, one.file, one.line) for one in left_out] == [
        ("t.jsonl row 2 has no column `p`", "t.jsonl", 2)
    ]


def test_a_column_that_no_row_has_is_an_error_of_the_manifest() -> None:
    with pytest.raises(ManifestError, match=r"unknown variable `plce`; did you mean `place`\?") as caught:
        lenient("params: {prompt: '{{ plce }}'}", [row(n, place="a") for n in range(1, 9)], [])
    assert len(caught.value.problems) == 1


def test_what_an_axis_lacks_is_no_fault_of_the_row() -> None:
    text = "matrix: {s: [1, 2], include: [{s: 1, extra: x}]}\nparams: {prompt: '{{ extra }}'}"
    with pytest.raises(ManifestError, match="unknown variable `extra`"):
        lenient(text, [row(1, p="a")], [])


def test_a_row_that_lacks_a_column_of_the_name_is_left_out() -> None:
    left_out: list[Problem] = []
    text = "params: {prompt: '{{ p }}'}\noutput: {name: '{{ n }}'}"
    (task,) = lenient(text, [row(1, p="a", n="one"), row(2, p="b")], left_out)
    assert task.name == "one"
    assert [one.message for one in left_out] == ["t.jsonl row 2 has no column `n`"]
    with pytest.raises(ManifestError, match=r"output\.name: unknown variable `n`"):
        lenient(text, [row(1, p="a"), row(2, p="b")], [])


def test_a_cell_that_does_not_fit_stops_the_plan_and_is_told_with_row_and_column() -> None:
    for wrong, why in ((500, "500 is out of range"), ("x", "'x' is text; it takes a whole number")):
        with pytest.raises(ManifestError, match=f"row 2, column `n`: {why}"):
            lenient("params: {prompt: x, steps: '{{ n }}'}", [row(1, n=5), row(2, n=wrong)], [])


def test_what_the_manifest_itself_says_stops_the_plan_all_the_same() -> None:
    for text in (
        "params: {prompt: x, steps: 500}",
        "matrix: {n: [500]}\nparams: {prompt: x, steps: '{{ n }}'}",
    ):
        with pytest.raises(ManifestError, match="500 is out of range"):
            lenient(text, [row(1, p=5)], [])
    own = Row({"n": 500}, "job.yaml", 2, 1)
    with pytest.raises(ManifestError, match="500 is out of range"):
        lenient("params: {prompt: x, steps: '{{ n }}'}", [row(1, n=5), own], [])


# Pictures that nobody would see.


@pytest.mark.parametrize(
    ("params", "warned"),
    [
        ("image: '{{ image }}'", False),
        ("image: '../p/{{ stem }}.png'", False),
        ("image: /p/a.png", True),
        ("", True),
    ],
)
def test_pictures_that_no_media_input_uses_are_warned_of(params: str, warned: bool) -> None:
    notes: list[str] = []
    text = f"inputs: {{images: /p}}\nparams: {{prompt: '{{{{ stem }}}}', {params}}}"
    manifest = parse(f"model: painter\n{text}", "job.yaml", Path("/p"))
    expanded(manifest, MODEL, [picture_row("a")], digest=lambda path: "aa", warn=notes.append)
    assert [note for note in notes if "inputs.0 has pictures that no media input" in note] == notes
    assert bool(notes) == warned
