"""What every test gets: virtual time, a clean environment, no way out of this machine, and a sandbox.

Every async test runs in a loop whose clock jumps (`support/virtualtime.py`), unless it is marked `real_time`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from batcher.sandbox import Options, Sandbox
from tests.support.loopback import stay
from tests.support.sandboxes import START, MakeSandbox
from tests.support.virtualtime import VirtualTimeLoop

STATES = itertools.count()

pytest_plugins = ["tests.support.buckets", "tests.support.harness"]

# A busy machine fails no test, and every run tries the same examples.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_time: runs its coroutine in a loop with a real clock")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("real_time"):
        return {"real": asyncio.SelectorEventLoop}
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
async def now() -> Callable[[], float]:
    """The wall clock: a fixed date that goes on with the loop's time, and may be read from any thread."""
    loop = asyncio.get_running_loop()
    origin = START - 1000.0
    return lambda: origin + loop.time()


@pytest.fixture
def sandbox(now: Callable[[], float]) -> MakeSandbox:
    """Makes sandboxes that live in the test's loop and time, with constant pictures at a cent unless told."""

    def make(**options: Any) -> Sandbox:
        return Sandbox(Options(**{"pictures": False, "price": 0.01, **options}), now=now)

    return make


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection to another machine, and every look-up of its name, raises."""
    resolve = socket.getaddrinfo
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        stay(host)
        return resolve(host, *args, **kwargs)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        stay(address)
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        stay(address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No key, no address, no default and no state of the person who runs the tests reaches them."""
    state = tmp_path_factory.getbasetemp() / f"state-{next(STATES)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("XDG_CACHE_HOME", str(state / "cache"))
    for name in os.environ:
        if name.startswith(("SEGMIND_", "BATCHER_")):
            monkeypatch.delenv(name)
