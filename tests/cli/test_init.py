"""`batcher init`: from a folder of pictures to a first right result in two commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from batcher.job.catalog import models
from tests.support.program import Program

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
NUMBER = 30
pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A person's folder of thirty photographs."""
    found = Program(tmp_path)
    (tmp_path / "photos").mkdir()
    with Image.open(PHOTOS / "cat.jpg") as cat:
        cat.thumbnail((64, 64))
        for number in range(NUMBER):
            cat.rotate(number).save(tmp_path / f"photos/{number}.jpg")
    return found


SLUGS = [model.slug for model in models()]


@pytest.mark.parametrize(("slug", "limit"), [("sd1.5-img2img", NUMBER), *((slug, 2) for slug in SLUGS)])
def test_two_commands_make_the_first_pictures(program: Program, slug: str, limit: int) -> None:
    written = program("init", slug, "photos")
    assert (written.returncode, written.stderr) == (0, "")
    following = written.stdout.splitlines()[-1]
    assert following == "batcher run job.yaml --sandbox"
    checked = program("validate", "job.yaml")
    assert (checked.returncode, checked.stdout) == (0, f"job.yaml is valid: {NUMBER} tasks\n")
    quicker = {} if limit == NUMBER else {"BATCHER_LIMIT": str(limit)}
    run = program(*following.split()[1:], BATCHER_RPM="none", **quicker)
    assert run.returncode == 0, run.stdout
    assert len(list((program.folder / "out/job-sandbox/images").iterdir())) == limit


def test_a_file_that_is_there_is_never_overwritten(program: Program) -> None:
    program("init", "sd1.5-inpainting", "photos")
    before = (program.folder / "job.yaml").read_bytes(), (program.folder / "job-mask.png").read_bytes()
    again = program("init", "seg-beyond", "photos")
    assert again.returncode == 2
    assert again.stderr == "batcher: job.yaml is there already, and stays as it is; -o FILE writes another\n"
    other = program("init", "seg-beyond", "photos", "-o", "other.yaml")
    assert other.stdout.splitlines()[-1] == "batcher run other.yaml --sandbox"
    assert before == (
        (program.folder / "job.yaml").read_bytes(),
        (program.folder / "job-mask.png").read_bytes(),
    )


def test_a_link_that_leads_nowhere_is_there_too(program: Program) -> None:
    (program.folder / "job.yaml").symlink_to(program.folder / "elsewhere.yaml")
    assert program("init", "seg-beyond", "photos").returncode == 2
    assert not (program.folder / "elsewhere.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "MODEL and PHOTOS are missing"),
        (("seg-beyond",), "MODEL and PHOTOS are missing"),
        (("seg-beyand", "photos"), "seg-beyand is not in the catalogue; did you mean seg-beyond?"),
        (("photos", "seg-beyond"), "photos is a folder; the model comes first"),
        (("seg-beyond", "fotos"), "there is no folder of pictures fotos"),
        (("seg-beyond", "s3://bucket/photos"), "no folder of this machine"),
        (("seg-beyond", "photos", "-o", "nowhere/job.yaml"), "there is no folder"),
    ],
)
def test_what_cannot_be_is_a_sentence(program: Program, arguments: tuple[str, ...], sentence: str) -> None:
    done = program("init", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert not (program.folder / "job.yaml").exists()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("data.yaml", "a: [1\nb", "bad/data.yaml cannot be read as a dataset: it is no YAML (bad/data.yaml:"),
        ("data.yaml", "a: 1", "it has none of `train`, `val`, `test`"),
        ("labels.json", "{", "bad/labels.json cannot be read as a dataset: it is no JSON ("),
        ("labels.json", "{}", "it has no `images`"),
        ("labels.csv", "a,b", "bad/labels.csv cannot be read as a dataset: it is no picture"),
        ("data.yaml", "train: images\nnames: []", "bad/data.yaml: `names` is empty"),
        ("data.yaml", "train: images\nnames: [", "bad/data.yaml"),
        ("labels.json", '{"images": [', "bad/labels.json"),
    ],
)
def test_a_file_of_labels_that_cannot_be_read_is_named_as_it_was_typed(
    program: Program, name: str, text: str, sentence: str
) -> None:
    (program.folder / "bad").mkdir()
    (program.folder / "bad" / name).write_text(text)
    done = program("init", "seg-beyond", f"bad/{name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert str(program.folder) not in done.stderr


def test_paths_start_from_the_manifest(program: Program) -> None:
    (program.folder / "my jobs").mkdir()
    written = program("init", "seg-beyond", "photos", "-o", "my jobs/one.yaml")
    assert '"../photos/"' in (program.folder / "my jobs/one.yaml").read_text()
    assert written.stdout.splitlines()[-1] == "batcher run 'my jobs/one.yaml' --sandbox"
    assert program("validate", "my jobs/one.yaml").returncode == 0


def test_of_many_pictures_a_few_are_rehearsed(program: Program) -> None:
    shutil.copy(program.folder / "photos/1.jpg", program.folder / "photos/more.jpg")
    written = program("init", "seg-beyond", "photos")
    assert written.stdout.splitlines()[-1] == "batcher run job.yaml --sandbox --limit 3"


def test_at_a_terminal_what_is_not_said_is_asked_for(program: Program) -> None:
    (program.folder / "photos").rename(program.folder / "my photos")
    shown, code = program.at_a_terminal(
        "init", "seg-beyond", question="Folder of your pictures", answer="nowhere\nmy photos"
    )
    assert code == 0, shown
    assert "there is no folder of pictures nowhere" in shown
    (program.folder / "job.yaml").unlink()
    shown, code = program.at_a_terminal("init", question="(its number): ", answer="9\n1\nmy photos")
    assert code == 0, shown
    assert "there are 1 to 5" in shown
    assert "model: focus-outpaint" in (program.folder / "job.yaml").read_text()


def test_what_it_counts_is_what_the_plan_counts(program: Program) -> None:
    (program.folder / "photos" / "7.jpg").write_bytes(b"no picture")
    written = program("init", "sd1.5-img2img", "photos")
    planned = program("plan", "job.yaml", "--json")
    assert json.loads(planned.stdout)["total"] == NUMBER - 1
    first, second, *_ = written.stdout.splitlines()
    assert first == f"job.yaml is written: sd1.5-img2img for {NUMBER - 1} pictures"
    assert second.startswith("left out: ")
    assert "7.jpg" in second


def test_labels_of_pictures_that_are_not_there_are_not_counted(program: Program) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in range(NUMBER + 2)]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (program.folder / "photos" / "labels.json").write_text(json.dumps(coco))
    written = program("init", "sd1.5-outpaint", "photos")
    planned = program("plan", "job.yaml", "--json")
    assert json.loads(planned.stdout)["total"] == NUMBER
    first, *others = written.stdout.splitlines()
    assert first == f"job.yaml is written: sd1.5-outpaint for {NUMBER} pictures"
    assert sum(line.startswith("left out: ") for line in others) == 2


def test_very_many_pictures_are_counted_without_being_opened(program: Program) -> None:
    for number in range(300):
        (program.folder / "photos" / f"broken-{number}.jpg").write_bytes(b"no picture")
    written = program("init", "seg-beyond", "photos")
    first = written.stdout.splitlines()[0]
    assert first == (
        "job.yaml is written: seg-beyond for 330 files; `batcher plan job.yaml` tells which can be used"
    )
