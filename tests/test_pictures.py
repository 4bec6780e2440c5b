"""Is it a picture, whole, and of what kind: for every format that is delivered, cut at every length."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from batcher import errors, pictures

FORMATS = [
    ("PNG", ".png", "image/png"),
    ("JPEG", ".jpg", "image/jpeg"),
    ("GIF", ".gif", "image/gif"),
    ("BMP", ".bmp", "image/bmp"),
    ("TIFF", ".tif", "image/tiff"),
    ("WEBP", ".webp", "image/webp"),
]
FORMATS = [row for row in FORMATS if row[0] != "WEBP" or features.check("webp")]


def picture(form: str = "PNG", size: tuple[int, int] = (37, 23)) -> bytes:
    """Noise, so that its rows take bytes."""
    noise = bytes((i * i * 31 + i // 7) % 251 for i in range(size[0] * size[1] * 3))
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, noise).save(buffer, form)
    return buffer.getvalue()


def test_half_an_animation_is_no_whole_picture() -> None:
    frames = [Image.new("RGB", (37, 23), colour) for colour in ("red", "green", "blue", "white")]
    for number, frame in enumerate(frames):
        frame.paste(Image.open(io.BytesIO(picture(size=(20, 20)))), (number, number))
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    whole = buffer.getvalue()
    assert pictures.verified(io.BytesIO(whole)).suffix == ".gif"
    with pytest.raises(errors.BadDownload, match="damaged"):
        pictures.verified(io.BytesIO(whole[: len(whole) * 5 // 8]))


@pytest.mark.parametrize(("form", "suffix", "mime"), FORMATS)
def test_the_suffix_follows_the_bytes(form: str, suffix: str, mime: str) -> None:
    for look in (pictures.kind_of, pictures.verified):
        told = look(io.BytesIO(picture(form)))
        assert (told.suffix, told.mime, told.width, told.height) == (suffix, mime, 37, 23)


@pytest.mark.parametrize(("form", "suffix", "mime"), FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.9, 0.97])
def test_a_picture_that_is_cut_off_is_none(form: str, suffix: str, mime: str, share: float) -> None:
    data = picture(form, (120, 90))
    with pytest.raises(errors.BadDownload):
        pictures.verified(io.BytesIO(data[: int(len(data) * share)]))


def test_a_png_that_is_cut_anywhere_is_none_though_all_its_rows_are_there() -> None:
    whole = picture("PNG")
    assert pictures.verified(io.BytesIO(whole + b"what follows is nobody's")).width == 37
    for missing in range(1, 100):
        with pytest.raises(errors.BadDownload):
            pictures.verified(io.BytesIO(whole[:-missing]))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_photograph_that_is_cut_anywhere_is_none(progressive: bool) -> None:
    """It is decoded at a smaller size than it has: that must not pass over its last rows."""
    buffer = io.BytesIO()
    noise = Image.frombytes("RGB", (1024, 683), bytes(n * n % 251 for n in range(1024 * 683 * 3)))
    noise.save(buffer, "JPEG", quality=90, progressive=progressive)
    whole = buffer.getvalue()
    assert pictures.verified(io.BytesIO(whole)).width == 1024
    for missing in (3, 40, 400, 4000, 40_000, len(whole) // 2, len(whole) - 700):
        with pytest.raises(errors.BadDownload):
            pictures.verified(io.BytesIO(whole[:-missing]))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<!DOCTYPE html><html></html>", "page"),
        (b"\n\n <html>", "page"),
        (b"<?xml version='1.0'?><Error/>", "page"),
        (b'{"error": "x"}', "not a picture"),
        (b"\x00" * 1000, "not a picture"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
            r"is a picture in a format that cannot be read here \(HEIC\)",
        ),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic" + bytes(99), r"\(HEIC\)"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99), "the file is not a picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl " + bytes(99), r"\(JPEG XL\)"),
        (b"\xff\x0a\xfa\x1f\x01\x10" + bytes(99), r"\(JPEG XL\)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS|not a picture"),
    ],
)
def test_what_is_no_picture_is_told_in_words(data: bytes, text: str) -> None:
    for look in (pictures.kind_of, pictures.verified):
        with pytest.raises(errors.BadDownload, match=text):
            look(io.BytesIO(data))


def test_a_format_that_nobody_delivers_is_refused_before_it_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PCX")
    with pytest.raises(errors.BadDownload, match="PCX"):
        pictures.verified(buffer)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for look in (pictures.kind_of, pictures.verified):
        with pytest.raises(errors.BadDownload, match="damaged"):
            look(io.BytesIO(picture()))


@given(st.sampled_from(FORMATS), st.data())
@settings(max_examples=200)
def test_damage_is_refused_or_decodes_and_never_anything_else(
    form: tuple[str, str, str], data: st.DataObject
) -> None:
    damaged = bytearray(picture(form[0]))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, min(200, len(damaged)) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(1, len(damaged)))
    for look in (pictures.kind_of, pictures.verified):
        try:
            look(io.BytesIO(bytes(damaged[:end])))
        except errors.BadDownload as error:
            error.reason.encode()
