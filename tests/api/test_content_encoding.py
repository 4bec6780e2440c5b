"""Packed bodies are unpacked in small pieces, as far as they are asked for."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.content_encoding import PIECE, Damaged, is_packed, unpacked
from batcher.api.http import PLAIN, TooLarge, plain_session, read_limited
from tests.support.foreign import Foreign

FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "its old name": (" X-GZIP", gzip.compress),
    "members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    "with an end that is none": ("gzip", lambda data: gzip.compress(data) + b"\0\0more"),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", lambda data: zlib.compress(data)[2:-4]),
}


async def split(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def whole(body: bytes, encoding: str, size: int) -> bytes:
    pieces = [piece async for piece in unpacked(split(body, size), encoding)]
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


@given(st.sampled_from(sorted(FORMS)), st.binary(min_size=8), st.integers(0, 3), st.integers(1, 999))
def test_what_was_packed_comes_out_however_it_is_cut(form: str, data: bytes, times: int, size: int) -> None:
    encoding, pack = FORMS[form]
    data = data * 10**times
    size = max(size, len(data) // 500)
    assert is_packed(encoding)
    assert asyncio.run(whole(pack(data), encoding, size)) == data


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_what_is_not_packed_so_is_damaged_or_ends(noise: bytes, encoding: str) -> None:
    with suppress(Damaged):
        asyncio.run(whole(noise, encoding, 64))


def test_what_breaks_off_is_told_as_far_as_it_goes() -> None:
    data = bytes(range(256)) * 999
    assert data.startswith(asyncio.run(whole(gzip.compress(data)[:-9], "gzip", 4096))[:-1])


@pytest.mark.parametrize("encoding", ["", "identity", "br", "gzip, gzip", "image/png"])
def test_any_other_encoding_stays_as_it_came(encoding: str) -> None:
    assert not is_packed(encoding)


def test_no_more_is_unpacked_than_is_asked_for() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for start in range(0, len(bomb), 1 << 10):
            taken += 1
            yield bomb[start : start + (1 << 10)]

    async def first() -> None:
        async for _ in unpacked(pieces(), "gzip"):
            break

    asyncio.run(first())
    assert taken == 1


@pytest.mark.parametrize("sized", [True, False])
async def test_a_bomb_is_left_as_soon_as_it_unfolds_to_more_than_pictures_can(sized: bool) -> None:
    """Whether it says its size, or is sent piece by piece without an end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = packer.compress(bytes(64 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        length = b"Content-Length: %d" % (99 * len(piece)) if sized else b"Transfer-Encoding: chunked"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n%s\r\n\r\n" % length)
        for _ in range(99):
            writer.write(piece if sized else b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()

    held = 0

    async def reserve(size: int) -> None:
        nonlocal held
        held += size

    async with Foreign(script) as server, plain_session() as session, session.get(server.url) as response:
        with pytest.raises(TooLarge, match=f"larger than {PLAIN >> 20} MB"):
            await read_limited(response, 1 << 30, reserve)
    assert held <= PLAIN
