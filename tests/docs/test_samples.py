"""The ready manifests and the sample pictures, which are documentation as well."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from batcher.job.catalog import Model, models

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.slug)
def test_the_ready_manifest_of_a_model_has_the_values_of_its_page(model: Model) -> None:
    manifest = yaml.safe_load((ROOT / "jobs" / f"{model.slug}.yaml").read_text(encoding="utf-8"))
    assert manifest["model"] == model.slug
    assert manifest.get("api", "v2") == model.api
    assert set(manifest["params"]) == set(model.example)
    for name, value in manifest["params"].items():
        template = "{{ mask }}" if name == "mask" else "{{ image }}"
        assert value == (template if name in model.media else model.example[name])


def test_the_sample_photographs_are_small_and_carry_no_metadata() -> None:
    photos = sorted((ROOT / "examples" / "photos").glob("*"))
    assert 8 <= len(photos) <= 12
    sizes = []
    for photo in photos:
        assert photo.stat().st_size <= 200_000
        with Image.open(photo) as image:
            assert not image.getexif()
            assert max(image.size) <= 1024
            sizes.append(image.size)
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)


def test_each_mask_fits_its_photograph_and_is_black_and_white() -> None:
    masks = sorted((ROOT / "examples" / "masks").glob("*"))
    assert len(masks) >= 4
    for path in masks:
        with Image.open(path) as mask, Image.open(ROOT / "examples" / "photos" / f"{path.stem}.jpg") as photo:
            assert mask.size == photo.size
            assert mask.mode == "L"
            assert [value for value, times in enumerate(mask.histogram()) if times] == [0, 255]


def test_each_sample_is_named_with_its_source() -> None:
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for folder in ("photos", "masks"):
        rows = text.split(f"| {folder}/ |")[1].split("\n\n")[0]
        assert all(f"| `{path.name}` |" in rows for path in (ROOT / "examples" / folder).glob("*"))
