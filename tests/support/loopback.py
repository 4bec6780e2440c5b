"""No way out of this machine: what a test may connect to."""

from __future__ import annotations

import ipaddress
from typing import Any


class YouForgotTheSandbox(AssertionError):
    """A test tried to leave this machine. Not an OSError: no retry may swallow it."""


def stay(address: Any) -> None:
    """Raises YouForgotTheSandbox unless the address is one of this machine."""
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
    raise YouForgotTheSandbox(f"YouForgotTheSandbox: a test reached for {host}")
