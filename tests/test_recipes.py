"""The recipes of README.md, run as they are written, on the sandbox.

A code block whose first line names a file (```yaml seasons.yaml) is that file; `sh` blocks are run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the reader has: a key, and the API, which is a sandbox of its own process here."""
    command = [
        sys.executable,
        "-m",
        "batcher",
        "sandbox",
        "--port",
        "0",
        "--service",
        "20ms",
        "--rpm",
        "6000",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sandbox:
        assert sandbox.stdout is not None
        address = sandbox.stdout.readline().split()[-1]
        try:
            yield {
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
                "SEGMIND_API_KEY": "SG_0123456789abcdef",
                "SEGMIND_BASE_URL": address,
                "HF_HUB_OFFLINE": "1",
                "HF_DATASETS_OFFLINE": "1",
                "HF_HOME": str(tmp_path / "hf"),
            }
        finally:
            sandbox.terminate()


def recipe(title: str, folder: Path) -> list[str]:
    """Writes the recipe's files into `folder`; gives its commands."""
    text = README.split(f"### {title}\n")[1].split("\n## ")[0].split("\n### ")[0]
    commands = []
    for language, name, body in BLOCK.findall(text):
        if name:
            (folder / name).write_text(body, "utf-8")
        elif language == "sh":
            commands.append(body)
    return commands


def run(script: str, folder: Path, environment: dict[str, str]) -> str:
    ended = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.process
def test_from_a_folder_of_photos_with_csv_labels_to_a_training_set(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "photos")
    for command in recipe("From a folder of photos with CSV labels to a training set", tmp_path):
        told = run(command, tmp_path, environment)
    assert "12 pictures, 6 originals in dataset (imagefolder)\n" in told
    rows = run(f"{sys.executable} load.py", tmp_path, environment).splitlines()
    counts = re.search(r"train  (\d+)\n  test  (\d+)", told)
    assert counts is not None
    assert len(rows) == int(counts[1]) > 0
    assert int(counts[2]) > 0
    assert all(re.fullmatch(r"\(\d+, \d+\) \w+ \[\[\d.*\]\]", row) for row in rows), rows
