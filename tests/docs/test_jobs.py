"""The ready manifests run, and what a model takes arrives as it was written."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import load, outlook, run
from batcher.job.catalog import Model, Parameter, find, models
from batcher.results.report import Report
from batcher.sandbox import Sandbox
from tests.support.sandboxes import MakeSandbox

JOBS = Path(__file__).parents[2] / "jobs"
PHOTOS = JOBS.parent / "examples" / "photos"
SLUGS = [model.slug for model in models()]
KEY = "SG_0123456789abcdef"
Now = Callable[[], float]
Size = tuple[int, int]


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """The jobs folder as a checkout has it, with the inbox that nightly.yaml asks for."""
    shutil.copytree(JOBS, tmp_path / "jobs", ignore=shutil.ignore_patterns("out"))
    (tmp_path / "examples").symlink_to(JOBS.parent / "examples")
    (tmp_path / "inbox").mkdir()
    return tmp_path / "jobs"


def size_of_photo(name: str) -> Size:
    with Image.open(PHOTOS / name) as photo:
        return photo.size


def size_asked_for(model: str, line: Mapping[str, Any]) -> Size:
    """The size that the parameters of a line of metadata.jsonl ask for."""
    if model == "seg-beyond":
        width, height = size_of_photo(line["name"])
        return width + line["left"] + line["right"], height + line["top"] + line["bottom"]
    if model == "focus-outpaint":
        width, height = map(int, line["aspect_ratios"].split("*"))
        return width, height
    return line["img_width"], line["img_height"]


def delivered(report: Report) -> dict[str, Image.Image]:
    """Every file that metadata.jsonl names, whole, by its name; there is no other."""
    lines = (report.output / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    names = [json.loads(line)["file_name"] for line in lines]
    assert sorted(names) == sorted(f"images/{path.name}" for path in (report.output / "images").iterdir())
    pictures = {}
    for name in names:
        with Image.open(report.output / name) as picture:
            picture.load()
            pictures[name.removeprefix("images/")] = picture
    return pictures


async def on(server: Sandbox, manifest: Path, output: Path, now: Now, *overrides: str) -> Report:
    """One run of a manifest against `server`."""
    account = Account(Endpoints(server.url, server.url, server.url), KEY)
    return await run(load(manifest, overrides=overrides), account=account, output=output, now=now)


# --- the ready manifests


@pytest.mark.parametrize(
    ("name", "tasks"),
    {
        "demo": 24,
        "focus-outpaint": 2,
        "nightly": 0,
        "sd1.5-img2img": 4,
        "sd1.5-inpainting": 4,
        "sd1.5-outpaint": 4,
        "seg-beyond": 3,
    }.items(),
)
def test_a_ready_manifest_loads_and_expands_without_a_warning(
    jobs: Path, tmp_path: Path, name: str, tasks: int
) -> None:
    found = outlook(load(jobs / f"{name}.yaml"), tmp_path / "out")
    assert (found.job, found.total, found.new, found.warnings) == (name, tasks, tasks, ())


def test_every_ready_manifest_is_told_of_here() -> None:
    assert {path.stem for path in JOBS.glob("*.yaml")} == {"demo", "nightly", *SLUGS}


@pytest.mark.parametrize("name", ["demo", *SLUGS])
async def test_a_ready_manifest_runs_green_and_its_images_have_the_size_asked_for(
    jobs: Path, tmp_path: Path, now: Now, name: str
) -> None:
    manifest = load(jobs / f"{name}.yaml")
    report = await run(manifest, sandbox=True, output=tmp_path / "out" / name, now=now)
    assert (report.exit_code, report.failures) == (0, {})
    assert report.output == tmp_path / "out" / f"{name}-sandbox"
    assert report.counts["done"] == report.total == report.images > 0
    pictures = delivered(report)
    for text in (report.output / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        size = size_asked_for(manifest.model, line)
        assert pictures[Path(line["file_name"]).name].size == (line["width"], line["height"]) == size
    assert (report.output / "errors.jsonl").read_text() == ""
    assert json.loads((report.output / "report.json").read_text())["images"] == report.images


async def test_the_nightly_job_takes_what_lies_in_its_inbox_once(
    jobs: Path, tmp_path: Path, now: Now, sandbox: MakeSandbox
) -> None:
    async with sandbox(service=2) as server:
        output, images = tmp_path / "out", []
        for photo in (None, "cat.jpg", "rocket.jpg", None):
            if photo:
                shutil.copy(PHOTOS / photo, jobs.parent / "inbox")
            report = await on(server, jobs / "nightly.yaml", output, now)
            assert (report.exit_code, report.state) == (0, "finished")
            images.append(report.images)
        assert images == [0, 1, 2, 2]
        assert server.billed == 2


# --- shapes of output, on the pictures of the sandbox


@pytest.mark.parametrize("api", ["v2", "v1"])
@pytest.mark.parametrize("base64", ["false", "true"])
async def test_four_samples_give_four_numbered_files(
    tmp_path: Path, now: Now, sandbox: MakeSandbox, api: str, base64: str
) -> None:
    overrides = ("params.samples=4", f"params.base64={base64}", f"api={api}", "params.strength=0.3")
    async with sandbox(service=2, pictures=True) as server:
        report = await on(server, JOBS / "sd1.5-img2img.yaml", tmp_path / "out", now, *overrides)
        assert (report.exit_code, report.total, report.images, server.billed) == (0, 4, 16, 4)
    suffix = ".png" if base64 == "true" else ".jpg"
    pictures = delivered(report)
    stems = ("arches", "city", "pagoda", "paris")
    assert set(pictures) == {f"{stem}-{n}{suffix}" for stem in stems for n in range(4)}
    for stem in stems:
        assert len({pictures[f"{stem}-{n}{suffix}"].tobytes() for n in range(4)}) == 4
    assert {picture.size for picture in pictures.values()} == {(512, 512)}
    inside = base64 == "true" or api == "v1"
    assert report.calls["download"] == (0 if inside else 16)
    assert (report.calls["sync"], report.calls["submit"]) == ((4, 0) if api == "v1" else (0, 4))


@pytest.mark.parametrize("api", ["v2", "v1"])
async def test_base64_brings_the_picture_inside_the_answer(
    tmp_path: Path, now: Now, sandbox: MakeSandbox, api: str
) -> None:
    async with sandbox(service=2, pictures=True) as server:
        overrides = ("params.base64=true", f"api={api}")
        report = await on(server, JOBS / "seg-beyond.yaml", tmp_path / "out", now, *overrides)
        assert (report.exit_code, report.images, report.calls["download"]) == (0, 3, 0)
    for name, picture in delivered(report).items():
        width, height = size_of_photo(name.replace(".png", ".jpg"))
        assert picture.size == (width + 400, height)
    assert not list((report.output / ".batcher" / "spool").iterdir())


@pytest.mark.parametrize("base64", ["false", "true"])
async def test_focus_outpaint_goes_by_v1_whose_answer_is_the_picture(
    tmp_path: Path, now: Now, sandbox: MakeSandbox, base64: str
) -> None:
    overrides = (f"params.base64={base64}", "params.aspect_ratios=704*1408")
    async with sandbox(pictures=True, price=None) as server:
        report = await on(server, JOBS / "focus-outpaint.yaml", tmp_path / "out", now, *overrides)
        assert {job.api for job in server.jobs.values()} == {"v1"}
    assert (report.exit_code, report.images) == (0, 2)
    assert {kind: n for kind, n in report.calls.items() if n} == {"sync": 2, "upload": 2}
    assert report.cost["spent"] == 0.049, "the published price"
    assert {picture.size for picture in delivered(report).values()} == {(704, 1408)}


@pytest.mark.parametrize("uploads", ["storage", "inline"])
async def test_a_local_picture_reaches_the_model_as_a_url_once_per_content_or_inline(
    tmp_path: Path, now: Now, sandbox: MakeSandbox, uploads: str
) -> None:
    async with sandbox(service=2, pictures=True) as server:
        overrides = ("repeat=2", f"uploads={uploads}", 'output.name="{{ stem }}-{{ repeat }}"')
        report = await on(server, JOBS / "sd1.5-inpainting.yaml", tmp_path / "out", now, *overrides)
        images = {str(job.body["image"]) for job in server.jobs.values()}
    assert (report.exit_code, report.images, len(images)) == (0, 8, 4)
    assert report.calls["upload"] == (8 if uploads == "storage" else 0)
    beginning = server.url if uploads == "storage" else "data:image/jpeg;base64,"
    assert all(image.startswith(beginning) for image in images)
    assert server.keys_seen_at_files == []


# --- every parameter of the five models, at both ends of its range and at each allowed value


def ends(parameter: Parameter) -> tuple[Any, ...]:
    """The values that a page names for a parameter: allowed ones, both ends, or what its type can be."""
    if parameter.media:
        return ("https://photos.example/one.jpg?size=2&x=%20", "data:image/png;base64,iVBORw0KGgo=")
    if parameter.allowed:
        return parameter.allowed
    if parameter.minimum is not None and parameter.maximum is not None:
        return (parameter.minimum, parameter.maximum)
    if parameter.type == "boolean":
        return (True, False)
    if parameter.role == "seed":
        return (-1, 0, 2**53)
    texts = ("a, b: 'c' \"d\" {e}", "straße 日本 🏔", "no", "7.5", "true", "line\nline")
    # A required text that is blank makes its row unusable: nobody pays for an empty prompt.
    return texts if parameter.required else (*texts, " ")


def cases(model: Model) -> Iterator[dict[str, Any]]:
    """The page's example with one parameter changed, for every parameter and every value of it."""
    pictures = dict.fromkeys(model.media, "https://photos.example/one.jpg")
    example = {**model.example, **pictures}
    for parameter in model.parameters.values():
        for value in ends(parameter):
            yield {**example, parameter.name: value}


