"""Bytes that a decoder opens are the picture that was paid for, whatever their answer says of them."""

from __future__ import annotations

import io
from base64 import b64encode

import pytest
from PIL import Image

from batcher.api import wire
from batcher.api.wire import Output, Unreadable
from batcher.storage import pictures
from tests.support.pictures import noisy_picture

KINDS = ["application/octet-stream", "text/html; charset=utf-8", "", "application/problem+xml"]
HEAD = b'--part\r\nContent-Disposition: form-data; name="image"\r\n\r\n'


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(noisy_picture())) as image:
        image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", sorted({*pictures.SUFFIXES} - {"MPO"}))
def test_every_form_that_is_delivered_is_known_by_its_first_bytes(form: str) -> None:
    body = encoded(form)
    for kind in KINDS:
        assert wire.sync_result({"Content-Type": kind}, body).outputs == (Output(data=body),)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_behind_the_head_of_a_part_is_a_picture(form: str) -> None:
    for kind in ("multipart/mixed; boundary=part", *KINDS):
        body = HEAD + encoded(form) + b"\r\n--part--\r\n"
        (output,) = wire.sync_result({"Content-Type": kind}, body).outputs
        assert output.data is not None
        pictures.verify(io.BytesIO(output.data))


@pytest.mark.parametrize("kind", ["image/png", "image/svg+xml"])
@pytest.mark.parametrize("body", [b"<html>be right back</html>", b"<svg/>", "später".encode(), b" "])
def test_a_text_is_no_picture_whatever_it_is_called(kind: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        wire.sync_result({"Content-Type": kind}, body)
    encoded_text = b'{"image": "%s"}' % b64encode(body * 40)
    with pytest.raises(Unreadable):
        wire.sync_result({"Content-Type": "application/json"}, encoded_text)


@pytest.mark.parametrize("body", [b"P5 is not ready", b"\0\0\0\0", b"II", HEAD + b"\r\n--part--"])
def test_what_only_looks_a_little_like_one_is_none(body: bytes) -> None:
    with pytest.raises(Unreadable):
        wire.sync_result({"Content-Type": "application/octet-stream"}, body)
