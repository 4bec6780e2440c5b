"""The words in which a test tells what goes wrong: one function per kind of fault.

Every function takes the selectors of `Selectors`; without any the fault strikes every call of its route.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypedDict, Unpack

from batcher.sandbox.faults.kinds import Fault, When

Where = str | Iterable[str]


class Selectors(TypedDict, total=False):
    """When a fault strikes: calls count from 1, times are seconds since the sandbox started."""

    calls: Iterable[int]
    first: int
    every: int
    rate: float
    since: float
    until: float


def throttle(
    route: Where,
    *,
    reset_in: float | None = 7.0,
    retry_after: str | None = None,
    **when: Unpack[Selectors],
) -> Fault:
    """429, with a reset stamp `reset_in` seconds from now (None: no stamp) and perhaps a Retry-After:
    `date` or `digits` of the same moment (or of one second, without a stamp), else this very text."""
    return _fault("throttle", route, when, reset_in=reset_in, retry_after=retry_after)


def status(
    route: Where, code: int, *, page: bool = False, message: str | None = None, **when: Unpack[Selectors]
) -> Fault:
    """An answer with this HTTP status, before the call takes effect; `page`: HTML in place of JSON."""
    return _fault("status", route, when, code=code, page=page, message=message)


def html(route: Where, code: int = 200, **when: Unpack[Selectors]) -> Fault:
    """An HTML page in place of the answer, before the call takes effect."""
    return _fault("html", route, when, code=code)


def not_json(route: Where, **when: Unpack[Selectors]) -> Fault:
    """A 2xx answer in plain text, after the call took effect."""
    return _fault("not_json", route, when)


def half_json(route: Where, **when: Unpack[Selectors]) -> Fault:
    """The real answer, broken off in the middle, after the call took effect."""
    return _fault("half_json", route, when)


def cut(route: Where, *, accepted: bool = False, **when: Unpack[Selectors]) -> Fault:
    """The line is cut; `accepted`: after the call took effect."""
    return _fault("cut", route, when, accepted=accepted)


def hang(route: Where, *, accepted: bool = True, **when: Unpack[Selectors]) -> Fault:
    """No answer ever comes; `accepted`: though the call took effect."""
    return _fault("hang", route, when, accepted=accepted)


def down(route: Where | None = None, **when: Unpack[Selectors]) -> Fault:
    """Every line is cut before anything takes effect, on all routes unless told."""
    return _fault("down", route, when)


def slow(route: Where, delay: float = 5.0, **when: Unpack[Selectors]) -> Fault:
    """The answer comes `delay` seconds after the call took effect."""
    return _fault("slow", route, when, delay=delay)


def redirect(route: Where, to: str, **when: Unpack[Selectors]) -> Fault:
    """The call is sent to another origin (`http://host:port`), by 302 or, where it has a body, 307."""
    return _fault("redirect", route, when, to=to)


def failed(error: str, route: Where = "submit", **when: Unpack[Selectors]) -> Fault:
    """The job ends FAILED with this text, after its service time."""
    return _fault("failed", route, when, error=error)


def stuck(
    state: Literal["QUEUED", "PROCESSING"] = "PROCESSING", route: Where = "submit", **when: Unpack[Selectors]
) -> Fault:
    """The job's status never changes from this one."""
    return _fault("stuck", route, when, state=state)


def hidden(delay: float = 2.0, **when: Unpack[Selectors]) -> Fault:
    """The job's record answers 404 for `delay` seconds after its submission."""
    return _fault("hidden", None, when, delay=delay)


def dead_link(**when: Unpack[Selectors]) -> Fault:
    """A result whose URLs lead nowhere; asked again, it gives good ones."""
    return _fault("dead_link", None, when)


def truncated(route: Where = "download", **when: Unpack[Selectors]) -> Fault:
    """A download of half a file, with a Content-Length that fits the half."""
    return _fault("truncated", route, when)


def short(route: Where = "download", **when: Unpack[Selectors]) -> Fault:
    """A download that is cut before its Content-Length is reached."""
    return _fault("short", route, when)


def empty(route: Where = "download", **when: Unpack[Selectors]) -> Fault:
    """A download of no bytes."""
    return _fault("empty", route, when)


def not_an_image(route: Where = "download", **when: Unpack[Selectors]) -> Fault:
    """A download that is an HTML page with status 200."""
    return _fault("not_an_image", route, when)


def slow_body(delay: float = 10.0, route: Where = "download", **when: Unpack[Selectors]) -> Fault:
    """A download whose body trickles over `delay` seconds."""
    return _fault("slow_body", route, when, delay=delay)


def _fault(kind: str, route: Where | None, selectors: Selectors, **settings: Any) -> Fault:
    calls = selectors.get("calls")
    when = When(
        calls=frozenset(calls) if calls is not None else None,
        first=selectors.get("first"),
        every=selectors.get("every"),
        rate=selectors.get("rate"),
        since=selectors.get("since"),
        until=selectors.get("until"),
    )
    return Fault.of(kind, route, when, settings)
