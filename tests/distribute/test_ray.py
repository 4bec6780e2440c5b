"""Bytes come through a Ray cluster: whatever is lost, every picture comes, and none is paid twice."""

from __future__ import annotations

import os
import signal
import time

import pytest

from distribute.conftest import PICTURES, Nodes, Stage, wait_until

pytestmark = pytest.mark.ray


def test_all_is_delivered(stage: Stage) -> None:
    with stage.started() as run:
        stage.done(run)
    seen = stage.judged()
    assert seen["fetches"] == {"1": PICTURES}


def test_a_worker_is_killed(stage: Stage) -> None:
    with stage.started() as run:
        stage.until(40)
        os.kill(a_worker(stage.cluster), signal.SIGKILL)
        stage.done(run)
    stage.judged()


def test_a_worker_is_frozen_and_overtaken(stage: Stage) -> None:
    with stage.started() as run:
        stage.until(40)
        frozen = a_worker(stage.cluster)
        os.kill(frozen, signal.SIGSTOP)
        stage.done(run)
    wait_until(lambda: not os.path.exists(f"/proc/{frozen}"))
    stage.judged()


def test_a_node_is_killed(stage: Stage) -> None:
    with stage.started() as run:
        stage.until(40)
        stage.cluster.kill(stage.cluster.nodes[0])
        stage.done(run)
    stage.judged()


def test_a_node_is_frozen_for_20_s_and_thawed(stage: Stage) -> None:
    node = stage.cluster.nodes[0]
    with stage.started() as run:
        stage.until(40)
        stage.cluster.signal(node, signal.SIGSTOP)
        time.sleep(20)
        stage.cluster.signal(node, signal.SIGCONT)
        stage.done(run)
    stage.judged()
    wait_until(lambda: not os.path.exists(f"/proc/{node}"))
    stage.cluster.nodes.remove(node)


def test_the_coordinator_is_killed_and_started_again(stage: Stage) -> None:
    with stage.started() as run:
        stage.until(40)
        run.kill()
        run.wait()
    assert stage.delivered < PICTURES
    with stage.started() as run:
        stage.done(run)
    stage.judged()


def a_worker(cluster: Nodes) -> int:
    """One that works on something."""
    found: list[int] = []
    wait_until(
        lambda: bool(found.extend(pid for node in cluster.nodes for pid in cluster.workers(node)) or found)
    )
    return found[0]
