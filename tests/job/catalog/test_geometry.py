"""`geometry:` of a model file: what it may say, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from batcher.errors import ManifestError
from batcher.job.catalog import find, models
from batcher.job.geometry import Geometry

OWN = """\
slug: mine
parameters:
  photo: {type: string, media: image, required: true}
  w: {type: integer, default: 640}
  h: {type: integer}
"""


def read(folder: Path, text: str) -> Geometry | None:
    (folder / "mine.yaml").write_text(OWN + text, encoding="utf-8")
    model = find("mine", folder)
    assert model is not None
    return model.geometry


def test_every_shipped_model_states_where_its_source_lies() -> None:
    for model in models():
        assert model.geometry is not None, model.slug
        assert model.parameters[model.geometry.input].media == "image"


def test_a_users_model_states_its_own(tmp_path: Path) -> None:
    found = read(tmp_path, "geometry: {fit: contain, canvas: [w, h]}\n")
    assert found == Geometry("photo", fit="contain", canvas=("w", "h"), defaults={"w": 640})
    assert read(tmp_path, "") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("geometry: {fit: strech}", "did you mean stretch"),
        ("geometry: {canvas: [width]}", "'width' is not a parameter of the model"),
        ("geometry: {canvas: [w, h, w]}", "`canvas` has one or two names"),
        ("geometry: {margins: {left: w}}", "`margins` has left, top, right, bottom"),
        ("geometry: {margin: {left: w}}", "unknown key; did you mean `margins`"),
        ("geometry: {square: big}", "must be a number"),
        ("geometry: cover", "must be `key: value` lines, not the text 'cover'"),
    ],
)
def test_a_wrong_geometry_says_where_and_what(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ManifestError) as told:
        read(tmp_path, text)
    assert sentence in str(told.value)
    assert "mine.yaml:6" in str(told.value)
