"""Small pictures, made once per content."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from batcher.results.report.thumbnails import EDGE, Thumbnails, ThumbnailSource


def a_picture(
    path: Path, form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (900, 600)
) -> ThumbnailSource:
    Image.new(mode, size, 0).save(path, form)
    return ThumbnailSource(hashlib.sha256(path.read_bytes()).hexdigest(), path)


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"), ("JPEG", "CMYK"), ("GIF", "L")],
)
def test_a_thumbnail_is_a_small_webp_of_the_same_shape(tmp_path: Path, form: str, mode: str) -> None:
    made = Thumbnails(tmp_path).of(a_picture(tmp_path / "a", form, mode))
    assert made is not None
    with Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.size) == ("WEBP", (EDGE, EDGE * 2 // 3))
        assert (image.mode == "RGBA") == (mode == "RGBA") or mode == "P"


def test_it_is_made_once_and_outlives_the_picture(tmp_path: Path) -> None:
    source = a_picture(tmp_path / "a.png")
    first = Thumbnails(tmp_path).of(source)
    source.path.unlink()
    assert first is not None
    assert Thumbnails(tmp_path).of(source) == first


def test_other_bytes_than_the_recorded_ones_have_no_thumbnail(tmp_path: Path) -> None:
    source = a_picture(tmp_path / "a.png")
    a_picture(tmp_path / "a.png", size=(10, 10))
    assert Thumbnails(tmp_path).of(source) is None


def test_what_is_gone_or_no_picture_has_none_and_raises_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    page.write_bytes(b"<html>" * 100)
    cut = tmp_path / "cut.png"
    a_picture(cut)
    cut.write_bytes(cut.read_bytes()[:200])
    for path in (page, cut):
        assert (
            Thumbnails(tmp_path).of(ThumbnailSource(hashlib.sha256(path.read_bytes()).hexdigest(), path))
            is None
        )
    assert Thumbnails(tmp_path).of(ThumbnailSource("00" * 32, tmp_path / "gone.png")) is None


def test_a_photograph_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (900, 600)).save(tmp_path / "a.jpg", exif=exif)
    made = Thumbnails(tmp_path).of(
        ThumbnailSource(hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest(), tmp_path / "a.jpg")
    )
    with Image.open(io.BytesIO(made or b"")) as image:
        assert image.size == (EDGE * 2 // 3, EDGE)


def test_several_are_made_and_without_time_none(tmp_path: Path) -> None:
    sources = [a_picture(tmp_path / f"{n}.png", size=(600 + n, 400)) for n in range(5)]
    assert Thumbnails(tmp_path).several(sources, seconds=0) == {}
    found = Thumbnails(tmp_path).several([*sources, *sources], seconds=60)
    assert found.keys() == {source.digest for source in sources}


def test_a_folder_that_cannot_be_written_to_costs_only_the_keeping(tmp_path: Path) -> None:
    source = a_picture(tmp_path / "a.png")
    (tmp_path / ".batcher").write_text("not a folder")
    assert Thumbnails(tmp_path).of(source) is not None
