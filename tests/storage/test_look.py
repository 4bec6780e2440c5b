"""What a picture looks like in a few bytes: blank or not, nearly another one or not."""

from __future__ import annotations

import io
from typing import IO

import pytest
from PIL import Image, ImageDraw
from PIL.Image import Transpose

from batcher.sandbox.generation import stock
from batcher.storage import look, pictures


def scene(number: int = 1, size: tuple[int, int] = (512, 384)) -> Image.Image:
    image = Image.open(io.BytesIO(stock.photograph(f"https://example.invalid/{number}.jpg")))
    return image.convert("RGB").resize(size)


def stored(image: Image.Image, form: str = "PNG", **how: int) -> IO[bytes]:
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    buffer.seek(0)
    return buffer


def seen(image: Image.Image, form: str = "PNG", **how: int) -> bytes:
    return pictures.verify(stored(image, form, **how), with_look=True).look


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (120, 30, 200)])
def test_one_colour_is_blank_in_every_format(form: str, colour: tuple[int, int, int]) -> None:
    assert look.is_blank(seen(Image.new("RGB", (512, 512), colour), form))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_mode_has_a_look(mode: str) -> None:
    image = scene().convert("L").convert("I").convert("I;16") if mode == "I;16" else scene().convert(mode)
    form = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    assert len(seen(image, form)) == look.GREYS + 2 * look.TINTS**2


def test_a_photograph_is_not_blank_and_a_mark_in_a_corner_does_not_hide_that_the_rest_is() -> None:
    assert not look.is_blank(seen(scene()))
    marked = Image.new("RGB", (512, 512))
    ImageDraw.Draw(marked).rectangle((480, 490, 510, 510), fill="white")
    assert look.is_blank(seen(marked))


def test_colours_that_are_equally_light_are_not_blank() -> None:
    halves = Image.new("RGB", (512, 512), (200, 60, 60))
    ImageDraw.Draw(halves).rectangle((0, 0, 255, 511), fill=(20, 130, 130))
    assert not look.is_blank(seen(halves))


def test_nothing_is_said_of_a_picture_too_small_to_be_looked_at() -> None:
    tiny = seen(Image.new("RGB", (15, 400)))
    assert tiny == b""
    assert not look.is_blank(tiny)
    assert not look.are_near(tiny, tiny)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("again", [("JPEG", 90), ("JPEG", 60), ("WEBP", 80)])
def test_a_picture_that_was_compressed_again_is_near_and_shares_a_band(
    number: int, again: tuple[str, int]
) -> None:
    one, other = seen(scene(number)), seen(scene(number), again[0], quality=again[1])
    assert look.are_near(one, other)
    assert set(enumerate(look.bands(one))) & set(enumerate(look.bands(other)))


def test_other_pictures_are_not_near() -> None:
    mirrored = scene().transpose(Transpose.FLIP_LEFT_RIGHT)
    changed = scene()
    ImageDraw.Draw(changed).rectangle((200, 150, 280, 230), fill="red")
    grey = scene().convert("L").convert("RGB")
    for other in (scene(2), mirrored, changed, grey):
        assert not look.are_near(seen(scene()), seen(other))


def test_bands_are_numbers_of_32_bits() -> None:
    for cells in (bytes(range(256)), bytes(range(255, -1, -1)), b"\0\0\xff\xff" * 64, b"\xff\xff\0\0" * 64):
        assert all(0 <= band < 1 << 32 for band in look.bands(cells))


def test_an_empty_new_area_is_no_change() -> None:
    source = scene(1, (256, 192))
    canvas = Image.new("RGB", (512, 512))
    canvas.paste(source, (100, 150))
    placement = (100, 150, 256, 192)
    assert look.unchanged(stored(canvas), stored(source), None, placement) == "the new area is empty"
    filled = scene(2, (512, 512))
    filled.paste(source, (100, 150))
    assert look.unchanged(stored(filled), stored(source), None, placement) == ""


def test_the_source_again_cropped_to_the_shape_is_no_change() -> None:
    source = scene(1, (600, 400))
    again = source.crop((100, 0, 500, 400)).resize((512, 512))
    for placement in (None, (0, 0, 512, 512), (128, 128, 256, 256)):
        said = look.unchanged(stored(again, "JPEG", quality=85), stored(source), None, placement)
        assert said == "the source again"
    assert look.unchanged(stored(scene(3)), stored(source), None, None) == ""


def test_under_a_mask_only_what_is_white_counts() -> None:
    source = scene(1, (512, 512))
    mask = Image.new("L", (512, 512))
    ImageDraw.Draw(mask).rectangle((100, 100, 200, 200), fill=255)
    elsewhere = source.copy()
    ImageDraw.Draw(elsewhere).rectangle((300, 300, 500, 500), fill="red")
    said = look.unchanged(stored(elsewhere), stored(source), stored(mask), None)
    assert said == "nothing changed under the mask"
    there = source.copy()
    ImageDraw.Draw(there).rectangle((100, 100, 200, 200), fill="red")
    assert look.unchanged(stored(there), stored(source), stored(mask), None) == ""
