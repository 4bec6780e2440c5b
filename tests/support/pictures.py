"""Small pictures."""

from __future__ import annotations

import io

from PIL import Image


def noisy_picture(form: str = "PNG", size: tuple[int, int] = (37, 23)) -> bytes:
    """Noise, so that its rows take bytes."""
    noise = bytes((i * i * 31 + i // 7) % 251 for i in range(size[0] * size[1] * 3))
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, noise).save(buffer, form)
    return buffer.getvalue()


def plain_picture(
    width: int = 8, height: int = 6, kind: str = "PNG", turned: int = 0, shade: int = 0
) -> bytes:
    """A small picture; `turned` is its EXIF orientation."""
    exif = Image.Exif()
    if turned:
        exif[0x0112] = turned
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 90, 160)).save(buffer, kind, exif=exif)
    return buffer.getvalue()
