"""Every command of the pages is run as it is written, against a sandbox, in a copy of jobs/ and examples/.

The recipes, which bring their own files, are run by test_recipes.py and test_sources_recipes.py.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.__main__ import ROWS
from tests.support.pages import BLOCK, DATASETS, NAMES, PAGES, README, ROOT, blocks, recipe, run, sections

NOT_HERE = {
    "make demo": "installs from a package registry; `.ci/run` runs it",
    "make test": "this is it; `.ci/run` runs it",
    "make bench": "half an hour",
    "make bench-quick": "two minutes",
    "source .venv/bin/activate": "what `make demo` has made",
    "export SEGMIND_API_KEY=SG_...": "a real key; the sandbox's stands for it",
    "batcher run job.yaml --on ray --address auto": "needs a Ray cluster; test_ray.py has one",
    "batcher run job.yaml --on ray --workers 8": "the same",
    "batcher verify job.yaml --on ray --address auto": "the same",
}
"""Lines that cannot be run in a test, and why."""
FIRST_JOB = "Your first job"
RECIPES = {
    FIRST_JOB: ("README.md", "test_pages.py"),
    "From a folder of photos with CSV labels to a training set": (DATASETS, "test_recipes.py"),
    "So many good pictures of each class": (DATASETS, "test_recipes.py"),
    "A YOLO set into new surroundings, and back": (DATASETS, "test_recipes.py"),
    "A Pascal VOC set, inpainted by its own masks": (DATASETS, "test_recipes.py"),
    "A nightly bucket": (DATASETS, "test_sources_recipes.py"),
}
"""Sections that have a test of their own."""
LONGEST_README = 300
PLACEHOLDER = re.compile(r"\b(?:JOB|MODEL|PHOTOS|DIR|FILE|COMMAND|URL|SLUG|[NXD])\b|\.\.\.|\\|^batcher \w+$")
"""What a reader is to put something else for, or what is a name only."""
PORT = "8000"
JOB = """
model: sd1.5-outpaint
inputs: {images: examples/photos/c*.jpg}
matrix: {season: [winter, summer]}
params: {image: "{{ image }}", prompt: "{{ season }}"}
limits: {rpm: 600}
"""
"""The reader's own job.yaml."""


def commands(block: str) -> list[str]:
    """The lines of a block that can be run, without their remarks."""
    lines = [re.sub(r"\s+# .*", "", line) for line in block.splitlines()]
    return [line for line in lines if line and line not in NOT_HERE]


def scripts() -> Iterator[str]:
    """What is fenced as `sh` outside of the recipes."""
    for page in PAGES.values():
        for title, text in sections(page).items():
            if title not in RECIPES:
                yield from (
                    block.body for block in blocks(text) if block.language == "sh" and commands(block.body)
                )


