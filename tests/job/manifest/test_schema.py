"""The JSON Schema: what the grammar takes it takes, and what people get wrong it shows while they type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from batcher.cli import ended
from batcher.errors import ManifestError
from batcher.job.catalog import models
from batcher.job.manifest import examine, grammar
from batcher.job.manifest.schema import schema
from batcher.job.yaml_document import read_value
from tests.support.manifests import EVERY_KEY, parse

JOBS = Path(__file__).parents[3] / "jobs"
SCHEMA = schema(models())
VALIDATOR = Draft7Validator(SCHEMA)


def wrong(text: str) -> list[str]:
    """The dotted keys at which the schema finds something."""
    return sorted({".".join(map(str, error.path)) for error in VALIDATOR.iter_errors(read_value(text))})


def test_it_is_a_schema_that_editors_understand() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].startswith("http://json-schema.org/draft-07/")
    json.dumps(SCHEMA)


@pytest.mark.parametrize("manifest", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_manifests_pass(manifest: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read_value(manifest.read_text("utf-8")))] == []


def test_a_manifest_with_every_key_passes_both() -> None:
    assert wrong(EVERY_KEY) == []
    job = parse(EVERY_KEY, "job.yaml", Path("/jobs"))
    assert VALIDATOR.is_valid(read_value(yaml.safe_dump(job.resolved()))), "the resolved one too"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name: x", ""),
        ("model: x\nmodle: y", ""),
        ("model: x\nlimits: {rmp: 5}", "limits"),
        ("model: x\nlimits: {rpm: fast}", "limits.rpm"),
        ("model: x\nlimits: {rpm: 0}", "limits.rpm"),
        ("model: x\nrepeat: 0", "repeat"),
        ("model: x\nrepeat: two", "repeat"),
        ("model: x\nseed: 1.5", "seed"),
        ("model: x\napi: v3", "api"),
        ("model: x\ncombine: zipp", "combine"),
        ("model: x\nuploads: storge", "uploads"),
        ("model: x\nresult_ttl: 60", "result_ttl"),
        ("model: x\nresult_ttl: 5 parsecs", "result_ttl"),
        ("model: x\npoll: {delay: 1s, every: 2s}", "poll"),
        ("model: x\nretry: {doubtful: resubmitt}", "retry.doubtful"),
        ("model: x\nretry: {statuses: [200]}", "retry.statuses.0"),
        ("model: x\nmatrix: {season: winter}", "matrix.season"),
        ("model: x\nmatrix: {season: []}", "matrix.season"),
        ("model: x\nmatrix: {repeat: [1]}", "matrix"),
        ("model: x\nmatrix: {aspect-ratio: [1]}", "matrix"),
        ("model: x\ninputs: {images: a, table: b}", "inputs"),
        ("model: x\ninputs: [{}]", "inputs"),
        ("model: x\ninputs: {table: t.csv, sample: 0}", "inputs"),
        ("model: x\ninputs: {table: t.csv, filter: width > 5}", "inputs"),
        ("model: x y", "model"),
        ("model: x\nparams: [a]", "params"),
        ("model: sd1.5-outpaint\nparams: {prompt: x}", "params"),
        ("model: sd1.5-outpaint\nparams: {image: a, prompt: x, sed: 1}", "params"),
        ("model: sd1.5-outpaint\nparams: {image: a, prompt: x, strength: 1.5}", "params.strength"),
        ("model: sd1.5-outpaint\nparams: {image: a, prompt: x, img_width: 512}", "params.img_width"),
        ("model: seg-beyond\nparams: {input_image: a, prompt: x, canvas: {apsect: '1:1'}}", "params.canvas"),
        ("model: sd1.5-img2img\nparams: {image: a, prompt: x, canvas: '1:1'}", "params"),
    ],
)
def test_what_people_get_wrong_is_shown_at_its_key_and_refused_by_the_grammar(text: str, key: str) -> None:
    assert key in wrong(text)
    with pytest.raises(ManifestError):
        parse(text, "job.yaml", Path("/jobs"))


@pytest.mark.parametrize(
    "params",
    [
        "{image: a, prompt: '{{ p }}', strength: '{{ s }}', img_width: '{{ w }}'}",
        "{image: a, prompt: x, scheduler: DDIM, scale: 1}",
        "{image: a, prompt: x, canvas: '4:3'}",
        "{image: a, prompt: x, canvas: {aspect: '{{ a }}', anchor: top-left}}",
    ],
)
def test_templates_and_values_of_a_model_pass(params: str) -> None:
    assert wrong(f"model: sd1.5-outpaint\nparams: {params}") == []


def test_a_list_that_the_page_cuts_short_lets_others_pass() -> None:
    assert wrong("model: focus-outpaint\nparams: {input_image: a, prompt: x, sampler: other}") == []


def test_unchecked_parameters_pass() -> None:
    text = "model: sd1.5-outpaint\nparams: {image: a, prompt: x, brand_new: 1}"
    assert wrong(text) == ["params"]
    assert wrong(f"{text}\nunchecked: [brand_new]") == []


def sections(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of the manifest that knows its keys, with its path."""
    if schema.get("additionalProperties") is False:
        yield path, schema
    for key, inner in schema.get("properties", {}).items():
        yield from sections(inner, f"{path}.{key}".strip("."))
    for inner in schema.get("anyOf", ()):
        yield from sections(inner, path)


def test_every_section_and_every_key_is_there_and_is_described() -> None:
    found = dict(sections(SCHEMA))
    assert list(found) == [
        "",
        "inputs",
        "checks",
        "accept",
        "output",
        "limits",
        "limits.max_cost_per",
        "retry",
        "retry.backoff",
        "poll",
    ]
    assert found[""]["properties"].keys() == grammar.ManifestFile.model_fields.keys()
    for path, section in found.items():
        for key, drawn in section["properties"].items():
            assert drawn.get("description"), f"{path}.{key}"
            assert "title" not in drawn


def test_defaults_are_what_a_manifest_would_say() -> None:
    found = dict(sections(SCHEMA))
    said = {
        f"{path}.{key}".strip("."): drawn["default"]
        for path, section in found.items()
        for key, drawn in section["properties"].items()
        if "default" in drawn and path != "inputs"
    }
    job = parse("model: x", "job.yaml", Path("/jobs"))
    text = yaml.safe_dump({"model": "x"})
    sets = [f"{key}={json.dumps(value)}" for key, value in said.items()]
    assert parse(text, "job.yaml", Path("/jobs"), sets).resolved() == job.resolved()
    assert {
        "limits.rpm": 60,
        "result_ttl": "1h",
        "retry.statuses": [429, 502, 503, 504],
    }.items() <= said.items()


def test_the_command_prints_it_with_the_models_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("slug: mine\nparameters: {power: {type: integer, maximum: 5}}\n")
    assert ended(["schema"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "mine" in found["properties"]["model"]["anyOf"][0]["enum"]
    assert not Draft7Validator(found).is_valid({"model": "mine", "params": {"power": 6}})
    assert Draft7Validator(found).is_valid({"model": "mine", "params": {"power": 5}})


def test_no_mistake_of_the_schema_hides_a_manifest_that_is_sound() -> None:
    for path in sorted(JOBS.glob("*.yaml")):
        job, problems = examine(path)
        assert job is not None
        assert problems == []
        assert VALIDATOR.is_valid(read_value(yaml.safe_dump(job.resolved(), allow_unicode=True)))
