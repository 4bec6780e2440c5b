"""Every command of README.md is run as it is written, against a sandbox, in a copy of jobs/ and examples/.

The recipes, which bring their own files, are run by test_recipes.py and sources/test_sources_recipes.py.
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

from test_recipes import BLOCK, README, ROOT, environment, run

__all__ = ["environment"]

NOT_HERE = {
    "make demo": "installs from a package registry; `.ci/run` runs it",
    "make test": "this is it; `.ci/run` runs it",
    "pip install .": "installs from a package registry, as `make demo` does",
    "export SEGMIND_API_KEY=SG_...": "a real key; the sandbox's stands for it",
    "batcher run job.yaml --on ray --address auto": "needs a Ray cluster; distribute/test_ray.py has one",
    "batcher run job.yaml --on ray --workers 8": "the same",
    "batcher verify job.yaml --on ray --address auto": "the same",
}
"""Lines that cannot be run in a test, and why."""
RECIPES = {
    "From a folder of photos with CSV labels to a training set": "test_recipes.py",
    "A nightly bucket": "sources/test_sources_recipes.py",
}
PLACEHOLDER = re.compile(r"\b(?:JOB|DIR|FILE|COMMAND|URL|SLUG|[NXD])\b|\.\.\.|\\|^batcher \w+$")
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


def blocks() -> Iterator[str]:
    """What is fenced as `sh` outside of the recipes."""
    for section in re.split(r"^(?=##)", README, flags=re.MULTILINE):
        if section.partition("\n")[0].lstrip("# ") not in RECIPES:
            yield from (
                body for language, _, body in BLOCK.findall(section) if language == "sh" and commands(body)
            )


def spoken() -> list[str]:
    """Commands in the middle of a sentence or a table."""
    text = re.sub(r"<!-- options.*?<!-- end -->", "", BLOCK.sub("", README), flags=re.DOTALL)
    found = re.findall(r"`(batcher [^`]+)`", text)
    return list(dict.fromkeys(command for command in found if not PLACEHOLDER.search(command)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the reader has checked out, and the files that the page itself writes down."""
    for name in ("jobs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "job.yaml").write_text(JOB)
    for _, name, body in BLOCK.findall(README):
        if name:
            (tmp_path / name).write_text(body, "utf-8")
    return tmp_path


@pytest.mark.process
@pytest.mark.parametrize("block", [block for block in blocks() if "batcher sandbox" not in block])
def test_a_block_of_commands_does_what_it_says(folder: Path, environment: dict[str, str], block: str) -> None:
    for share in ("2/3", "3/3") if "--shard 1/3" in block else ():
        run(f"batcher run job.yaml --shard {share}", folder, environment)  # on the other machines
    if f":{PORT}" in block:
        (server,) = (line for other in blocks() for line in commands(other) if "batcher sandbox" in line)
        port = str(_free_port())
        with _serving(server.replace(PORT, port), folder, environment):
            run("\n".join(commands(block)).replace(PORT, port), folder, environment)
        assert len(list((folder / "out/seg-beyond/images").iterdir())) == 3
    else:
        assert run("\n".join(commands(block)), folder, environment)


@pytest.mark.process
def test_the_commands_in_the_text_can_be_typed(folder: Path, environment: dict[str, str]) -> None:
    run("batcher run job.yaml -o out/streets", folder, environment)
    for command in spoken():
        assert run(command, folder, environment) or ">" in command, command


@pytest.mark.process
def test_the_python_of_the_readme_runs(folder: Path, environment: dict[str, str]) -> None:
    (program,) = (body for language, name, body in BLOCK.findall(README) if language == "python" and not name)
    (folder / "program.py").write_text(program)
    told = run(f"{sys.executable} program.py", folder, environment)
    assert told.splitlines()[-1] == "24 0.24 0"


def test_what_is_not_run_is_there_and_has_a_reason() -> None:
    fenced = {
        line for language, _, body in BLOCK.findall(README) if language == "sh" for line in body.splitlines()
    }
    assert set(NOT_HERE) <= {re.sub(r"\s+# .*", "", line) for line in fenced}
    for title, file in RECIPES.items():
        assert f"### {title}\n" in README
        assert title.split()[-1].lower() in (ROOT / "tests" / file).read_text("utf-8").lower()


def test_every_link_leads_somewhere() -> None:
    pages = {"": README, "CONTRIBUTING.md": (ROOT / "CONTRIBUTING.md").read_text("utf-8")}
    for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", BLOCK.sub("", README)):
        assert (ROOT / path).exists()
        headings = re.findall(r"^#+ (.+)$", pages.get(path, ""), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, f"{path}#{anchor}"


def test_nothing_that_looks_like_a_command_is_overlooked() -> None:
    """A fence of another kind would be run by nobody."""
    other = [
        body
        for language, _, body in BLOCK.findall(README)
        if language not in ("sh", "yaml", "json", "python")
    ]
    assert not any(re.search(r"^(?:\$ )?(?:batcher|make|pip) ", body, re.MULTILINE) for body in other)
    assert len(spoken()) >= 2


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
