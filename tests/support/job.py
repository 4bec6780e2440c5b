"""A job beside its inputs: rows, problems and fingerprints of a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batcher.errors import ManifestError, Problem
from batcher.job import inputs as job_inputs
from batcher.job.diagnostics import Diagnostics, RowSink, Warn, silent
from batcher.job.inputs import InputsContext
from batcher.job.manifest import Manifest
from batcher.job.row import Row
from tests.support.manifests import parse


def rows_of(manifest: Manifest, *, warn: Warn = silent, sink: RowSink | None = None) -> list[Row]:
    """The rows of a job whose plan asks nothing more of them; without a `sink` one wrong row is an error."""
    diagnostics = Diagnostics("job.yaml", warn=warn, sink=sink)
    rows = list(job_inputs.rows(InputsContext(manifest, diagnostics)))
    diagnostics.judge(len(rows))
    return rows


@dataclass(frozen=True)
class Job:
    """Manifests in a folder of their own."""

    folder: Path

    def manifest(self, inputs: str, more: str = "") -> Manifest:
        return parse(f"model: x\ninputs: {inputs}\n{more}", "job.yaml", self.folder)

    def rows(self, inputs: str, more: str = "", **heard: Any) -> list[Row]:
        return rows_of(self.manifest(inputs, more), **heard)

    def columns(self, inputs: str, *names: str, more: str = "", **heard: Any) -> list[Any]:
        """The rows' columns; with names only those, and of one name its bare value."""
        found = [dict(row.columns) for row in self.rows(inputs, more, **heard)]
        if len(names) == 1:
            return [columns[names[0]] for columns in found]
        return [{name: columns[name] for name in names} for columns in found] if names else found

    def problems(self, inputs: str, more: str = "", **heard: Any) -> list[Problem]:
        with pytest.raises(ManifestError) as caught:
            self.rows(inputs, more, **heard)
        return list(caught.value.problems)

    def fingerprint(self, inputs: str, more: str = "", **how: Any) -> str:
        return job_inputs.fingerprint(self.manifest(inputs, more), **how)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
