"""What linters have to say about examples/deploy: `make check-deploy`.

    python -m tests.tools.check_deploy

shellcheck and systemd-analyze come from the system (Debian: shellcheck, systemd), the others from the group
`check`. Rule: a tool that is missing fails the check, and so does a mere warning.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
UNITS = ["batcher@nightly.service", "batcher@nightly.timer", "batcher-failed@nightly.service"]

OLDEST_KUBERNETES = "1.31.0"
"""As the README promises; the newest that the validator knows is asked too."""


def main() -> int:
    """Runs every linter; 0 when none of them says a word."""
    with tempfile.TemporaryDirectory() as folder:
        problems = [*_shell(Path(folder)), *_systemd(Path(folder)), *_schemas(), *_docker()]
    print("\n".join(problems) or "examples/deploy: nothing to complain about")
    return 1 if problems else 0


def workflow_script() -> str:
    """The shell (bash -e) of the workflow's step that runs the job."""
    workflow = yaml.safe_load((DEPLOY / "github" / "nightly.yml").read_text("utf-8"))
    (script,) = (step["run"] for step in workflow["jobs"]["nightly"]["steps"] if step.get("id") == "job")
    return str(script)


def pod_script() -> str:
    """The shell (sh) that is process 1 of the CronJob's container."""
    container = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["sh", "-c"]
    (script,) = container["args"]
    return str(script)


def share_script() -> str:
    """The shell (sh) that is process 1 of a share's container."""
    container = shares_job()["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["sh", "-c"]
    (script,) = container["args"]
    return str(script)


def shares_job() -> dict[str, Any]:
    """The Indexed Job of the shares."""
    objects = yaml.safe_load_all((DEPLOY / "kubernetes" / "shares.yaml").read_text("utf-8"))
    (found,) = (one for one in objects if one["kind"] == "Job")
    return dict(found)


def cron_job() -> dict[str, Any]:
    """The CronJob among the objects of the Kubernetes file."""
    objects = yaml.safe_load_all((DEPLOY / "kubernetes" / "cronjob.yaml").read_text("utf-8"))
    (found,) = (one for one in objects if one["kind"] == "CronJob")
    return dict(found)


def _shell(folder: Path) -> Iterator[str]:
    inside = {"workflow.bash": workflow_script(), "pod.sh": pod_script(), "share.sh": share_script()}
    for name, script in inside.items():
        dialect = "bash" if name.endswith("bash") else "sh"
        (folder / name).write_text(f"#!/bin/{dialect}\n{script}", "utf-8")
    scripts = (DEPLOY / "cron" / "nightly.sh", DEPLOY / "slurm" / "shares.sbatch")
    yield from _said("shellcheck", *scripts, *(folder / name for name in inside))


def _docker() -> Sequence[str]:
    return _said("hadolint", "--no-color", DEPLOY / "docker" / "Dockerfile")


def _schemas() -> Iterator[str]:
    """Both schemas lie inside their packages: nothing is fetched."""
    workflow = DEPLOY / "github" / "nightly.yml"
    said = _said("check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)
    yield from (line for line in said if line != "ok -- validation done")
    for version in ([f"--kubernetes-version={OLDEST_KUBERNETES}"], []):
        objects = sorted((DEPLOY / "kubernetes").iterdir())
        yield from _said("kubernetes-validate", *version, "--strict", "--quiet", *objects)


def _systemd(folder: Path) -> Iterator[str]:
    """Verified where they stand in for an installed batcher; the words about other units of this system
    are not ours."""
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text("utf-8").replace("/opt/batcher/bin/batcher", "/bin/true")
        (folder / unit.name).write_text(text, "utf-8")
    said = _said("systemd-analyze", "verify", "--man=no", *UNITS, cwd=folder)
    yield from (line for line in said if "batcher" in line or line.startswith("systemd-analyze"))


def _said(tool: str, *arguments: Path | str, cwd: Path | None = None) -> Sequence[str]:
    """The lines that a tool prints; one is made where it is missing, or fails without a word."""
    beside = Path(sys.executable).with_name(tool)
    program = str(beside) if beside.exists() else shutil.which(tool)
    if program is None:
        return [f"{tool} is not installed; shellcheck and systemd come from the system, the others with pip"]
    ended = subprocess.run(
        [program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if line]
    return lines or ([f"{tool} ended with {ended.returncode}"] if ended.returncode else [])


if __name__ == "__main__":
    sys.exit(main())
