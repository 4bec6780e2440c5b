"""A job beside some pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batcher import sources
from batcher.errors import ManifestError, Problem
from batcher.manifest import Manifest, parse
from batcher.plan import Row


@dataclass(frozen=True)
class Job:
    """Manifests in a folder of their own."""

    folder: Path

    def manifest(self, inputs: str, more: str = "") -> Manifest:
        return parse(f"model: x\ninputs: {inputs}\n{more}", "job.yaml", self.folder)

    def rows(self, inputs: str, more: str = "", **heard: Any) -> list[Row]:
        return list(sources.rows(self.manifest(inputs, more), heard.pop("note", [].append), **heard))

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
        return sources.fingerprint(self.manifest(inputs, more), **how)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "jobs"
    folder.mkdir()
    return Job(folder)


def picture(width: int = 8, height: int = 6, kind: str = "PNG", turned: int = 0, shade: int = 0) -> bytes:
    """A small picture; `turned` is its EXIF orientation."""
    exif = Image.Exif()
    if turned:
        exif[0x0112] = turned
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 90, 160)).save(buffer, kind, exif=exif)
    return buffer.getvalue()
