"""Runs a command where no network is but this machine's own loopback: `python alone.py COMMAND...`.

Where that is not permitted the command runs all the same, and says so.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
SET_FLAGS, UP, RUNNING = 0x8914, 0x1, 0x40


def alone() -> bool:
    """This process leaves the machine's network; False where it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare") or libc.unshare(NEW_NETWORK) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP | RUNNING))
    return True


if __name__ == "__main__":
    if not alone():
        print("no network of its own could be had here: the tests run in the machine's", flush=True)
    os.execvp(sys.argv[1], sys.argv[1:])