def as_jsonl(rows: list[dict[str, Any]], folder: Path) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_csv(rows: list[dict[str, Any]], folder: Path) -> Path:
    """All cells are text: `true`, `7.5`, `-1`."""
    path = folder / "cases.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(rows[0])
        for row in rows:
            table.writerow(v if isinstance(v, str) else json.dumps(v) for v in row.values())
    return path


def job_over(table: Path, model: Model, rows: list[dict[str, Any]]) -> Path:
    """A manifest that sends each row of the table; `common` are the parameters that every row gives."""
    manifest = {
        "model": model.slug,
        "inputs": {"table": table.name},
        "params": {name: f"{{{{ of_{name} }}}}" for name in rows[0]},
        "output": {"name": "{{ case }}"},
        "limits": {"rpm": "none"},
    }
    path = table.parent / "job.yaml"
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return path


@pytest.mark.parametrize("write", [as_jsonl, as_csv])
@pytest.mark.parametrize("slug", SLUGS)
async def test_every_parameter_reaches_the_body_unchanged_at_its_ends_and_at_each_allowed_value(
    tmp_path: Path, now: Now, sandbox: MakeSandbox, slug: str, write: Callable[..., Path]
) -> None:
    model = find(slug)
    assert model is not None
    rows = list(cases(model))
    # Parameters that the page's example leaves out are sent by the rows that try them, and by no other.
    common = set.intersection(*(set(row) for row in rows))
    for names in {tuple(sorted(set(row) - common)) for row in rows}:
        alike = [row for row in rows if tuple(sorted(set(row) - common)) == names]
        folder = tmp_path / "-".join(("job", *names))
        folder.mkdir()
        named = [{"case": n, **{f"of_{k}": v for k, v in row.items()}} for n, row in enumerate(alike)]
        async with sandbox(service=1) as server:
            job = job_over(write(named, folder), model, alike)
            report = await on(server, job, folder / "out", now)
            bodies = [dict(job.body) for job in server.jobs.values()]
        assert (report.exit_code, report.failures) == (0, {})
        assert report.counts["done"] == len(alike)
        # As JSON, because 1, 1.0 and true are one to Python, and not to a model.
        assert sorted(map(spelled, bodies)) == sorted(map(spelled, alike))


def spelled(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)
