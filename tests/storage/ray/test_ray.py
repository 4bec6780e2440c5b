"""Bytes come through a Ray cluster: whatever is lost, every picture comes, and none is paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.storage.ray.stage import PICTURES, Nodes, Stage, descendants, wait_until
from tests.support.buckets import Bucket
from tests.support.program import Program

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
    stage.judged()
    # Where it froze decides whether it had asked the file host; that its work was given out again does not.
    assert stage.told("status", str(stage.folder))["calls"]["download"] > PICTURES
    wait_until(lambda: gone(frozen))


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
    stage.cluster.kill(node)


def test_the_coordinator_is_killed_and_started_again(stage: Stage) -> None:
    with stage.started() as run:
        stage.until(40)
        run.kill()
        run.wait()
    assert stage.delivered < PICTURES
    with stage.started() as run:
        stage.done(run)
    stage.judged()


# --- what else goes through the workers


def test_verify_and_export_are_done_by_workers(stage: Stage) -> None:
    """A few pictures by a run of this machine; then the cluster looks at them."""
    folder = stage.folder
    local = ("run", str(stage.job), "--base-url", stage.server.url, "--limit", "12")
    assert stage.told(*local)["images"] == 12
    ray = ("--on", "ray", "--address", stage.cluster.address)
    assert stage.told("verify", str(folder), *ray) == stage.told("verify", str(folder))
    for form in ("imagefolder", "webdataset", "parquet"):
        found = []
        for by, words in (("threads", ()), ("workers", ray)):
            where = folder / f"{form}-by-{by}"
            told = stage.told("export", str(folder), "--to", form, "-o", str(where), *words)
            assert told["pictures"] == 12
            files = [path for path in where.rglob("*") if path.is_file()]
            found.append({str(path.relative_to(where)): path.read_bytes() for path in files})
        assert found[0] == found[1]

    (folder / "images" / "3.png").write_bytes(b"another")
    (folder / "images" / "4.png").unlink()
    wrong = subprocess.run(
        stage.command("verify", str(folder), "--json", *ray),
        env=stage.cluster.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = json.loads(wrong.stdout)["wrong"]
    assert [(one["kind"], one["path"]) for one in found] == [
        ("wrong", "images/3.png"), ("missing", "images/4.png"),
    ]  # fmt: skip
    again = stage.told("verify", str(folder), "--repair", "--base-url", stage.server.url, *ray)
    assert (again["mended"]["fetched"], again["wrong"]) == (2, [])


def test_uploads_and_an_object_store_on_a_cluster_of_its_own(
    cluster: Nodes, tmp_path: Path, bucket: Bucket, s3_variables: dict[str, str]
) -> None:
    program = Program(tmp_path)
    program.environment |= {"HOME": cluster.environment["HOME"], **s3_variables}
    job = str(program.manifest(tasks=6, output={"dir": f"{bucket}/pets", "name": "{{ n }}"}))
    told = program("run", job, "--sandbox", "--on", "ray", "--workers", "2", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert (report["images"], report["calls"]["upload"], report["calls"]["download"]) == (6, 1, 6)
    found = [one["Key"] for one in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]]
    assert len([key for key in found if key.startswith("pets-sandbox/images/")]) == 6
    assert program.json("verify", job, "--sandbox", "--json")["wrong"] == []


SECRETS = """
import os, sys
from batcher.storage import ray as cluster_of
from batcher.storage.ray import worker
os.environ["SEGMIND_API_KEY"] = "SG_of_the_coordinator"
with cluster_of.connect(cluster_of.Ray(sys.argv[1] if len(sys.argv) > 1 else None, 2)) as cluster:
    print(sum(cluster.map(worker.secrets, range(8)), []), os.environ["SEGMIND_API_KEY"], flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("where", ["a cluster that knows one", "a cluster of its own"])
def test_no_worker_knows_a_key(cluster: Nodes, where: str) -> None:
    words = [cluster.address] if where == "a cluster that knows one" else []
    command = [sys.executable, "-c", SECRETS, *words]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=cluster.environment, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[] SG_of_the_coordinator\n"
        if not words:
            started = descendants(process.pid)
            assert started
            for pid in started:
                with suppress(OSError):
                    assert b"SG_" not in Path(f"/proc/{pid}/environ").read_bytes()
        process.communicate("\n")


def test_auto_finds_the_cluster_of_this_machine_and_where_none_is_it_is_told_in_a_sentence(
    cluster: Nodes, tmp_path: Path
) -> None:
    program = Program(tmp_path)
    program.environment |= {name: cluster.environment[name] for name in ("HOME", "RAY_TMPDIR")}
    run = ("run", str(program.manifest(tasks=2)), "--sandbox", "--on", "ray", "--address")
    assert program(*run, "auto").returncode == 0
    said = program(*run, "127.0.0.1:1")
    assert said.returncode == 2
    assert "no Ray cluster at 127.0.0.1:1: " in said.stderr


def gone(pid: int) -> bool:
    """Whether the process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def a_worker(cluster: Nodes) -> int:
    """One that works on something."""
    found: list[int] = []
    wait_until(
        lambda: bool(found.extend(pid for node in cluster.nodes for pid in cluster.workers(node)) or found)
    )
    return found[0]
