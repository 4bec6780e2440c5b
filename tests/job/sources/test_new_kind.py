"""A new kind of source is one module and one line: the house does not know the kinds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KIND = '''
"""The kind `countdown:` of a source: so many rows, downwards; a file beside the manifest may say how many."""
from pathlib import Path

from batcher.job.row import Row
from batcher.job.sources import source_kind

KEY = "countdown"
TYPE = int | str
DESCRIPTION = "So many rows, downwards."
HAS_PICTURES = False
IF_EMPTY = "counts from nothing"

stamps = source_kind.no_stamps
names_files = source_kind.names_files


def resolved(value, resolve):
    return resolve(value) if isinstance(value, str) else value


def columns(value):
    return {"left"}


def rows(source):
    value = source.value
    if isinstance(value, str):
        value = int(Path(source.resolve(value)).read_text())
    for number in range(value, 0, -1):
        if number == 13:
            source.diagnostics.row(source.place(source.key, "13 is left out"))
        else:
            yield Row({"left": number}, "countdown", 0, number, source.folder)
'''

SCRIPT = """
import json, sys
from pathlib import Path

import countdown
from batcher.job import sources

sources.KINDS = (*sources.KINDS, countdown)  # the line

from batcher.errors import ManifestError
from batcher.job.catalog import models
from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs import InputsContext, fingerprint, rows
from batcher.job.manifest.schema import schema
from tests.support.manifests import parse

folder = Path.cwd()


def manifest(inputs, params="{prompt: '{{ left }}'}"):
    return parse(f"model: x\\ninputs: {inputs}\\nparams: {params}", "job.yaml", folder)


def problems(inputs, params="{}", sink=None):
    try:
        job = manifest(inputs, params)
        diagnostics = Diagnostics("job.yaml", sink=sink)
        diagnostics.judge(len(list(rows(InputsContext(job, diagnostics)))))
    except ManifestError as error:
        return [[problem.key, problem.message] for problem in error.problems]
    return []


job = manifest("{countdown: 3, filter: '{{ left != 2 }}'}")
first = fingerprint(job)
source = schema(models())["properties"]["inputs"]["anyOf"][0]
print(json.dumps({
    "rows": [row.columns["left"] for row in rows(InputsContext(job, Diagnostics()))],
    "same": first == fingerprint(job),
    "resolved": manifest("{countdown: n.txt}").resolved()["inputs"][0]["countdown"],
    "schema": source["properties"]["countdown"],
    "required": source["oneOf"][-1],
    "unknown variable": problems("{countdown: 3}", "{prompt: '{{ lft }}'}"),
    "two kinds": problems("{countdown: 3, rows: [{a: 1}]}"),
    "mistyped": problems("{countdwn: 3}"),
    "wrong type": problems("{countdown: [1]}"),
    "empty": problems("{countdown: 0}"),
    "strict": problems("{countdown: 14}"),
    "left out": problems("{countdown: 14}", sink=[].append),
}))
"""


@pytest.mark.process
def test_grammar_schema_checks_rows_and_fingerprint_follow_the_registry(tmp_path: Path) -> None:
    (tmp_path / "countdown.py").write_text(KIND)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["rows"] == [3, 1]
    assert found["same"]
    assert found["resolved"] == str(tmp_path / "n.txt")
    assert found["schema"]["description"] == "So many rows, downwards."
    assert {one["type"] for one in found["schema"]["anyOf"]} == {"integer", "string"}
    assert found["required"] == {"required": ["countdown"]}
    ((key, message),) = found["unknown variable"]
    assert (key, "did you mean `left`?" in message) == ("params.prompt", True)
    ((_, message),) = found["two kinds"]
    assert message == (
        "a source is one of images, table, dataset, rows and countdown; it has rows and countdown"
    )
    ((key, message),) = found["mistyped"]
    assert (key, "did you mean `countdown`?" in message) == ("inputs.0.countdwn", True)
    assert found["wrong type"][0][0].startswith("inputs.0.countdown")
    assert found["empty"] == [["inputs.0.countdown", "counts from nothing; `empty: allow` lets that pass"]]
    assert found["strict"] == [["inputs.0.countdown", "13 is left out"]]
    assert found["left out"] == []
