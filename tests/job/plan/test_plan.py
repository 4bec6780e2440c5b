"""Manifest + rows -> Tasks: the matrix, keys and seeds that stay, names that are safe, checks."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import ManifestError, Problem
from batcher.job.catalog import Model, Parameter
from batcher.job.diagnostics import Diagnostics
from batcher.job.plan import PlanContext, expand, name_key, safe_name
from batcher.job.row import Row, join
from tests.support.manifests import parse
from tests.support.plans import FOLDER, MODEL, cell, counter, digest, keys, picture_row, plan, problems

# What a task is.


def test_rows_cells_and_repeats_make_tasks_in_that_order() -> None:
    tasks = plan(
        "matrix: {s: [w, x], t: [1, 2]}\nrepeat: 2\nparams: {prompt: '{{ p }} {{ s }} {{ t }} {{ repeat }}'}",
        [{"p": "a"}, {"p": "b"}],
    )
    assert [task.params["prompt"] for task in tasks] == [
        f"{p} {s} {t} {r}" for p in "ab" for s in "wx" for t in (1, 2) for r in (0, 1)
    ]
    assert [task.repeat for task in tasks[:4]] == [0, 1, 0, 1]
    assert tasks[1].columns == {"p": "a", "s": "w", "t": 1, "repeat": 1}


def test_a_job_without_inputs_is_one_task_named_after_it() -> None:
    (task,) = plan("params: {prompt: x}")
    assert (task.name, task.columns, task.params, task.images) == ("job", {}, {"prompt": "x"}, 1)


def test_the_body_says_what_params_says_in_its_order_and_types() -> None:
    (task,) = plan(
        "params: {steps: '{{ n }}', prompt: '{{ n }}', base64: '{{ b }}', deep: {x: ['{{ n }}', 5]}}",
        [{"n": 5, "b": True}],
        model=None,
    )
    assert list(task.params) == ["steps", "prompt", "base64", "deep"]
    assert task.params == {"steps": 5, "prompt": 5, "base64": True, "deep": {"x": [5, 5]}}


def test_a_count_parameter_says_how_many_images() -> None:
    assert [t.images for t in plan("params: {prompt: x, samples: '{{ n }}'}", [{"n": 1}, {"n": 4}])] == [1, 4]


# Media.


def test_a_local_picture_is_an_absolute_path_with_its_digest() -> None:
    (task,) = plan("params: {prompt: x, image: '{{ image }}', mask: logo.png}", [picture_row("a")])
    assert task.params["image"] == "/p/a.png"
    assert task.params["mask"] == "/jobs/logo.png"
    assert task.media == {"image": "aa", "mask": "11"}


@pytest.mark.parametrize("url", ["http://h/a.png", "https://h/a.png", "data:image/png;base64,AA"])
def test_a_url_passes_unchanged(url: str) -> None:
    (task,) = plan("params: {prompt: x, image: '{{ u }}'}", [{"u": url}])
    assert (task.params["image"], task.media) == (url, {})


def test_a_table_path_starts_from_the_table_then_from_the_manifest() -> None:
    tasks = plan("params: {prompt: x, image: '{{ f }}'}", [cell(1, f="a.png"), cell(2, f="logo.png")])
    assert [task.params["image"] for task in tasks] == ["/t/a.png", "/jobs/logo.png"]


def test_an_unknown_model_gets_pictures_where_a_lone_template_names_one() -> None:
    notes: list[str] = []
    text = "params: {x: '{{ image }}', y: 'see {{ image }}', z: '{{ other }}'}"
    (task,) = plan(text, [picture_row("a", other="none.png")], model=None, notes=notes)
    assert task.media == {"x": "aa"}
    assert (task.params["y"], task.params["z"]) == ("see /p/a.png", "none.png")
    assert notes == ["painter is not in the catalogue: its parameters are not checked"]


def test_pictures_inside_a_list_are_files_each_of_its_own() -> None:
    text = "params: {images: ['{{ image }}', 'http://h/x.png', {deep: '{{ image }}'}, plain.png], prompt: x}"
    (task,) = plan(text, [picture_row("a")], model=None)
    assert task.media == {"images.0": "aa", "images.2.deep": "aa"}
    assert task.params["images"] == ["/p/a.png", "http://h/x.png", {"deep": "/p/a.png"}, "plain.png"]
    (lone,) = plan("params: {images: '{{ all }}'}", [{"all": ["/p/a.png", 3]}], model=None)
    assert lone.media == {"images.0": "aa"}


COLLAGE = Model(
    "collage",
    parameters={
        "images": Parameter("images", "string", media="image", is_list=True, required=True),
        "weights": Parameter("weights", "number", minimum=0, maximum=1, is_list=True),
    },
)


def test_a_model_may_take_a_list_of_pictures() -> None:
    text = "params: {images: [logo.png, '{{ image }}'], weights: [0.5, '{{ w }}']}"
    one, two = plan(text, [picture_row("a", w=1), picture_row("a", w=0)], model=COLLAGE)
    assert one.media == {"images.0": "11", "images.1": "aa"}
    assert one.params == {"images": ["/jobs/logo.png", "/p/a.png"], "weights": [0.5, 1]}
    assert one.key != two.key
    (moved,) = plan(text.replace("{{ image }}", "/p/copy.png"), [{"w": 1}], model=COLLAGE)
    assert moved.key == one.key, "files count by their content"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ("images: /p/a.png", "'/p/a.png' is one value; it takes a list"),
        ("images: []", "is an empty list; it takes at least one value"),
        ("images: [none.png]", "there is no file 'none.png'"),
        ("images: [/p/a.png, 3]", "item 1: 3 is a number; it takes text"),
        ("images: [/p/a.png], weights: [0.5, 2]", "item 1: 2 is out of range; it takes 0 to 1"),
    ],
)
def test_what_a_list_may_not_hold_is_told_by_its_item(params: str, says: str) -> None:
    found = problems(f"params: {{{params}}}", [{}], model=COLLAGE)
    assert any(says in problem.message for problem in found), found


def test_a_missing_picture_is_told_with_row_and_key() -> None:
    (problem,) = problems("params: {prompt: x, image: '{{ f }}'}", [cell(1, f="a.png"), cell(2, f="no.png")])
    assert (problem.file, problem.line, problem.key) == ("t.csv", 3, "params.image")
    assert "row 2, column `f`: there is no file 'no.png' in /t or /jobs" in problem.message
    (problem,) = problems("params: {prompt: x, image: no.png}", [{}, {}])
    assert (problem.file, problem.line) == ("job.yaml", 3)
    (problem,) = problems("params: {prompt: x, image: /p/locked.png}")
    assert "cannot be read: Permission denied" in problem.message


def test_a_listed_picture_that_is_not_there_is_no_text_whatever_is_known_of_the_model() -> None:
    listed = picture_row("gone", name="gone.png", suffix=".png", folder="p")
    (problem,) = problems("params: {source: '{{ image }}'}", [listed], model=None)
    assert "there is no file '/p/gone.png'" in problem.message
    (task,) = plan("params: {style: '{{ style }}'}", [{"style": "/styles/of/the/server.png"}], model=None)
    assert task.params == {"style": "/styles/of/the/server.png"}


# Checks.


def test_table_text_becomes_the_type_of_its_parameter() -> None:
    text = "params: {prompt: '{{ p }}', steps: '{{ n }}', strength: '{{ x }}', base64: '{{ b }}'}"
    (task,) = plan(text, [cell(1, p="7", n="25", x="0.5", b="yes")])
    assert task.params == {"prompt": "7", "steps": 25, "strength": 0.5, "base64": True}
    assert task.columns["n"] == "25"


def test_only_table_text_is_converted() -> None:
    (problem,) = problems("params: {prompt: x, steps: '{{ n }}'}", [{"n": "25"}])
    assert "'25' is text" in problem.message


def test_a_cell_that_does_not_fit_is_told_with_row_and_column() -> None:
    text = "params: {prompt: x, steps: '{{ n }}'}"
    found = problems(text, [cell(1, n="many"), cell(2, n="5"), cell(3, n="500")])
    assert [(p.file, p.line, p.key) for p in found] == [
        ("t.csv", 2, "params.steps"),
        ("t.csv", 4, "params.steps"),
    ]
    assert "row 1, column `n`: 'many' is not a whole number" in found[0].message
    assert "row 3, column `n`: 500 is out of range" in found[1].message


def test_constants_and_axis_values_are_told_once_where_they_stand() -> None:
    # Parsed without the catalogue, as a manifest from Python may be: the plan checks for itself.
    text = "matrix: {power: [0.5, 3]}\nparams: {steps: 500, strength: '{{ power }}', bad: 1}"
    found = problems(text, [{"i": i} for i in range(50)])
    assert {(p.key, p.line) for p in found} == {
        ("params.steps", 4),
        ("params.bad", 4),
        ("params.prompt", 4),
        ("matrix.power.1", 3),
    }


def test_a_computed_value_is_told_with_its_row() -> None:
    (problem,) = problems("params: {prompt: x, steps: '{{ n * 100 }}'}", [{"n": 1}, {"n": 2}])
    assert "200 is out of range" in problem.message
    assert "(for rows row 2)" in problem.message


def test_at_most_twenty_problems_are_told() -> None:
    found = problems("params: {prompt: x, steps: '{{ n }}'}", (cell(n, n="x") for n in range(1, 1000)))
    assert len(found) == 21
    assert "there may be more" in found[-1].message


def test_an_unknown_variable_is_told_once_with_the_nearest() -> None:
    text = "matrix: {season: [a]}\nparams: {prompt: '{{ plce }} {{ season }}', image: '{{ img }}'}"
    found = problems(text, [cell(n, place="x", image="/p/a.png") for n in range(1, 9)])
    assert [(p.key, p.line) for p in found] == [("params.prompt", 4), ("params.image", 4)]
    assert "unknown variable `plce`; did you mean `place`?" in found[0].message
    (problem,) = problems("params: {prompt: x}\noutput: {name: '{{ stm }}'}", [picture_row("a")])
    assert (problem.key, "`stem`?" in problem.message) == ("output.name", True)


def test_problems_of_the_rows_join_those_of_the_plan() -> None:
    diagnostics = Diagnostics("job.yaml")

    def rows() -> Iterator[Row]:
        yield cell(1, n="x")
        diagnostics.fatal(Problem("the table broke", "t.csv", 3))

    text = "model: painter\ninputs: {table: t.csv}\nparams: {prompt: x, steps: '{{ n }}'}"
    manifest = parse(text, "job.yaml", FOLDER)
    with pytest.raises(ManifestError) as caught:
        list(expand(manifest, MODEL, rows(), PlanContext(digest, counter()), diagnostics))
    first, second = caught.value.problems
    assert ("row 1" in first.message, second.message) == (True, "the table broke")


def test_values_of_a_list_that_the_page_cuts_short_pass_with_one_warning_each() -> None:
    notes: list[str] = []
    plan(
        "params: {prompt: '{{ p }}', sampler: '{{ s }}'}",
        [{"p": p, "s": s} for p in "xyz" for s in "acd"],
        notes=notes,
    )
    assert len(notes) == 2
    assert all(note.startswith("sampler: ") for note in notes)


def test_a_column_may_not_have_the_name_of_an_axis_or_of_the_plan() -> None:
    for text in ("matrix: {a: [1]}", "seed: 1", ""):
        name = "a" if "matrix" in text else "seed" if text else "repeat"
        (problem,) = problems(f"{text}\nparams: {{prompt: x}}", [cell(1, **{name: "1"})])
        assert f"the column `{name}`" in problem.message
    assert plan("params: {prompt: x, seed: '{{ seed }}'}", [cell(1, seed="7")])[0].params["seed"] == 7


# The matrix.


def cells(text: str, rows: Iterable[Row | Mapping[str, Any]] = ({},)) -> list[Mapping[str, Any]]:
    return [task.columns for task in plan(f"matrix: {{{text}}}", rows, model=None)]


def test_include_works_as_the_documentation_of_github_actions_has_it() -> None:
    found = cells(
        "fruit: [apple, pear], animal: [cat, dog], include: [{color: green}, {color: pink, animal: cat}, "
        "{fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]"
    )
    assert found == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1, 2], exclude: [{a: 1}]", [{"a": 2}]),
        (
            "a: [1, 2], b: [x, y], exclude: [{a: 1, b: y}, {b: x, a: 2}]",
            [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        ),
        ("a: [1, 2], exclude: [{a: 1}], include: [{a: 1, c: 5}]", [{"a": 2}, {"a": 1, "c": 5}]),
        ("a: [1], exclude: [{a: 1}], include: [{c: 5}]", [{"c": 5}]),
        ("include: [{a: 1}, {a: 2, b: 3}]", [{"a": 1}, {"a": 2, "b": 3}]),
        ("a: [true, 1, 1.0], exclude: [{a: 1}]", [{"a": True}]),
        ("a: [[1, 2], {x: 1}], exclude: [{a: {x: 1}}]", [{"a": [1, 2]}]),
    ],
)
def test_exclude_comes_before_include(text: str, expected: list[Mapping[str, Any]]) -> None:
    assert cells(text) == expected


def test_exclude_and_include_may_name_columns() -> None:
    rows = [{"place": "italy"}, {"place": "japan"}]
    found = cells("season: [w, s], exclude: [{place: japan, season: s}]", rows)
    assert [(one["place"], one["season"]) for one in found] == [
        ("italy", "w"),
        ("italy", "s"),
        ("japan", "w"),
    ]
    found = cells("season: [w], include: [{place: japan, mood: calm}]", rows)
    assert found == [{"place": "italy", "season": "w"}, {"place": "japan", "season": "w", "mood": "calm"}]
    assert [one["place"] for one in cells("exclude: [{place: japan}]", rows)] == ["italy"]
    assert [one["n"] for one in cells("exclude: [{n: 2}]", [cell(1, n="1"), cell(2, n="2")])] == ["1"]


def test_an_exclude_by_what_is_nowhere_is_an_error() -> None:
    found = problems(
        "matrix: {a: [1], exclude: [{plce: x}]}\nparams: {prompt: x}",
        [cell(1, place="x")],
    )
    assert "excludes by `plce`" in found[0].message


def test_a_matrix_that_leaves_nothing_is_an_error() -> None:
    (problem,) = problems("matrix: {a: [1], exclude: [{a: 1}]}\nparams: {prompt: x}")
    assert "leaves nothing" in problem.message


def test_a_huge_matrix_is_never_held() -> None:
    axes = ", ".join(f"{name}: [{', '.join(map(str, range(50)))}]" for name in "abcd")
    manifest = parse(f"model: x\nmatrix: {{{axes}}}", "job.yaml", FOLDER)
    tasks = expand(manifest, None, [Row({})], PlanContext(digest, counter()), Diagnostics())
    assert next(tasks).columns == {"a": 0, "b": 0, "c": 0, "d": 0}
    assert next(tasks).columns["d"] == 1


# Keys and seeds.

SEEDED = "seed: 42\nparams: {prompt: '{{ p }}', image: '{{ image }}', seed: '{{ seed }}'}"


def test_a_key_is_32_hex_digits_and_stays_the_same_for_ever() -> None:
    (task,) = plan("params: {prompt: x, steps: 5}")
    assert task.key == "cb26e9542acd55787d83e631a3000359"
    (task,) = plan(SEEDED, [picture_row("a", p="x")])
    assert (task.key, task.params["seed"]) == ("3b86770337aeac1b432fa807e7cc6198", 1567325770)
    (task,) = plan("params: {prompt: '{{ p }}', image: 'https://h/100%/a.png', steps: 5}", [{"p": "x"}])
    assert task.key == "9aeaf94247b4a5415b8adab52e763734"


def test_a_key_hangs_on_content_not_on_path_order_or_limits() -> None:
    base = plan("params: {prompt: x, image: '{{ image }}', steps: 5}", [picture_row("a")])
    same = plan(
        "limits: {rpm: 5}\nname: other\napi: v1\nparams: {steps: 5, image: '{{ image }}', prompt: '{{ p }}'}",
        [picture_row("copy", p="x")],
    )
    assert keys(base) == keys(same)


@pytest.mark.parametrize(
    "text", ["params: {prompt: y}", "params: {prompt: x, steps: 5}", "params: {prompt: x, image: logo.png}"]
)
def test_a_key_changes_with_the_body(text: str) -> None:
    assert not keys(plan("params: {prompt: x}")) & keys(plan(text))


def test_more_repeats_add_tasks_and_change_none() -> None:
    two, three = (plan(f"repeat: {n}\n{SEEDED}", [picture_row("a", p="x")]) for n in (2, 3))
    assert keys(two) < keys(three)
    assert len({task.params["seed"] for task in three}) == 3


def test_identical_tasks_have_keys_and_seeds_of_their_own_and_are_told() -> None:
    notes: list[str] = []
    tasks = plan(
        SEEDED, [picture_row("a", p="x"), picture_row("copy", p="x"), picture_row("b", p="x")], notes=notes
    )
    assert len(keys(tasks)) == len({task.params["seed"] for task in tasks}) == 3
    assert notes == ["1 task is identical to an earlier one (first: copy); each is paid for"]


def test_a_seed_hangs_on_what_params_uses_only() -> None:
    def seeds(text: str, *rows: Row) -> list[int]:
        return [task.params["seed"] for task in plan(text, rows)]

    alone = seeds(SEEDED, picture_row("a", p="x"))
    assert seeds(SEEDED, picture_row("b", p="x"), picture_row("a", p="x", label="cat"))[1:] == alone
    assert seeds(SEEDED.replace("prompt: '", "prompt: 'nicer: "), picture_row("a", p="x")) == alone
    assert (
        seeds(SEEDED.replace("params", "matrix: {unused: [1, 2]}\nparams"), picture_row("a", p="x"))[:1]
        == alone
    )
    assert seeds(SEEDED.replace("42", "43"), picture_row("a", p="x")) != alone
    assert seeds(SEEDED, picture_row("a", p="y")) != alone
    assert seeds(SEEDED, picture_row("b", p="x")) != alone
    assert 0 <= alone[0] < 2**32


def test_a_seed_can_be_computed_with() -> None:
    (task,) = plan(
        "seed: 1\nparams: {prompt: 'no {{ seed }}', seed: '{{ seed % 100 }}'}\noutput: {name: 's{{ seed }}'}"
    )
    assert task.params["seed"] == task.columns["seed"] % 100
    assert (task.params["prompt"], task.name) == (f"no {task.columns['seed']}", f"s{task.columns['seed']}")


small = st.sampled_from(["x", "y", "z", "", "ü", "%s", '"'])
tables = st.lists(st.fixed_dictionaries({"p": small, "q": small, "unused": small}), min_size=1, max_size=6)
DYNAMIC = (
    "params: {prompt: '{{ p }}-{{ q }}', seed: '{{ seed }}', deep: ['{{ q }}']}\nunchecked: [deep]\nseed: 7"
)


@given(tables)
def test_the_same_plan_is_made_twice_and_its_keys_are_unique(rows: list[dict[str, str]]) -> None:
    text = f"{DYNAMIC}\nmatrix: {{s: [1, 2]}}\nrepeat: 2"
    tasks = plan(text, rows)
    assert tasks == plan(text, rows)
    assert len(keys(tasks)) == len(tasks) == len(rows) * 4


@given(tables, st.fixed_dictionaries({"p": small, "q": small, "unused": small}))
def test_a_row_more_changes_no_other_task(rows: list[dict[str, str]], more: dict[str, str]) -> None:
    before = Counter((task.key, task.params["seed"]) for task in plan(DYNAMIC, rows))
    after = Counter((task.key, task.params["seed"]) for task in plan(DYNAMIC, [more, *rows]))
    assert before <= after


@given(tables)
def test_a_column_or_axis_that_params_does_not_use_changes_no_key(rows: list[dict[str, str]]) -> None:
    bare = keys(plan(DYNAMIC, [{"p": row["p"], "q": row["q"]} for row in rows]))
    assert bare == keys(plan(DYNAMIC, rows))
    assert bare <= keys(plan(f"{DYNAMIC}\nmatrix: {{axis: [1, 2, 3]}}", rows))


# Names.


@pytest.mark.parametrize(
    ("text", "rows", "names"),
    [
        ("matrix: {s: [w, x]}", [picture_row("cat")], ["cat-w", "cat-x"]),
        (
            "matrix: {s: [0.5, true, null, -1, [1, 2]]}",
            [picture_row("c")],
            ["c-0.5", "c-true", "c-null", "c--1", "c-1_2"],
        ),
        ("repeat: 2", [picture_row("c")], ["c-0", "c-1"]),
        ("matrix: {s: ['a red house, at night!']}", [picture_row("c")], ["c-a_red_house_at_night"]),
        ("", [{"p": "red car"}, {"p": "blue/car"}], ["red_car", "blue_car"]),
        ("", [{"p": "x"}, {"p": "x"}], ["x", "x-2"]),
        ("output: {name: '{{ p }}/../{{ repeat }}'}", [{"p": "a"}], ["a_._0"]),
        ("output: {name: fixed}", [{"p": "a"}], ["fixed"]),
        ("output: {name: '{{ p }}'}", [{"p": 5}], ["5"]),
    ],
)
def test_names_follow_the_template_or_the_stem_and_every_axis(
    text: str, rows: list[Any], names: list[str]
) -> None:
    params = (
        "params: {prompt: '{{ p | default(stem) | string }}'}"
        if not isinstance(rows[0], Row)
        else "params: {prompt: x}"
    )
    assert [task.name for task in plan(f"{text}\n{params}", rows)] == names


def test_long_axis_values_stay_apart() -> None:
    long = "word " * 60
    tasks = plan(
        f"matrix: {{s: ['{long}one', '{long}two']}}\nparams: {{prompt: '{{{{ s }}}}'}}", [picture_row("c")]
    )
    names = [task.name for task in tasks]
    assert len(set(names)) == 2
    assert all(len(name) < 80 for name in names)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("plain-Name_1.5", "plain-Name_1.5"),
        ("a b", "a b"),
        ("", "_"),
        ("..", "_"),
        (".", "_"),
        ("../../etc/passwd", "_._etc_passwd"),
        ("/abs", "_abs"),
        ("a\\b", "a_b"),
        ("a\0b\nc", "a_b_c"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("end. ", "end"),
        ("CON", "_CON"),
        ("con.png", "_con.png"),
        ("com1", "_com1"),
        ("COM¹", "_COM¹"),
        ("console", "console"),
        ('a<>:"|?*b', "a_______b"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\uff0fb", "a_b"),
        ("a\u2215b\u2044c", "a_b_c"),
        ("\uff0e\uff0e", "__"),
        ("e\u0301", "\u00e9"),
        ("東京-夏", "東京-夏"),
        ("\ud800x", "_x"),
    ],
)
def test_a_name_is_made_safe(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_long_names_are_cut_and_stay_distinct() -> None:
    first, second = (safe_name("ü" * 500 + end) for end in "ab")
    assert first != second
    assert all(len(name.encode()) <= 150 for name in (first, second))


nasty = st.text(
    st.characters() | st.sampled_from("./\\ -_:*con\0\u200b\u202e\uff0f\uff0e\u0301\u2024éK\u212a\ud800"),
    max_size=220,
)


@given(nasty)
def test_no_name_escapes(text: str) -> None:
    name = safe_name(text)
    assert name
    assert len(name.encode()) <= 150
    assert not set(name) & set('/\\<>:"|?*\0')
    assert ".." not in name
    assert name[0] not in ".- "
    assert name[-1] not in ". "
    assert not any(unicodedata.category(one) in ("Cc", "Cf", "Cs") for one in name)
    assert Path("/out", name).parent == Path("/out")
    assert "/" not in unicodedata.normalize("NFKC", name)


@given(nasty)
def test_a_safe_name_is_safe_already(text: str) -> None:
    name = safe_name(text)
    assert safe_name(name) == name
    assert name_key(name_key(name)) == name_key(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cAT"),
        ("ｃａｔ", "cat"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("K", "\u212a"),
        ("ﬁ", "fi"),
    ],
)
def test_look_alikes_have_one_key(one: str, other: str) -> None:
    assert name_key(safe_name(one)) == name_key(safe_name(other))


def test_a_joined_row_knows_its_parts() -> None:
    row = join((picture_row("a"), cell(3, p="x")))
    assert row.part("p").line == 4
    assert row.part("stem").file == "/p/a.png"
    assert row.origin == "/p/a.png with t.csv row 3"
    assert row.text == {"p"}
