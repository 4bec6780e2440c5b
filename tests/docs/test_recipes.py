"""The recipes of examples/datasets.md, run as they are written, on the sandbox.

A code block whose first line names a file (```yaml seasons.yaml) is that file; `sh` blocks are run.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.pages import DATASETS, ROOT, recipe, run


@pytest.mark.process
def test_from_a_folder_of_photos_with_csv_labels_to_a_training_set(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "photos")
    for command in recipe(DATASETS, "From a folder of photos with CSV labels to a training set", tmp_path):
        told = run(command, tmp_path, environment)
    assert "12 pictures, 6 originals in dataset (imagefolder)\n" in told
    rows = run(f"{sys.executable} load.py", tmp_path, environment).splitlines()
    counts = re.search(r"train  (\d+)\n  test  (\d+)", told)
    assert counts is not None
    assert len(rows) == int(counts[1]) > 0
    assert int(counts[2]) > 0
    assert all(re.fullmatch(r"\(\d+, \d+\) \w+ \[\[\d.*\]\]", row) for row in rows), rows
