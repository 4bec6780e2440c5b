"""The same work on many machines: bytes are carried by the workers of a Ray cluster.

    with connect(Ray("auto")) as cluster:
        await cluster.run(read, path, digest)

    cluster.py   the coordinator's side: so many at a time, and overtaking whoever is not heard of
    worker.py    the worker's side

Rule: calls, money and the ledger stay in the one process that runs the job; a worker that is lost costs work
on bytes, done again. The key never leaves that process, and Ray sends nothing home.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.storage.ray import worker
from batcher.storage.ray.cluster import Cluster
from batcher.storage.workers import Threads, Workers

__all__ = ["Cluster", "Ray", "connect", "require_installed", "workers_for"]

ANSWER_SECONDS = 10.0
NOWHERE = "http://127.0.0.1:9/"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without it a head node reports once, to say that it will not report.
    "RAY_USAGE_STATS_REPORT_URL": NOWHERE,
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True)
class Ray:
    """Which cluster: `address` as Ray has it (`auto`, `host:port`); None: one of this machine alone, for as
    long as it is needed. At most `workers` at a time; None: as many as it has CPUs."""

    address: str | None = None
    workers: int | None = None


def require_installed() -> None:
    """Ray is there when this returns. Raises UsageError with what to do."""
    if find_spec("ray") is None:
        raise errors.UsageError("--on ray needs Ray, which is not installed: pip install 'batcher[ray]'")


@contextmanager
def connect(on: Ray) -> Iterator[Cluster]:
    """A cluster to work on. Raises UsageError when there is none, or when it has another batcher."""
    require_installed()
    os.environ.update(QUIET)
    ray = import_module("ray")
    ours = not ray.is_initialized()
    if ours:
        with _without_key():
            _connect(ray, on)
    try:
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        cluster = Cluster(ray, min(on.workers or cpus, cpus))
        _require_same_batcher(cluster)
        yield cluster
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def workers_for(on: Ray | None, output: Path, store: str | None) -> Iterator[Workers]:
    """Who works on the pictures of an output folder, which lie in it or in an object `store`: threads of this
    process, or the workers of a cluster. Raises UsageError when there is none, or they do not see them."""
    if on is None:
        yield Threads()
        return
    with connect(on) as cluster:
        if store is None and output.exists():
            cluster.require_shared(output)
        yield cluster


def _connect(ray: Any, on: Ray) -> None:
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if on.address is not None:
        how["address"] = on.address
    else:
        # A cluster that some variable names is not meant: that is what --address is for.
        how |= {"address": "local", "num_cpus": on.workers, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        _require_listener(on.address)
        ray.init(**how)
    except Exception as error:
        # Ray raises ConnectionError, RuntimeError, ValueError and others, for the same few reasons.
        where = f"at {on.address}" if on.address else "on this machine"
        reason = str(error).strip().split("\n")[0][:300]
        raise errors.UsageError(
            f"no Ray cluster {where}: {reason}; `ray start --head` begins one, and without --address "
            "batcher begins its own"
        ) from error


def _require_listener(address: str | None) -> None:
    """Somebody listens there: Ray itself would ask for a minute. Raises OSError, ValueError."""
    host, colon, port = (address or "").rpartition(":")
    if colon and "/" not in host:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()


def _require_same_batcher(cluster: Cluster) -> None:
    ours = worker.version(0)
    for theirs in cluster.map(worker.version, range(1)):
        if theirs != ours:
            raise errors.UsageError(
                f"the cluster's workers have batcher {theirs}, this is {ours}; install the same"
            )


@contextmanager
def _without_key() -> Iterator[None]:
    """What Ray starts inherits an environment that has no key in it."""
    secrets = {name: os.environ.pop(name) for name in worker.SECRETS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(secrets)
