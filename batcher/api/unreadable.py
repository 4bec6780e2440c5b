"""Answers that came and cannot be read: what that means, where it happens.

Rule: what an answer proves was decided in `wire`; here it becomes the error that its place gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from batcher import errors
from batcher.api import wire

LARGEST_KEPT = 1024 * 1024
"""So many bytes of an answer that is not understood are kept."""


class Response(NamedTuple):
    """What came back: HTTP status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def unreadable_is_not_understood(answer: Response, *, names_its_job: bool = False) -> Iterator[None]:
    """Of a submit's 2xx: it came, and is kept with its own words. `names_its_job`: its headers have the id of
    the job, as those of a v1 answer."""
    try:
        yield
    except wire.Unreadable as error:
        not_read = not_understood(answer, str(error))
        if names_its_job:
            not_read.request_id = wire.header(answer.headers, "x-request-id")
        raise not_read from error


def not_understood(answer: Response, why: str) -> errors.NotUnderstood:
    """The error, with the answer's own words, where it has some for people."""
    words = wire.message_of(answer.body)
    message = f"HTTP {answer.status}: {why}" + (f"; it says: {words}" if words else "")
    return errors.NotUnderstood(message, status=answer.status, answer=answer.body[:LARGEST_KEPT])


@contextmanager
def unreadable_is(kind: type[errors.ApiError]) -> Iterator[None]:
    """Turns an answer that cannot be read into the error that this means at its place."""
    try:
        yield
    except wire.Unreadable as error:
        raise kind(str(error), status=200) from error
