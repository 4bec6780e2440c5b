"""What befalls a process at a chosen await of a task's way, as a standstill or a clock that is set.

points = AwaitPoints(at=7, befalls=lambda: loop.stand_still(70))
monkeypatch.setattr(Lifecycle, "advance", watched(Lifecycle.advance, points))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any


class AwaitPoints:
    """Counts the moments at which tasks wait for something; at the chosen ones (None: at none) something
    befalls the process."""

    def __init__(self, at: int | None, befalls: Callable[[], None]) -> None:
        self.at = at
        self.befalls = befalls
        self.passed = 0

    def reach(self) -> None:
        if self.passed == self.at:
            self.befalls()
        self.passed += 1


class _Watched:
    """A coroutine, each of whose waits is a point."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], points: AwaitPoints) -> None:
        self._coroutine = coroutine
        self._points = points

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        go_on: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            try:
                awaited = go_on(value)
            except StopIteration as end:
                return end.value
            self._points.reach()
            try:
                value = yield awaited
                go_on = inner.send
            except BaseException as error:  # as the loop throws it
                value, go_on = error, inner.throw


def watched(
    advance: Callable[..., Coroutine[Any, Any, Any]], points: AwaitPoints
) -> Callable[..., Awaitable[Any]]:
    """The same step, each of whose waits is a point."""

    async def counted(*arguments: Any) -> Any:
        return await _Watched(advance(*arguments), points)

    return counted
