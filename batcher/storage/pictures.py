"""Is it a picture, whole, and of what kind? Pillow answers, with its bomb limit.

Rule: the suffix follows the bytes; nothing that does not decode to its last row is a picture.
"""

from __future__ import annotations

import hashlib
import io
import os.path
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any

from batcher import errors
from batcher.storage import look
from batcher.storage.jpeg_end import PADDING, find_end

SUFFIXES = {
    "PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp",
    "TIFF": ".tif", "AVIF": ".avif", "JPEG2000": ".jp2", "ICO": ".ico", "PPM": ".ppm",
}  # fmt: skip
"""The formats that are delivered, by Pillow's names, and the suffix that a file of each gets."""

PICTURE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
    }
    | {".avif", ".avifs", ".jp2", ".j2k", ".jpx", ".ico", ".ppm", ".pgm", ".pbm", ".pnm"}
    | {".heic", ".heif", ".hif", ".jxl"}
)
"""The files that a folder or a table is taken to have as pictures: of all formats that are read here, and of
those in UNREAD, so that each of them is told."""

UNREAD = {
    "HEIC": re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|mif[12]|msf1)", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
}
"""How pictures begin that no decoder here opens: telephones make the one, archives the other."""


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What the bytes are: `suffix` with its dot, size in pixels; `look` (see `look.py`) where the picture was
    decoded for it."""

    suffix: str
    mime: str
    width: int
    height: int
    look: bytes = b""


def has_picture_suffix(path: str) -> bool:
    """Whether a file's name, path or address ends as a picture's does."""
    # Almost every name ends in no such thing, or in one behind a letter; a folder's listing asks of each.
    if path[path.rfind(".") :].lower() not in PICTURE_SUFFIXES:
        return False
    return os.path.splitext(path)[1] != ""


def is_text(head: bytes) -> bool:
    """Whether what begins so is a text, or nothing at all."""
    text = head.decode("utf-8", "replace").rstrip("\N{REPLACEMENT CHARACTER}")  # cut off within a letter
    return all(letter.isprintable() or letter.isspace() or letter == "\ufeff" for letter in text) and (
        "\N{REPLACEMENT CHARACTER}" not in text
    )


def digest(file: IO[bytes]) -> str:
    """The sha256 (hex) of what is left to read: by this a content is known, whatever its name."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any file opened for bytes is one


def identify(file: IO[bytes]) -> PictureInfo:
    """Reads the header only. Raises BadDownload with what is wrong in words."""
    return _open(file, whole=False)


def verify(file: IO[bytes], *, with_look: bool = False) -> PictureInfo:
    """Decodes every row. Raises BadDownload when the picture is cut off, damaged or none at all."""
    return _open(file, whole=True, with_look=with_look)


def upright_size(file: IO[bytes]) -> tuple[int, int]:
    """Width and height as a person sees it: an EXIF orientation applied. Reads the header only.

    Raises BadDownload with what is wrong in words.
    """
    from PIL import ExifTags, Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            # Of a TIFF, Pillow's own size is turned already, in some of its versions.
            tags = getattr(image, "tag_v2", None) or {}
            width, height = tags.get(256, image.width), tags.get(257, image.height)
            return (height, width) if turned else (width, height)
    except UnidentifiedImageError as error:
        raise errors.BadDownload(_what_it_is(file)) from error
    except Image.DecompressionBombError as error:
        raise errors.BadDownload(_too_large(error)) from error
    except Exception as error:
        raise errors.BadDownload(f"the picture is damaged: {error}") from error


def turned_upright(content: bytes) -> bytes | None:
    """A picture that EXIF turns, encoded anew as it is seen, with its colour profile; None: nothing turns it.

    Raises BadDownload with what is wrong in words.
    """
    from PIL import ExifTags, Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9):
                return None
            kind = "JPEG" if image.format in ("JPEG", "MPO") else image.format or "PNG"
            # As near to what was as it gets.
            fine = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}.get(kind, {})
            upright, buffer = ImageOps.exif_transpose(image), io.BytesIO()
            upright.save(buffer, kind, icc_profile=image.info.get("icc_profile"), **fine)
            return buffer.getvalue()
    except Exception as error:
        # Foreign bytes: decoders raise whatever a damaged field leads to.
        raise errors.BadDownload(f"the picture cannot be turned upright: {error}") from error


def _open(file: IO[bytes], *, whole: bool, with_look: bool = False) -> PictureInfo:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            picture = _described(image)
            seen = look.of_image if with_look else _unseen
            if whole and image.format == "JPEG":
                picture = replace(picture, look=_jpeg_to_its_end(file, seen))
            elif whole:
                size = image.size
                if image.format == "MPO":
                    image.draft(image.mode, (1, 1))
                image.load()
                picture = replace(picture, look=seen(image, size))
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
    except Image.DecompressionBombError as error:
        raise errors.BadDownload(_too_large(error)) from error
    except Exception as error:
        # Foreign bytes: besides OSError and SyntaxError decoders raise whatever a damaged field leads to.
        raise errors.BadDownload(f"the picture is damaged: {error}") from error


Seen = Callable[[Any, tuple[int, int]], bytes]
"""What is said of an open image, decoded perhaps at a fraction of its size in pixels."""


def _unseen(image: Any, size: tuple[int, int]) -> bytes:
    return b""


def _jpeg_to_its_end(file: IO[bytes], seen: Seen) -> bytes:
    """Decodes a JPEG whose data must reach to its last row: behind an end marker a decoder makes up the rest.
    What `seen` says of it. Raises BadDownload, and whatever the decoder raises."""
    file.seek(0)
    data = file.read()
    end = find_end(data)
    if end is not None and end.scans == 1:
        # Without the marker, nothing is made up.
        with suppress(Exception):  # the data as they are decide below
            return _decode_jpeg(data[: end.position] + PADDING, seen)
    result = _decode_jpeg(data, seen)
    if end is None or end.scans == 1 or not end.is_whole:
        raise errors.BadDownload("the picture is damaged: its data end before its last row")
    return result


def _decode_jpeg(data: bytes, seen: Seen) -> bytes:
    """Raises whatever the decoder raises."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["JPEG", "MPO"]) as image:
        # Smaller by the decoder itself: every byte is read all the same, at half the work.
        size = image.size
        image.draft(image.mode, (1, 1))
        image.load()
        return seen(image, size)


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


def _described(image: Any) -> PictureInfo:
    form = image.format or ""
    if form not in SUFFIXES:
        raise errors.BadDownload(f"a {form or 'nameless'} file is not a picture that is delivered")
    mime = image.get_format_mimetype() or "application/octet-stream"
    return PictureInfo(SUFFIXES[form], mime, image.width, image.height)


def _too_large(error: Exception) -> str:
    """Pillow opens none of twice its MAX_IMAGE_PIXELS, since a file of a few bytes may claim any size."""
    from PIL import Image

    most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
    claimed = re.search(r"\(([0-9]+) pixels\)", str(error))
    size = f"has {int(claimed[1]) // 1_000_000} million pixels" if claimed else "has too many pixels"
    return f"the picture is too large: it {size}, and {most} million are the most that is read"


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
