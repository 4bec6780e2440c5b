"""The sandbox as a program: it says its address and serves until a signal ends it."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

import anyio

from batcher.sandbox.durations import seconds
from batcher.sandbox.faults import Faults
from batcher.sandbox.options import Options
from batcher.sandbox.server import Sandbox


async def serve(options: Options, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is told the address once calls are answered.

    Raises:
        OSError: the port cannot be had.
    """
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with Sandbox(options) as sandbox:
            announce(sandbox.url)
            async for _ in signals:
                break


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m batcher.sandbox`; returns the exit code."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    path = flags.pop("faults")
    try:
        faults = Faults.load(path, seed=flags["seed"]) if path else None
        anyio.run(serve, Options(faults=faults, **flags), _announce)
    except (ValueError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


def _announce(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    usual = Options()
    parser = argparse.ArgumentParser(
        prog="python -m batcher.sandbox", description="A local server of the API."
    )
    add = parser.add_argument
    add("--host", default=usual.host, help="address to listen on (%(default)s)")
    add("--port", type=int, default=usual.port, metavar="N", help="0 picks a free one (%(default)s)")
    add("--service", type=_duration, metavar="D", help="mean time of a job (the model page's typical time)")
    add("--sigma", type=float, default=usual.sigma, metavar="X", help="spread of that time (%(default)s)")
    add("--workers", type=int, default=usual.workers, metavar="N", help="jobs at once (%(default)s)")
    add("--rpm", type=float, metavar="N", help="calls per minute (unlimited)")
    add(
        "--metered", choices=["submits", "all"], default=usual.metered, help="what --rpm counts (%(default)s)"
    )
    add("--ttl", type=_duration, default=usual.ttl, metavar="D", help="life of a request's record (1h)")
    add("--credits", type=float, default=usual.credits, metavar="X", help="opening balance (%(default)s)")
    add("--price", type=float, metavar="X", help="credits per image (the model page's price)")
    add("--faults", metavar="FILE", help="a script of faults (YAML)")
    add("--seed", type=int, default=usual.seed, metavar="N", help="decides everything random (%(default)s)")
    return parser


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
