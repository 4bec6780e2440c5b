"""What every test gets: virtual time, a clean environment, no way out of this machine, and a sandbox.

Every async test runs in a loop whose clock jumps (`virtualtime.py`), unless it is marked `real_time`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

import pytest
from hypothesis import HealthCheck, settings

from batcher.sandbox import Options, Sandbox
from buckets import bucket, make_bucket, s3_server, s3_variables  # noqa: F401  # fixtures
from virtualtime import VirtualTimeLoop

# A busy machine fails no test, and every run tries the same examples.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

START = 1_767_614_400.0
"""2026-01-05 12:00 UTC: what `now` shows when the virtual clock has shown its first 1000 seconds."""


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


class MakeSandbox(Protocol):
    """`async with sandbox(rpm=60, faults=Faults([...])) as server:`"""

    def __call__(self, **options: Any) -> Sandbox: ...


@pytest.fixture
def sandbox(now: Callable[[], float]) -> MakeSandbox:
    """Makes sandboxes that live in the test's loop and time, fast and with constant pictures unless told."""

    def make(**options: Any) -> Sandbox:
        return Sandbox(Options(**{"pictures": False, **options}), now=now)

    return make


class YouForgotTheSandbox(AssertionError):
    """A test tried to leave this machine. Not an OSError: no retry may swallow it."""


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection to another machine, and every look-up of its name, raises."""
    resolve = socket.getaddrinfo
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        _stay(host)
        return resolve(host, *args, **kwargs)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _stay(address)
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _stay(address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no address and no default of the person who runs the tests reaches them."""
    for name in os.environ:
        if name.startswith(("SEGMIND_", "BATCHER_")):
            monkeypatch.delenv(name)


def _stay(address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost") or (isinstance(host, str) and host.startswith(("/", "\0"))):
        return
    try:
        if ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified:
            return
    except ValueError:
        pass
    _refuse(host)


def _refuse(host: str) -> NoReturn:
    raise YouForgotTheSandbox(f"YouForgotTheSandbox: a test reached for {host}")
