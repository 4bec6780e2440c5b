"""YAML -> Manifest: defaults, every wrong key in plain words, and all of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batcher.engine import load
from batcher.errors import ManifestError, Problem
from batcher.job.manifest import Manifest, examine, further, seconds
from batcher.job.manifest.templates import TemplateError, compile_template
from tests.support.manifests import EVERY_KEY, parse

FOLDER = Path("/jobs")


def problems(text: str, *overrides: str) -> list[Problem]:
    with pytest.raises(ManifestError) as caught:
        parse(text, "job.yaml", FOLDER, overrides)
    return list(caught.value.problems)


def only(text: str, *overrides: str) -> Problem:
    found = problems(text, *overrides)
    assert len(found) == 1, found
    return found[0]


def test_the_smallest_manifest_has_the_defaults_of_the_design() -> None:
    job = parse("model: mock-inference", "nightly.yaml", FOLDER)
    assert (job.name, job.api, job.inputs, job.repeat, job.seed) == ("nightly", None, (), 1, None)
    assert job.output.dir == Path("/jobs/out/nightly")
    assert (job.limits.rpm, job.limits.metered, job.limits.in_flight, job.limits.downloads) == (
        60,
        "auto",
        None,
        8,
    )
    assert (job.limits.max_cost, job.limits.max_duration) == (None, None)
    assert (job.retry.attempts, job.retry.statuses) == (5, (429, 502, 503, 504))
    assert (job.retry.backoff.first, job.retry.backoff.max) == (1, 60)
    assert (job.retry.failed, job.retry.doubtful, job.retry.expired) == (0, "resubmit", "resubmit")
    assert (job.poll.delay, job.poll.every, job.result_ttl, job.uploads) == (1, None, 3600, "storage")


def test_everything_of_the_grammar_is_read() -> None:
    job = parse(EVERY_KEY, "job.yaml", FOLDER)
    images, table, dataset, rows = job.inputs
    assert images.images == ("../photos/**/*.jpg", "s3://bucket/x/")
    assert (images.missing, images.sample, images.limit, rows.empty) == ("skip", 100, 10, "allow")
    assert (table.table, dataset.dataset, dataset.order) == ("prompts.csv", ("../pets",), ("label",))
    assert rows.rows == ({"place": "italy"}, {"place": "japan"})
    assert dict(job.matrix.axes) == {"season": ("winter", "summer")}
    assert job.matrix.exclude == ({"place": "japan", "season": "summer"},)
    assert job.output.dir == Path("/out/streets")
    assert (job.limits.rpm, job.limits.max_cost, job.limits.max_duration) == (None, 25, 7200)
    assert (job.retry.backoff.first, job.retry.backoff.max) == (0.5, 300)
    assert (job.poll.delay, job.poll.every, job.result_ttl) == (None, 2, 7 * 86400)
    assert job.params["deep"] == [{"a": 1}]


@pytest.mark.parametrize(
    ("lines", "key", "place", "says"),
    [
        ("limits: {rmp: 5}", "limits.rmp", (2, 10), "did you mean `rpm`?"),
        ("modle: x", "modle", (2, 1), "did you mean `model`?"),
        ("retry: {backoff: {frist: 1s}}", "retry.backoff.frist", (2, 19), "did you mean `first`?"),
        ("inputs: {image: a.jpg}", "inputs.0.image", (2, 10), "did you mean `images`?"),
        ("path: /x", "path", (2, 1), "unknown key"),
        ("repeat: two", "repeat", (2, 9), "must be a whole number, not the text 'two'"),
        ("repeat: 0", "repeat", (2, 9), "must be at least 1"),
        ("repeat: true", "repeat", (2, 9), "must be a whole number, not the boolean true"),
        ("seed: 1.5", "seed", (2, 7), "must be a whole number, not the number 1.5"),
        ("limits: {rpm: fast}", "limits.rpm", (2, 15), "must be a number, not the text 'fast'"),
        ("limits: {rpm: 0}", "limits.rpm", (2, 15), "must be above 0"),
        ("limits: {rpm: }", "limits.rpm", (2, 15), "none for an unpaced endpoint"),
        ("limits:", "limits", (2, 8), "not nothing"),
        ("api: v3", "api", (2, 6), "'v3' is not one of v1, v2"),
        ("combine: zipp", "combine", (2, 10), "not one of product, zip; did you mean zip?"),
        ("retry: {doubtful: resubmitt}", "retry.doubtful", (2, 19), "resubmit, hold, reconcile"),
        ("retry: {statuses: [200]}", "retry.statuses.0", (2, 20), "at least 400"),
        ("retry: {backoff: {first: 2m}}", "retry.backoff", (2, 18), "is longer than max"),
        ("result_ttl: 5 parsecs", "result_ttl", (2, 13), "not a duration such as 500ms, 2s"),
        ("result_ttl: 60", "result_ttl", (2, 13), "write the unit, as 60s"),
        ("result_ttl: 0s", "result_ttl", (2, 13), "must be above zero"),
        ("poll: {delay: 1s, every: 2s}", "poll", (2, 7), "not both"),
        ("matrix: {season: winter}", "matrix.season", (2, 18), "must be a list"),
        ("matrix: {season: []}", "matrix.season", (2, 18), "is empty"),
        ("matrix: {repeat: [1]}", "matrix.repeat", (2, 10), "choose another name"),
        ("matrix: {aspect-ratio: [1]}", "matrix.aspect-ratio", (2, 10), "cannot be a variable"),
        ("matrix: {a: [1], exclude: [{b: 1}]}", "matrix.exclude.0.b", (2, 29), "which is no axis or column"),
        ("inputs: {images: a, table: b}", "inputs.0", (2, 9), "it has images and table"),
        ("inputs: [{}]", "inputs.0", (2, 10), "it has none of them"),
        ("inputs: [5]", "inputs.0", (2, 10), "not the number 5"),
        ("inputs: {images: a, missing: skip}", "inputs.0", (2, 9), "has no `companions`"),
        ("params: [a]", "params", (2, 9), "must be `key: value` lines, not a list"),
        ("params: {p: '{{ if'}", "params.p", (2, 13), "the template cannot be read"),
        ("params: {p: '{{ seed }}'}", "params.p", (2, 13), "needs a top-level `seed:`"),
        (
            "matrix: {season: [a]}\nparams: {p: {q: ['{{ seson }}']}}",
            "params.p.q.0",
            (3, 18),
            "did you mean `season`?",
        ),
        ("output: {name: '{{ stm }}'}\ninputs: {images: a}", "output.name", (2, 16), "did you mean `stem`?"),
        ("inputs: {images: a, companions: {m: '{{ stm }}'}}", "inputs.0.companions.m", (2, 37), "`stem`?"),
        ("output: {dir: 'https://b/x'}", "output.dir", (2, 15), "https:// cannot be written to"),
        ("output: {dir: 's3:///'}", "output.dir", (2, 15), "names no bucket"),
        ("name: a/b", "name", (2, 7), "cannot name a job"),
        ("model: y", "model", (2, 1), "is given twice, first in line 1"),
        ("5: y", "", (2, 1), "put it in quotes"),
        ("params: {p: {{ image }}}", "params.p", (2, 14), 'as "{{ image }}"'),
        ("params: {p: !!python/name:os.system x}", "params.p", (2, 13), "is not known here"),
        ("params: {p: 1e999}", "params.p", (2, 13), "cannot be read as float"),
    ],
)
def test_a_wrong_key_is_told_with_its_place(lines: str, key: str, place: tuple[int, int], says: str) -> None:
    problem = only(f"model: x\n{lines}\n")
    assert (problem.file, problem.key, (problem.line, problem.column)) == ("job.yaml", key, place)
    assert says in problem.message
    assert "pydantic" not in str(problem)
    assert "Input should" not in str(problem)


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        "limits: {rmp: 5, in_flight: many}\nrepeat: 0\nrepeat: 1\n"
        "params: {p: '{{ x', q: '{{ y }}'}\nresult_ttl: soon\n"
    )
    keys = [
        "model",
        "limits.rmp",
        "limits.in_flight",
        "repeat",
        "repeat",
        "params.p",
        "params.q",
        "result_ttl",
    ]
    assert [problem.key for problem in found] == keys


def test_values_that_the_model_does_not_take_are_told_with_the_rest() -> None:
    found = problems(
        "model: sd1.5-outpaint\n"
        "matrix: {power: [0.5, 30]}\n"
        "params: {image: a.png, prompt: x, sed: 1, strength: '{{ power }}', num_inference_steps: 5.5}\n"
        "limits: {rmp: 1}\n"
    )
    assert [(p.key, p.line) for p in found] == [
        ("matrix.power.1", 2),
        ("params.sed", 3),
        ("params.num_inference_steps", 3),
        ("limits.rmp", 4),
    ]
    assert "strength: 30 is out of range" in found[0].message
    assert "did you mean seed?" in found[1].message


def test_a_missing_model_is_told() -> None:
    assert "the slug of the model" in only("name: x").message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; a manifest needs at least `model`"),
        ("- a", "must be `key: value` lines"),
        ("model: [", "is not YAML"),
        ("model: x\n\tname: y", "is not YAML"),
        ("a: &a [*a]\nmodel: x", "is not YAML|contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("x" * 4_000_001, "is larger than 4 MB"),
        (
            "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
            + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)),
            "aliases unfold to more than",
        ),
    ],
)
def test_what_is_no_manifest_is_one_sentence(text: str, says: str) -> None:
    found = problems(text)
    assert any(one in str(problem) for problem in found for one in says.split("|"))


def test_a_syntax_error_has_line_column_and_excerpt() -> None:
    problem = only("model: x\nparams:\n  a: 'b\n")
    assert problem.line >= 3
    assert problem.column


def test_anchors_and_merge_keys_work() -> None:
    job = parse(
        "model: x\nmatrix: {a: &v [1, 2], b: *v}\nretry: &r {attempts: 2}\nparams: {p: {<<: *r, q: 1}}",
        "j",
        FOLDER,
    )
    assert dict(job.matrix.axes) == {"a": (1, 2), "b": (1, 2)}
    assert job.params == {"p": {"attempts": 2, "q": 1}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("16:9", "16:9"),
        ("2024-01-01", "2024-01-01"),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("0x10", 16),
        ("True", True),
        ("~", None),
        (".5", 0.5),
        ("'5'", "5"),
        (".inf", ".inf"),
    ],
)
def test_plain_values_mean_what_they_look_like(text: str, value: Any) -> None:
    found = parse(f"model: x\nparams: {{p: {text}}}", "j", FOLDER).params["p"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("limits.rpm=120", lambda job: job.limits.rpm, 120),
        ("limits.rpm=none", lambda job: job.limits.rpm, None),
        ("params.prompt=a = b", lambda job: job.params["prompt"], "a = b"),
        ("matrix.season=[autumn]", lambda job: job.matrix.axes["season"], ("autumn",)),
        ("inputs.0.images=x.png", lambda job: job.inputs[0].images, ("x.png",)),
        ("retry.backoff.first=2s", lambda job: job.retry.backoff.first, 2.0),
        ("seed=", lambda job: job.seed, None),
    ],
)
def test_set_lays_a_value_over_the_file(override: str, get: Any, value: Any) -> None:
    text = "model: x\ninputs: [{images: a.png}]\nmatrix: {season: [winter]}\nparams: {prompt: p}"
    assert get(parse(text, "j", FOLDER, [override])) == value


@pytest.mark.parametrize("key", ["inputs.companions.mask", "inputs.0.companions.mask"])
def test_a_set_of_a_source_without_a_list_is_told_by_its_text_too(key: str) -> None:
    text = "model: x\ninputs: {images: a.png, companions: {mask: '{{ stem }}.png'}}"
    assert parse(text, "j", FOLDER, [f"{key}=m.png"]).inputs[0].companions == {"mask": "m.png"}
    problem = only(text, f"{key}={{{{ stm }}}}.png")
    assert problem.file == f"--set {key}={{{{ stm }}}}.png"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("limits.rpm=fast", "must be a number"),
        ("output.dir=", "must be the path of a folder, not nothing"),
        ("limits.rmp=5", "did you mean `rpm`?"),
        ("limits.rmp.x=5", "did you mean `rpm`?"),
        ("a.b=1", "unknown key"),
        ("matrix.axis.x=1", "must be a list"),
        ("limits", "is not `key=value`"),
        ("a..b=1", "is not `key=value`"),
        ("model.x=1", "it has no key `x`"),
        ("inputs.7.images=x", "is a list of 1"),
        ("seed=[1", "is not YAML"),
    ],
)
def test_a_wrong_set_is_told_by_its_text(override: str, says: str) -> None:
    problem = only("model: x\ninputs: [{images: a.png}]", override)
    assert problem.file == f"--set {override}"
    assert says in problem.message
    assert (problem.excerpt, problem.line) == (override, 0)


@pytest.mark.parametrize(
    ("override", "column"),
    [
        ("limits.rpm=fast", 12),
        ("limits.rmp=5", 1),
        ("seed=[1", 6),
        ("params.p={{ x", 10),
        ("matrix.a=[]", 10),
    ],
)
def test_a_caret_stands_under_what_is_wrong_with_a_set(override: str, column: int) -> None:
    problem = problems("model: x", override)[0]
    assert problem.column == column
    assert str(problem).splitlines()[1:] == [f"    {override}", f"    {' ' * (column - 1)}^"]


def test_every_problem_of_a_manifest_has_its_line_and_a_caret() -> None:
    text = (
        "limits: {rmp: 5, in_flight: many}\nrepeat: 0\nrepeat: 1\nresult_ttl: soon\nmodel: sd1.5-outpaint\n"
        "params: {prompt: '{{ x', image: '{{ y }}', strength: 7, sed: 1, canvas: '16:9'}\n"
        "matrix: {repeat: [1], exclude: [{b: 1}]}\ninputs: {images: a, filter: 'x', order: 5}\n"
    )
    for problem in problems(text):
        assert problem.line, problem
        assert problem.column, problem
        assert problem.excerpt, problem


@pytest.mark.parametrize(
    ("text", "value"),
    [("500ms", 0.5), ("2s", 2.0), ("5m", 300.0), ("1h", 3600.0), ("7d", 604800.0), ("1.5h", 5400.0)],
)
def test_durations_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 h 30 m", "1y", "٣s", 5, None, True, "9" * 40 + "s"])
def test_other_texts_are_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


def test_the_resolved_manifest_loads_again_from_anywhere() -> None:
    text = (
        "model: x\n"
        "inputs: [{images: [a.png, 'http://h/b.png'], companions: {m: '{{ stem }}.png'}}, {table: t.csv}]\n"
        "matrix: {s: [1, null], include: [{s: 1, t: null}]}\nlimits: {rpm: none, max_duration: 90s}\n"
        "poll: {every: 250ms}\n"
        "retry: {backoff: {first: 1ms}}\nparams: {p: '{{ s }}', q: null}\n"
    )
    job = parse(text, "job.yaml", FOLDER)
    again = parse(yaml.safe_dump(job.resolved()), "elsewhere.yaml", Path("/other"))
    assert again.resolved() == job.resolved()
    assert (again.name, again.params, again.matrix) == ("job", job.params, job.matrix)
    assert again.inputs[0].images == ("/jobs/a.png", "http://h/b.png")
    assert again.inputs[0].companions == {"m": "/jobs/{{ stem }}.png"}
    assert (again.limits, again.retry, again.poll, again.output) == (
        job.limits,
        job.retry,
        job.poll,
        job.output,
    )


def test_the_fingerprint_changes_with_what_the_plan_depends_on_only() -> None:
    def fingerprint(*overrides: str) -> str:
        return parse("model: x\nmatrix: {s: [1]}\nparams: {p: a}", "j", FOLDER, overrides).fingerprint()

    assert fingerprint() == fingerprint("limits.rpm=5", "api=v1", "price=2", "result_ttl=2h", "name=other")
    others = ["model=y", "matrix.s=[2]", "params.p=b", "seed=1", "repeat=2", "output.name=a", "inputs=a.png"]
    others[-1] = "inputs={images: a.png}"
    assert len({fingerprint(), *(fingerprint(one) for one in others)}) == len(others) + 1


def test_a_manifest_is_frozen_and_names_its_places() -> None:
    job = parse("model: x\nparams:\n  p: a\n", "job.yaml", FOLDER)
    with pytest.raises(ValueError, match="frozen"):
        job.repeat = 5  # type: ignore[misc]
    assert str(job.problem(("params", "p"), "is odd")).startswith("job.yaml:3:6: params.p: is odd")


def test_load_reads_a_file_and_takes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_bytes(b"\xef\xbb\xbfmodel: x\n")
    job = load(path, overrides=["repeat=3"])
    assert (job.name, job.folder, job.output.dir, job.repeat) == ("demo", tmp_path, tmp_path / "out/demo", 3)


@pytest.mark.parametrize(
    ("content", "says"), [(None, "there is no such manifest"), (b"model: x\n\xff", "is not UTF-8 text")]
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "job.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError, match=says):
        load(path)
    with pytest.raises(ManifestError, match="is a folder"):
        load(tmp_path)


def test_examine_gives_what_is_left_of_a_wrong_manifest(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("model: x\nresult_ttl: soon\nlimits: {rmp: 1}\nparams: {p: '{{ x', q: 1}\nrepeat: 2\n")
    job, found = examine(path)
    assert isinstance(job, Manifest)
    assert (job.repeat, job.params, job.result_ttl) == (2, {"q": 1}, 3600)
    assert [problem.key for problem in found] == ["result_ttl", "limits.rmp", "params.p"]
    more = [
        Problem("is missing", key="params.p"),
        Problem("no file", key="inputs.0.images"),
        Problem("row 3"),
    ]
    assert [problem.message for problem in further(found, more)[3:]] == ["no file", "row 3"]


def test_examine_gives_nothing_where_the_rows_would_be_others(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("model: x\ninputs: [{}, {rows: [{a: 1}]}]\n")
    job, found = examine(path)
    assert (job, len(found)) == (None, 1)


# Templates.

VALUES = {"s": "text", "n": 5, "f": 0.5, "b": True, "none": None, "list": [1, "a"]}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ n }}", 5),
        ("{{n}}", 5),
        ("{{- f -}}", 0.5),
        ("{{ b }}", True),
        ("{{ none }}", None),
        ("{{ list }}", [1, "a"]),
        ("{{ n * 2 }}", 10),
        ("{{ s | upper }}", "TEXT"),
        ("{{ n | string }}", "5"),
        ("{{ {'a': n} }}", {"a": 5}),
        ("{{ (1, 2) }}", [1, 2]),
        (" {{ n }}", " 5"),
        ("100 % {{ s }} %s", "100 % text %s"),
        ("{{ s }}{{ n }}", "text5"),
        ("{{ s }}-{{ n }}-{{ b }}", "text-5-True"),
        ("{% if b %}yes{% else %}{{ absent }}{% endif %}", "yes"),
        ("{{ absent | default('x') }}", "x"),
        ("{{ '{{' }} {{ s }}", "{{ text"),
        ("{# nothing #}", ""),
        ("{{ range(3) | list }}", [0, 1, 2]),
    ],
)
def test_a_lone_template_keeps_its_type_and_others_give_text(source: str, value: Any) -> None:
    template = compile_template(source)
    found = template.render(VALUES)
    assert (found, type(found)) == (value, type(value))
    assert not template.constant


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ absent }}", "unknown variable `absent`"),
        ("x {{ absent }}", "unknown variable `absent`"),
        ("{{ s }} {{ n }} {{ absent }}", "unknown variable `absent`"),
        ("{{ absent | upper }}", "unknown variable `absent`"),
        ("{{ [absent] }}", "unknown variable `absent`"),
        ("{{ s.__class__.__mro__ }}", "unsafe|unknown|undefined"),
        ("{{ 'a' * 100000000 }}", "more than 1000000"),
        ("{{ 9 ** 999999999 }}", "a power above 64"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ range(10) }}", "no request can hold"),
        ("{{ list | map('upper') }}", "try `| list`"),
        ("{{ list | random }}", "No filter named 'random'"),
        ("{{ lipsum() }}", "lipsum"),
        ("{% include 'x' %}", "no loader"),
        ("{{ 1e308 * 10 }}", "no number for a request"),
        ("{{ 1 if false }}", "no else section was defined"),
        ("{{ list[9] }}", "has no element 9"),
        ("{{ '\ud800' }}", "half a character"),
        ("{{ ['\ud800'] }}", "half a character"),
        ("a {{ '\ud800' }}", "half a character"),
        ("{{ list.append(1) }}", "unsafe"),
        ("{% set _ = list.clear() %}{{ list }}", "unsafe"),
    ],
)
def test_a_template_that_cannot_be_rendered_says_why(source: str, says: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(source).render(VALUES)
    assert any(one in str(caught.value) for one in says.split("|"))


def test_a_template_tells_what_it_reads() -> None:
    template = compile_template(
        "{{ a }} {{ b | default(1) }} {% if c is defined %}{{ c }}{% endif %} {{ range(2) }}"
    )
    assert template.variables == {"a", "b", "c"}
    assert template.required == {"a"}
    assert compile_template("{{ a }}").lone == "a"
    assert compile_template("{{ a + 1 }}").lone is None
    assert compile_template("plain { text }").constant


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(json_values)
def test_any_json_value_passes_a_lone_template_as_it_is(value: Any) -> None:
    found = compile_template("{{ x }}").render({"x": value})
    assert found is value
    assert compile_template("{{ [x][0] }}").render({"x": value}) == value


@given(st.text(alphabet="{}%#'\"ab |-+\n\\", max_size=30))
def test_no_text_breaks_the_template_compiler(source: str) -> None:
    try:
        template = compile_template(source)
        if not template.constant:
            template.render({"a": 1, "b": "x", "ab": None})
    except TemplateError:
        pass


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(ManifestError):
        parse(f"{text}\nmodel: [", "job.yaml", FOLDER)
