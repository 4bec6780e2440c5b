"""Is it a picture, whole, and of what kind: for every format that is delivered, cut at every length."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, features

from batcher import errors
from batcher.storage import pictures
from tests.support.pictures import noisy_picture

FORMATS = [
    ("PNG", ".png", "image/png"),
    ("JPEG", ".jpg", "image/jpeg"),
    ("GIF", ".gif", "image/gif"),
    ("BMP", ".bmp", "image/bmp"),
    ("TIFF", ".tif", "image/tiff"),
    ("WEBP", ".webp", "image/webp"),
]
FORMATS = [row for row in FORMATS if row[0] != "WEBP" or features.check("webp")]


def test_half_an_animation_is_no_whole_picture() -> None:
    frames = [Image.new("RGB", (37, 23), colour) for colour in ("red", "green", "blue", "white")]
    for number, frame in enumerate(frames):
        frame.paste(Image.open(io.BytesIO(noisy_picture(size=(20, 20)))), (number, number))
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    whole = buffer.getvalue()
    assert pictures.verify(io.BytesIO(whole)).suffix == ".gif"
    with pytest.raises(errors.BadDownload, match="damaged"):
        pictures.verify(io.BytesIO(whole[: len(whole) * 5 // 8]))


@pytest.mark.parametrize(("form", "suffix", "mime"), FORMATS)
def test_the_suffix_follows_the_bytes(form: str, suffix: str, mime: str) -> None:
    for look in (pictures.identify, pictures.verify):
        told = look(io.BytesIO(noisy_picture(form)))
        assert (told.suffix, told.mime, told.width, told.height) == (suffix, mime, 37, 23)


@pytest.mark.parametrize(("form", "suffix", "mime"), FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.9, 0.97])
def test_a_picture_that_is_cut_off_is_none(form: str, suffix: str, mime: str, share: float) -> None:
    data = noisy_picture(form, (120, 90))
    with pytest.raises(errors.BadDownload):
        pictures.verify(io.BytesIO(data[: int(len(data) * share)]))


def test_a_png_that_is_cut_anywhere_is_none_though_all_its_rows_are_there() -> None:
    whole = noisy_picture("PNG")
    assert pictures.verify(io.BytesIO(whole + b"what follows is nobody's")).width == 37
    for missing in range(1, 100):
        with pytest.raises(errors.BadDownload):
            pictures.verify(io.BytesIO(whole[:-missing]))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_photograph_that_is_cut_anywhere_is_none(progressive: bool) -> None:
    """It is decoded at a smaller size than it has: that must not pass over its last rows."""
    buffer = io.BytesIO()
    noise = Image.frombytes("RGB", (1024, 683), bytes(n * n % 251 for n in range(1024 * 683 * 3)))
    noise.save(buffer, "JPEG", quality=90, progressive=progressive)
    whole = buffer.getvalue()
    assert pictures.verify(io.BytesIO(whole)).width == 1024
    for missing in (3, 40, 400, 4000, 40_000, len(whole) // 2, len(whole) - 700):
        with pytest.raises(errors.BadDownload):
            pictures.verify(io.BytesIO(whole[:-missing]))


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
    for look in (pictures.identify, pictures.verify):
        with pytest.raises(errors.BadDownload, match=text):
            look(io.BytesIO(data))


def test_a_format_that_nobody_delivers_is_refused_before_it_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PCX")
    with pytest.raises(errors.BadDownload, match="PCX"):
        pictures.verify(buffer)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for look in (pictures.identify, pictures.verify):
        with pytest.raises(errors.BadDownload, match="too large: it has 0 million pixels, and 0 million"):
            look(io.BytesIO(noisy_picture()))


def test_a_panorama_that_is_too_large_is_told_as_that_with_the_limit() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 44_000, 5_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    png += struct.pack(">I", 100) + b"IDAT" + bytes(100)
    sentence = (
        "the picture is too large: it has 220 million pixels, and 178 million are the most that is read"
    )
    for look in (pictures.identify, pictures.verify, pictures.upright_size):
        with pytest.raises(errors.BadDownload) as caught:
            look(io.BytesIO(png))
        assert caught.value.message == sentence


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_that_of_the_picture_that_is_turned(kind: str, orientation: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (8, 4), "teal").save(file, kind, exif=exif)
    wanted = (4, 8) if orientation > 4 else (8, 4)
    assert pictures.upright_size(file) == wanted
    turned = pictures.turned_upright(file.getvalue())
    if orientation == 1:
        assert turned is None
        return
    assert turned is not None
    with Image.open(io.BytesIO(turned)) as image:
        assert image.size == wanted
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_a_picture_that_cannot_be_turned_is_told() -> None:
    with pytest.raises(errors.BadDownload, match="cannot be turned upright"):
        pictures.turned_upright(b"no picture")


@given(st.sampled_from(FORMATS), st.data())
@settings(max_examples=200)
def test_damage_is_refused_or_decodes_and_never_anything_else(
    form: tuple[str, str, str], data: st.DataObject
) -> None:
    damaged = bytearray(noisy_picture(form[0]))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, min(200, len(damaged)) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(1, len(damaged)))
    for look in (pictures.identify, pictures.verify):
        try:
            look(io.BytesIO(bytes(damaged[:end])))
        except errors.BadDownload as error:
            error.reason.encode()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("rest", [b"", b"the rest"])
def test_half_a_photograph_that_has_an_end_marker_is_none(progressive: bool, rest: bytes) -> None:
    data = io.BytesIO()
    Image.effect_noise((640, 480), 80).convert("RGB").save(data, "JPEG", progressive=progressive)
    half = data.getvalue()[: len(data.getvalue()) // 2]
    with pytest.raises(errors.BadDownload, match="damaged"):
        pictures.verify(io.BytesIO(half + b"\xff\xd9" + rest))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"subsampling": 0, "quality": 100},
        {"quality": 1},
    ],
)
def test_a_whole_photograph_may_be_grey_to_its_end_and_have_something_behind_it(
    mode: str, options: dict[str, int]
) -> None:
    for size in ((1, 1), (640, 480)):
        data = io.BytesIO()
        Image.new("RGB", size, (128, 128, 128)).convert(mode).save(data, "JPEG", **options)
        for behind in (b"", b"\0" * 30, b"a film of the same moment"):
            assert pictures.verify(io.BytesIO(data.getvalue() + behind)).suffix == ".jpg"
