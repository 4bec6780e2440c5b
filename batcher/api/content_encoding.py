"""Bodies that come packed (gzip, deflate), unpacked in small pieces.

Rule: what has come may unfold to a thousand times as much, so no more is unpacked than was asked for. aiohttp
would unpack all that it has read, before anybody can say stop.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator

ACCEPTED = "gzip, deflate"
PIECE = 1 << 16
GZIP = b"\x1f\x8b"
PACKED = frozenset({"gzip", "x-gzip", "deflate"})


class Damaged(ValueError):
    """A body that is not packed as its headers say."""


def is_packed(encoding: str) -> bool:
    """Whether a Content-Encoding is one that is unpacked here; a body in any other stays as it came."""
    return encoding.strip().lower() in PACKED


async def unpacked(pieces: AsyncIterable[bytes], encoding: str) -> AsyncIterator[bytes]:
    """What a packed body holds, in pieces of at most PIECE bytes. What follows its end is passed over; one
    that breaks off is told as far as it goes. Raises Damaged."""
    decoder, begun = None, False
    async for piece in pieces:
        waiting = piece
        while waiting:
            if decoder is None:
                if begun and not GZIP.startswith(waiting[:2]):
                    return
                decoder = zlib.decompressobj(_window(encoding, waiting))
            try:
                part = decoder.decompress(waiting, PIECE)
                waiting = decoder.unconsumed_tail
                while part:
                    yield part
                    part = decoder.decompress(waiting, PIECE)
                    waiting = decoder.unconsumed_tail
            except zlib.error as error:
                raise Damaged("the answer is not packed as its headers say") from error
            if decoder.eof:
                waiting, decoder, begun = decoder.unused_data, None, True


def _window(encoding: str, head: bytes) -> int:
    """zlib's number for the form: some servers call deflate what has no header."""
    if encoding.strip().lower() != "deflate":
        return 16 + zlib.MAX_WBITS
    return zlib.MAX_WBITS if head[0] & 0x0F == 8 else -zlib.MAX_WBITS