def spoken(page: str) -> list[str]:
    """Commands in the middle of a sentence or a table."""
    text = re.sub(r"<!-- options.*?<!-- end -->", "", BLOCK.sub("", page), flags=re.DOTALL)
    found = re.findall(r"`(batcher [^`]+)`", text)
    return list(dict.fromkeys(command for command in found if not PLACEHOLDER.search(command)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the reader has checked out, and the files that the pages themselves write down."""
    for name in ("jobs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "job.yaml").write_text(JOB)
    for page in PAGES.values():
        for block in blocks(page):
            if block.name:
                (tmp_path / block.name).write_text(block.body, "utf-8")
    return tmp_path


@pytest.mark.process
@pytest.mark.parametrize("script", [script for script in scripts() if "batcher sandbox" not in script])
def test_a_block_of_commands_does_what_it_says(
    folder: Path, environment: dict[str, str], script: str
) -> None:
    for share in ("2/3", "3/3") if "--shard 1/3" in script else ():
        run(f"batcher run job.yaml --shard {share}", folder, environment)  # on the other machines
    if f":{PORT}" in script:
        (server,) = (line for other in scripts() for line in commands(other) if "batcher sandbox" in line)
        port = str(_free_port())
        with _serving(server.replace(PORT, port), folder, environment):
            run("\n".join(commands(script)).replace(PORT, port), folder, environment)
        assert len(list((folder / "out/seg-beyond/images").iterdir())) == 3
    else:
        assert run("\n".join(commands(script)), folder, environment)


@pytest.mark.process
def test_the_first_job_has_eight_lines_is_rehearsed_and_goes_on_where_it_ended(
    folder: Path, environment: dict[str, str]
) -> None:
    written, rehearsed, real = (commands(block) for block in recipe("README.md", FIRST_JOB, folder))
    assert len((folder / "first.yaml").read_text().splitlines()) == 8
    quick = environment | {"BATCHER_RPM": "6000"}
    (folder / "job.yaml").unlink()
    following = run("\n".join(written), folder, quick).splitlines()[-1]
    assert "12 tasks" in run("batcher validate job.yaml", folder, quick)
    assert following == "batcher run job.yaml --sandbox"
    assert "24 new, 0 done" in run("\n".join(rehearsed), folder, quick)
    assert len(list((folder / "out/first-sandbox/images").iterdir())) == 3
    assert "3 of 24 tasks done" in run(real[0], folder, quick)
    assert len(list((folder / "out/first/images").iterdir())) == 3
    assert "24 tasks: 21 new, 3 done" in run("\n".join(real[1:]), folder, quick)
    assert len(list((folder / "out/first/images").iterdir())) == 24
    assert len((folder / "dataset/train/metadata.jsonl").read_text("utf-8").splitlines()) == 24


@pytest.mark.process
def test_the_commands_in_the_text_can_be_typed(folder: Path, environment: dict[str, str]) -> None:
    run("batcher run job.yaml -o out/streets", folder, environment)
    environment["BATCHER_PAY_AGAIN"] = "1"  # each is a reader's first one
    for command in dict.fromkeys(command for page in PAGES.values() for command in spoken(page)):
        assert run(command, folder, environment) or ">" in command, command


@pytest.mark.process
def test_the_python_of_the_readme_runs(folder: Path, environment: dict[str, str]) -> None:
    (program,) = (one.body for one in blocks(README) if one.language == "python" and not one.name)
    (folder / "program.py").write_text(program)
    told = run(f"{sys.executable} program.py", folder, environment)
    assert told.splitlines()[-1] == "24 0.2616 0"


@pytest.mark.process
def test_the_python_of_the_page_for_agents_runs(folder: Path, environment: dict[str, str]) -> None:
    told = run(f"{sys.executable} agent.py", folder, environment)
    assert told == "0 ['images/a_tiger.jpg']\n"


def test_what_is_not_run_is_there_and_has_a_reason() -> None:
    fenced = {
        line
        for page in PAGES.values()
        for block in blocks(page)
        if block.language == "sh"
        for line in block.body.splitlines()
    }
    assert set(NOT_HERE) <= {re.sub(r"\s+# .*", "", line) for line in fenced}
    for title, (page, file) in RECIPES.items():
        assert title in sections(PAGES[page])
        assert title.split()[-1].lower() in (Path(__file__).parent / file).read_text("utf-8").lower()


LINKED = [*NAMES, "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", "examples/deploy/README.md"]


@pytest.mark.parametrize("name", LINKED)
def test_every_link_leads_somewhere(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", BLOCK.sub("", text)):
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", target.read_text("utf-8")), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{path}#{anchor}"


def test_every_page_is_named_by_the_readme_and_its_first_day_is_short() -> None:
    assert all(f"]({name})" in README for name in NAMES[1:])
    assert len(README.splitlines()) <= LONGEST_README


def test_nothing_that_looks_like_a_command_is_overlooked() -> None:
    """A fence of another kind would be run by nobody."""
    other = [
        block.body
        for page in PAGES.values()
        for block in blocks(page)
        if block.language not in ("sh", "yaml", "json", "python")
    ]
    assert not any(re.search(r"^(?:\$ )?(?:batcher|make|pip) ", body, re.MULTILINE) for body in other)
    assert sum(len(spoken(page)) for page in PAGES.values()) >= 4


def test_what_the_pages_make_can_be_made() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for name in LINKED:
        text = (ROOT / name).read_text("utf-8")
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets, name
        for rows in re.findall(r"-m tests\.bench ([a-z ]+)`", text):
            assert set(rows.split()) <= set(ROWS), name


@contextmanager
def _serving(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A sandbox as the page starts it, for as long as the block lasts."""
    with subprocess.Popen(
        ["sh", "-c", f"exec {command}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert "http://127.0.0.1" in server.stdout.readline()
        try:
            yield
        finally:
            server.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
