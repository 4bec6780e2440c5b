"""Is it a picture, whole, and of what kind? Pillow answers, with its bomb limit.

Law: the suffix follows the bytes; nothing that does not decode to its last row is a picture.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import IO, Any

from batcher import errors

SUFFIXES = {
    "PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp",
    "TIFF": ".tif", "AVIF": ".avif", "JPEG2000": ".jp2", "ICO": ".ico", "PPM": ".ppm",
}  # fmt: skip

UNREAD = {
    "HEIC": re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|mif[12]|msf1)", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
}
"""How pictures begin that no decoder here opens: telephones make the one, archives the other."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the bytes are: `suffix` with its dot, size in pixels."""

    suffix: str
    mime: str
    width: int
    height: int


def digest(file: IO[bytes]) -> str:
    """The sha256 (hex) of what is left to read: by this a content is known, whatever its name."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any file opened for bytes is one


def kind_of(file: IO[bytes]) -> Picture:
    """Reads the header only. Raises BadDownload with what is wrong in words."""
    return _open(file, whole=False)


def verified(file: IO[bytes]) -> Picture:
    """Decodes every row. Raises BadDownload when the picture is cut off, damaged or none at all."""
    return _open(file, whole=True)


def upright_size(file: IO[bytes]) -> tuple[int, int]:
    """Width and height as a person sees it: an EXIF orientation applied. Reads the header only.

    Raises BadDownload with what is wrong in words.
    """
    from PIL import ExifTags, Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else (image.width, image.height)
    except UnidentifiedImageError as error:
        raise errors.BadDownload(_what_it_is(file)) from error
    except Exception as error:
        raise errors.BadDownload(f"the picture is damaged: {error}") from error


def _open(file: IO[bytes], *, whole: bool) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            picture = _described(image)
            if whole:
                if image.format in ("JPEG", "MPO"):
                    # Smaller by the decoder itself: every byte is read all the same, at half the work.
                    image.draft(image.mode, (1, 1))
                image.load()
                for frame in range(1, getattr(image, "n_frames", 1)):
                    image.seek(frame)
                    image.load()
                if image.format == "PNG":
                    _to_its_end(file)
            return picture
    except UnidentifiedImageError as error:
        raise errors.BadDownload(_what_it_is(file)) from error
    except errors.BadDownload:
        raise
    except Exception as error:
        # Foreign bytes: besides OSError and SyntaxError decoders raise whatever a damaged field leads to.
        raise errors.BadDownload(f"the picture is damaged: {error}") from error


def _to_its_end(file: IO[bytes]) -> None:
    """A PNG whose rows are all there may lack its end all the same. Raises BadDownload."""
    place = 8
    while True:
        file.seek(place)
        head = file.read(8)
        size = int.from_bytes(head[:4], "big")
        if head[4:] == b"IEND" and len(file.read(4)) == 4:
            return
        if len(head) < 8 or head[4:] == b"IEND":
            raise errors.BadDownload("the picture is damaged: it is cut off before its end")
        place += size + 12


def _described(image: Any) -> Picture:
    form = image.format or ""
    if form not in SUFFIXES:
        raise errors.BadDownload(f"a {form or 'nameless'} file is not a picture that is delivered")
    mime = image.get_format_mimetype() or "application/octet-stream"
    return Picture(SUFFIXES[form], mime, image.width, image.height)


def _what_it_is(file: IO[bytes]) -> str:
    file.seek(0)
    head = file.read(64)
    for form, begins in UNREAD.items():
        if begins.match(head):
            return f"the file is a picture in a format that cannot be read here ({form}); make it PNG or JPEG"
    start = head.lstrip()
    if not start:
        return "the file is empty"
    if start[:1] == b"<":
        return "the file is a page, not a picture"
    return "the file is not a picture"
