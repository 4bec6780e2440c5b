"""The templates of examples/deploy do what their README says: run where they can be, read where they cannot.

What linters know of them is said by `make check-deploy` (`tools/check_deploy.py`).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from click import Command, Context

from batcher import errors
from batcher.cli import root
from batcher.engine.stopping import GRAVITY
from batcher.job.manifest import seconds
from batcher.job.output import resolve_output
from batcher.storage import layout
from tests.support.manifests import parse
from tests.support.pages import PAGES, REFERENCE
from tests.support.program import KEY, PATIENCE, Program, until
from tests.tools.check_deploy import (
    DEPLOY,
    OLDEST_KUBERNETES,
    cron_job,
    pod_script,
    share_script,
    shares_job,
    workflow_script,
)

ROOT = DEPLOY.parents[1]
README = (DEPLOY / "README.md").read_text("utf-8")
NIGHTLY = DEPLOY / "cron" / "nightly.sh"
ARRAY = DEPLOY / "slurm" / "shares.sbatch"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())

WELL = {0, 10, 11}
"""Exit codes after which nobody is needed."""
SIGNALLED = {130, 143}
AGAIN = {1, 5}
KILLED = 137
PERSON = {2, 3, 4}
CODES = sorted(WELL | SIGNALLED | AGAIN | PERSON)

process = pytest.mark.process


def text_of(*parts: str) -> str:
    return DEPLOY.joinpath(*parts).read_text("utf-8")


def all_errors(base: type[errors.BatcherError] = errors.BatcherError) -> Iterator[type[errors.BatcherError]]:
    yield base
    for heir in base.__subclasses__():
        yield from all_errors(heir)


# --- what they say


def test_every_exit_code_has_its_place_and_there_is_no_other() -> None:
    assert set(CODES) == {0, *GRAVITY} | {error.exit_code for error in all_errors()}
    for page in (README, (ROOT / "README.md").read_text("utf-8")):
        rows = re.findall(r"^\| (\d+(?:, \d+)*) \|", page, re.MULTILINE)
        assert [int(code) for row in rows for code in row.split(", ")] == CODES


def test_systemd_takes_the_exit_codes_as_the_readme_says() -> None:
    said = dict(re.findall(r"^(\w+)=(.*)$", text_of("systemd", "batcher@.service"), re.MULTILINE))
    assert {int(code) for code in said["SuccessExitStatus"].split()} == (WELL - {0}) | SIGNALLED | {3}
    *codes, killed = said["RestartForceExitStatus"].split()
    assert ({int(code) for code in codes}, killed) == (AGAIN, "SIGKILL")
    assert said["Restart"] == "on-abnormal"
    assert "four runs in all" in README
    assert said["StartLimitBurst"] == "4"


def test_kubernetes_takes_the_exit_codes_as_the_readme_says() -> None:
    spec = cron_job()["spec"]["jobTemplate"]["spec"]
    (by_code,) = (rule for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule)
    assert by_code["action"] == "FailJob"
    assert set(by_code["onExitCodes"]["values"]) == PERSON
    assert spec["backoffLimit"] == 4 - 1


def test_every_run_in_the_templates_has_options_that_exist_and_durations_that_are_some() -> None:
    found = [words for path in FILES for words in runs_in(path.read_text("utf-8"))]
    assert len(found) == 7, "crontab, service, workflow, CronJob, README's container, Indexed Job, array"
    command = root.get_command(Context(root), "run")
    assert isinstance(command, Command)
    for words in found:
        given = command.make_context("run", words).params
        assert seconds(given["max_duration"]) > 60 * given["grace"], "a night ends"


def runs_in(text: str) -> Iterator[list[str]]:
    """The arguments of each `batcher run`, or of the script that stands for it."""
    variables = text.replace('"$job"', "jobs/seasons.yaml").replace('"$share"', "1/8")
    for found in re.findall(r"(?:batcher run|nightly\.sh) ((?:\S*/)?\S+\.yaml[^|&>`\n]*)", variables):
        yield shlex.split(found)


@pytest.mark.parametrize(
    ("grace", "after"),
    [
        ("batcher@.service", r"TimeoutStopSec=(\d+)s"),
        ("cronjob.yaml", r"GracePeriodSeconds: (\d+)"),
        ("shares.yaml", r"GracePeriodSeconds: (\d+)"),
        ("shares.sbatch", r"--signal=B:TERM@(\d+)"),
    ],
)
def test_whoever_stops_it_waits_for_longer_than_its_grace(grace: str, after: str) -> None:
    (path,) = (path for path in FILES if path.name == grace)
    text = path.read_text("utf-8")
    asked, given = re.search(r"--grace (\w+)", text), re.search(after, text)
    assert asked is not None
    assert given is not None
    assert seconds(asked[1]) + 10 <= int(given[1])


def test_every_variable_that_they_name_is_one_of_batchers_and_no_key_is_in_them() -> None:
    known = set(re.findall(r"`(SEGMIND_\w+)`", PAGES[REFERENCE]))
    for path in FILES:
        text = path.read_text("utf-8")
        assert set(re.findall(r"\bSEGMIND_\w+", text)) <= known, path
        assert "SG_" not in text, path
        assert set(re.findall(r"\bBATCHER_\w+", text)) == set(), path


def test_the_variables_of_the_script_are_the_ones_that_its_head_explains() -> None:
    head, body = text_of("cron", "nightly.sh").split("set -u\n")
    variable = r"\b(?:NIGHTLY|MAIL)_?[A-Z]+\b"
    assert set(re.findall(variable, head)) == set(re.findall(variable, body))


def test_the_crontab_is_one() -> None:
    lines = [line for line in text_of("cron", "crontab").splitlines() if line and not line.startswith("#")]
    settings = [line for line in lines if re.match(r"[A-Z_]+=", line)]
    (entry,) = [line for line in lines if line not in settings]
    assert not any(sign in line for line in settings for sign in "$~#"), "cron takes these as they stand"
    assert "PATH=/opt/batcher/bin:/usr/local/bin:/usr/bin:/bin" in settings
    *fields, command = entry.split(maxsplit=5)
    limits = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
    for field, (first, last) in zip(fields, limits, strict=True):
        assert field == "*" or first <= int(field) <= last
    assert "%" not in command
    assert shlex.split(command)[0] == "/opt/batcher/nightly.sh", "where the README puts it"


def test_the_workflow_keeps_the_ledger_of_the_job_that_it_runs() -> None:
    ledger = layout.ledger_path(resolve_output(ROOT / "jobs" / "nightly.yaml")).parent.relative_to(ROOT)
    steps = yaml.safe_load(text_of("github", "nightly.yml"))["jobs"]["nightly"]["steps"]
    caches = [step["with"] for step in steps if step.get("uses", "").startswith("actions/cache/")]
    assert [cache["path"] for cache in caches] == [str(ledger)] * 2
    assert caches[0]["key"] == caches[1]["key"]
    assert caches[1]["key"].startswith(caches[0]["restore-keys"])


@pytest.mark.parametrize("file", ["cronjob.yaml", "shares.yaml"])
def test_the_manifest_inside_the_kubernetes_file_is_valid_and_stays_on_the_volume(file: str) -> None:
    objects = list(yaml.safe_load_all(text_of("kubernetes", file)))
    (jobs,) = (one["data"] for one in objects if one["kind"] == "ConfigMap")
    ((name, text),) = jobs.items()
    assert f"batcher run /jobs/{name}" in text_of("kubernetes", file)
    job = parse(text, name, Path("/jobs"))
    pod = container() if file == "cronjob.yaml" else shares_job()["spec"]["template"]["spec"]["containers"][0]
    (data,) = (mount for mount in pod["volumeMounts"] if mount["name"] == "data")
    assert job.output.dir.is_relative_to(data["mountPath"])


def test_the_container_has_no_root_and_takes_its_key_from_the_mounted_secret() -> None:
    image = dict(re.findall(r"^(USER|VOLUME) (.+)$", text_of("docker", "Dockerfile"), re.MULTILINE))
    pod = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    user = pod["securityContext"]
    assert image == {"USER": f"{user['runAsUser']}:{user['runAsGroup']}", "VOLUME": "/data"}
    (variable,) = container()["env"]
    (mount,) = (mount for mount in container()["volumeMounts"] if mount["name"] == "key")
    assert variable == {"name": "SEGMIND_API_KEY_FILE", "value": f"{mount['mountPath']}/key"}
    assert "create secret generic segmind --from-file=key=" in README


def test_the_shares_are_as_many_as_their_pods_and_their_array_and_each_takes_its_own() -> None:
    spec = shares_job()["spec"]
    (shares,) = set(re.findall(r"JOB_COMPLETION_INDEX \+ 1\)\)/(\d+)", share_script()))
    assert spec["completions"] == spec["parallelism"] == int(shares)
    array = text_of("slurm", "shares.sbatch")
    (last,) = re.findall(r"^#SBATCH --array=1-(\d+)$", array, re.MULTILINE)
    assert re.findall(r"^shares=(\d+)$", array, re.MULTILINE) == [last]
    assert f"shard-*-of-{last} " in array


def test_what_a_person_must_look_at_ends_its_share_alone() -> None:
    spec = shares_job()["spec"]
    (by_code,) = (rule for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule)
    assert (by_code["action"], set(by_code["onExitCodes"]["values"])) == ("FailIndex", PERSON)
    assert spec["backoffLimitPerIndex"] == 3


def container() -> dict[str, list[dict[str, str]]]:
    (found,) = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_image_is_built_from_all_that_a_wheel_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *wheel["packages"], *wheel["force-include"]}
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text_of("docker", "Dockerfile"), re.MULTILINE)
    copied = {source for line in lines for source in line.split()}
    let_in = set(re.findall(r"^!(.+)$", text_of("docker", "Dockerfile.dockerignore"), re.MULTILINE))
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    assert all(any(Path(one).is_relative_to(source) for source in copied) for one in needed)


def test_the_linters_hold_the_oldest_kubernetes_that_the_readme_promises() -> None:
    assert f"Kubernetes {OLDEST_KUBERNETES.removesuffix('.0')} or later" in README


# --- what they do


class Stage:
    """A folder with programs of its own before those of the system: batcher and mail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.letters = folder / "letters"
        self.stub("mail", f'{{ echo "to: $3"; echo "subject: $2"; cat; }} >>{shlex.quote(str(self.letters))}')
        self.environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "MAILTO": "you@example.org",
            "NIGHTLY_LOGS": str(folder / "logs"),
            "NIGHTLY_AGAIN": "0",
            "NIGHTLY_PAUSE": "0",
        }

    def stub(self, name: str, script: str) -> None:
        """Puts a program of that name before all others."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        path.chmod(0o755)

    def batcher_ends_with(self, *codes: int, news: int = 1) -> None:
        """A batcher that says its arguments and ends with these codes in turn, then with the last; its status
        has so much news."""
        asked = shlex.quote(str(self.folder / "asked"))
        report = json.dumps({"job": "j", "failures": {"9": 9}, "news": {"failed": news, "left_out": 0}})
        calls = shlex.quote(str(self.folder / "calls"))
        choices = " ".join(f"{n}) exit {code} ;;" for n, code in enumerate(codes, 1))
        self.stub(
            "batcher",
            f'case $1 in status) echo "$*" >>{asked}; echo {shlex.quote(report)}; exit ;; esac; '
            f'echo "batcher $*"; echo x >>{calls}; '
            f"case $(($(wc -l <{calls}))) in {choices} *) exit {codes[-1]} ;; esac",
        )

    def python_of_the_runner(self) -> None:
        """GitHub's machines have a `python`; not every other has."""
        self.stub("python", f'exec {shlex.quote(sys.executable)} "$@"')

    def real_batcher(self) -> None:
        self.stub("batcher", f'exec {shlex.quote(sys.executable)} -m batcher "$@"')

    @property
    def calls(self) -> int:
        return len((self.folder / "calls").read_text().split())

    @property
    def log(self) -> str:
        return "".join(path.read_text("utf-8") for path in sorted((self.folder / "logs").glob("*.log")))

    @property
    def letter(self) -> str:
        """What was mailed; empty when nothing was."""
        return self.letters.read_text("utf-8") if self.letters.exists() else ""

    def run(self, *command: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def started(self, *command: Path | str) -> Iterator[subprocess.Popen[bytes]]:
        """The leader of a process group of its own, which lives while the block does."""
        with subprocess.Popen(
            [str(word) for word in command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@process
@pytest.mark.parametrize("code", [*CODES, 137])
def test_the_script_for_cron_writes_to_a_person_only_when_one_is_needed(stage: Stage, code: int) -> None:
    stage.batcher_ends_with(code)
    ended = stage.run(NIGHTLY, "jobs/seasons.yaml", "--max-duration", "6h", NIGHTLY_KILLED="0")

    assert stage.log == "batcher run jobs/seasons.yaml --max-duration 6h\n"
    assert (ended.stdout, ended.stderr) == ("", ""), "cron would mail it"
    assert [path.suffix for path in (stage.folder / "logs").iterdir()] == [".log"]
    if code in (WELL | SIGNALLED) - {10}:
        assert (ended.returncode, stage.letter) == (0, "")
        return
    assert ended.returncode == code
    address, subject, *body = stage.letter.splitlines()
    assert address == "to: you@example.org"
    assert subject.startswith("subject: batcher: seasons: ")
    assert f"ended with exit code {code}: " in "\n".join(body)
    assert stage.log.strip() in body, "the log's end"
    assert body[-1].endswith(".log")


@process
def test_a_run_that_may_end_better_is_tried_again_in_the_same_night(stage: Stage) -> None:
    stage.batcher_ends_with(5, 5, 0)
    ended = stage.run(NIGHTLY, "job.yaml", NIGHTLY_AGAIN="600")
    assert (ended.returncode, ended.stdout, stage.letter, stage.calls) == (0, "", "", 3)


@process
@pytest.mark.parametrize("code", [3, 10])
def test_a_night_with_nothing_new_needs_nobody(stage: Stage, code: int) -> None:
    stage.batcher_ends_with(code, news=0)
    where = ("-o", "a folder", "--shard=1/2", "--sandbox")
    assert (stage.run(NIGHTLY, "job.yaml", *where).returncode, stage.letter) == (0, "")
    asked = (stage.folder / "asked").read_text()
    assert asked == "status job.yaml --json -o a folder --shard 1/2 --sandbox\n"


@process
@pytest.mark.parametrize("code", [KILLED, 139, 1])
def test_a_killed_run_is_started_again_at_once_and_not_for_ever(stage: Stage, code: int) -> None:
    stage.batcher_ends_with(code, code, 0)
    assert (stage.run(NIGHTLY, "job.yaml").returncode, stage.letter, stage.calls) == (0, "", 3)
    stage.batcher_ends_with(code)
    assert stage.run(NIGHTLY, "job.yaml").returncode == code
    assert stage.log.count("batcher run") == 3 + 4
    assert '"news"' in stage.letter, "where it stands"


@process
def test_the_unit_fails_after_3_only_where_something_is_new(stage: Stage) -> None:
    (after,) = re.findall(r"^ExecStopPost=(.*)$", text_of("systemd", "batcher@.service"), re.MULTILINE)
    command = shlex.split(after.replace("$$", "$").replace("/opt/batcher/bin/", ""))
    for code in (0, 3, 5, 10):
        for news in (0, 2):
            stage.batcher_ends_with(0, news=news)
            failed = stage.run(*command, EXIT_STATUS=str(code)).returncode
            assert bool(failed) == (code in (3, 10) and news > 0)


@process
@pytest.mark.parametrize("without", ["address", "command"])
def test_without_an_address_or_a_mail_command_cron_gets_the_letter(stage: Stage, without: str) -> None:
    stage.batcher_ends_with(3)
    if without == "address":
        del stage.environment["MAILTO"]
    else:
        stage.stub("mail", "exit 127")
    ended = stage.run(NIGHTLY, "job.yaml")
    assert ended.returncode == 3
    assert "exit code 3: finished, but some tasks failed" in ended.stdout
    assert stage.letter == ""


@process
def test_a_key_file_that_others_can_read_is_told_before_anything_is_called(stage: Stage) -> None:
    key = stage.folder / "key"
    key.write_text(KEY, "utf-8")
    stage.batcher_ends_with(0)
    for mode, code in ((0o644, 2), (0o640, 2), (0o600, 0)):
        key.chmod(mode)
        assert stage.run(NIGHTLY, "job.yaml", SEGMIND_API_KEY_FILE=str(key)).returncode == code
    assert stage.calls == 1
    assert f"{key} can be read by others: chmod 600 {key}" in stage.letter
    assert KEY not in stage.letter + stage.log


@process
def test_logs_are_kept_for_their_days_and_those_of_other_jobs_are_left_alone(stage: Stage) -> None:
    stage.batcher_ends_with(0)
    logs = stage.folder / "logs"
    logs.mkdir()
    for name in ("job-old.log", "job-new.log", "other-old.log"):
        (logs / name).touch()
        if "old" in name:
            os.utime(logs / name, (0, 0))
    assert stage.run(NIGHTLY, "job.yaml").returncode == 0
    assert not (logs / "job-old.log").exists()
    assert (logs / "job-new.log").exists()
    assert (logs / "other-old.log").exists()


@process
def test_a_disk_that_takes_no_log_is_told_and_nothing_is_called(stage: Stage) -> None:
    stage.batcher_ends_with(0)
    ended = stage.run(NIGHTLY, "job.yaml", NIGHTLY_LOGS="/dev/null/logs")
    assert ended.returncode == 5
    assert "/dev/null" in ended.stderr
    assert not (stage.folder / "calls").exists()


@process
def test_a_night_on_the_sandbox_delivers_its_pictures_and_leaves_metrics(stage: Stage) -> None:
    stage.real_batcher()
    manifest = Program(stage.folder).manifest(tasks=2)
    ended = stage.run(
        NIGHTLY, manifest, "--sandbox", "--max-duration", "6h", "--metrics", stage.folder / "job.prom"
    )
    assert (ended.returncode, ended.stdout, stage.letter) == (0, "", "")
    assert "all done, 2 tasks" in stage.log
    assert len(list((stage.folder / "out-sandbox" / "images").iterdir())) == 2
    assert 'batcher_exit_code{job="job"} 0.0' in (stage.folder / "job.prom").read_text("utf-8")

    manifest.write_text("model: seg-beyond\nnonsense: 1\n", "utf-8")
    assert stage.run(NIGHTLY, manifest, "--sandbox").returncode == 2
    assert "nonsense" in stage.letter, "the sentence itself reaches the person"


@process
def test_a_shutdown_reaches_batcher_once_and_a_second_start_beside_it_is_no_error(stage: Stage) -> None:
    stage.real_batcher()
    manifest = Program(stage.folder).manifest(tasks=100, limits={"rpm": 60})
    command = (NIGHTLY, manifest, "--sandbox")
    with stage.started(*command) as process:
        until(lambda: "100 tasks" in stage.log)
        assert stage.run(*command).returncode == 0
        assert "another run holds this job" in stage.log
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert stage.letter == ""
    status = Program(stage.folder).json("status", str(manifest), "--sandbox", "--json")
    assert status["counts"]["submitted"] == 0, "what was in flight was fetched"
    assert status["counts"]["planned"] > 0


@process
@pytest.mark.parametrize("code", CODES)
def test_the_step_of_the_workflow_is_green_only_when_nobody_is_needed(stage: Stage, code: int) -> None:
    stage.batcher_ends_with(code)
    stage.python_of_the_runner()
    ended = stage.run("bash", "-e", "-c", workflow_script())
    assert ended.returncode == (0 if code in WELL else code)
    assert ("::error::" in ended.stdout) == (code not in WELL)


@process
def test_nothing_new_is_green(stage: Stage) -> None:
    stage.batcher_ends_with(3, news=0)
    stage.python_of_the_runner()
    assert stage.run("bash", "-e", "-c", workflow_script()).returncode == 0
    assert stage.run("sh", "-c", on(stage.folder)).returncode == 0


@process
@pytest.mark.parametrize("code", CODES)
def test_the_pod_succeeds_when_nobody_is_needed_and_else_ends_as_batcher_did(stage: Stage, code: int) -> None:
    stage.batcher_ends_with(code)
    assert stage.run("sh", "-c", on(stage.folder)).returncode == (0 if code in WELL else code)


@process
@pytest.mark.parametrize("code", CODES)
def test_a_share_in_a_pod_ends_as_batcher_did_and_runs_the_share_of_its_index(
    stage: Stage, code: int
) -> None:
    stage.batcher_ends_with(code)
    ended = stage.run("sh", "-c", share_script(), JOB_COMPLETION_INDEX="2")
    assert ended.returncode == code
    assert "--shard 3/8" in ended.stdout


@process
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("restarts", ["0", "3"])
def test_a_share_of_an_array_is_queued_again_a_few_times_where_that_may_help(
    stage: Stage, code: int, restarts: str
) -> None:
    stage.batcher_ends_with(code)
    stage.stub("scontrol", 'echo "scontrol $*"')
    ended = stage.run(
        "bash",
        ARRAY,
        "jobs/seasons.yaml",
        SLURM_ARRAY_JOB_ID="77",
        SLURM_ARRAY_TASK_ID="3",
        SLURM_RESTART_COUNT=restarts,
    )
    again = code in AGAIN and restarts == "0"
    assert ended.returncode == (0 if again else code)
    assert ("scontrol requeue 77_3" in ended.stdout) == again
    assert "batcher run jobs/seasons.yaml --shard 3/8 " in ended.stdout


@process
@pytest.mark.parametrize("who", ["pod", "array"])
def test_a_share_that_is_told_to_go_passes_it_on_and_waits_for_batcher(stage: Stage, who: str) -> None:
    stage.environment |= {"JOB_COMPLETION_INDEX": "0", "SLURM_ARRAY_TASK_ID": "1"}
    told = "trap 'kill $!; sleep 0.3; echo fetched >>log; exit 143' TERM"
    stage.stub("batcher", f"{told}; sleep 30 & echo up >>log; wait")
    log = stage.folder / "log"
    command = ("sh", "-c", share_script()) if who == "pod" else ("bash", ARRAY, "job.yaml")
    with stage.started(*command) as process:
        until(log.exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    assert log.read_text("utf-8") == "up\nfetched\n", "told once"


@process
def test_a_pod_that_is_told_to_go_passes_it_on_and_waits_for_batcher(stage: Stage) -> None:
    told = "trap 'kill $!; sleep 0.3; echo fetched >>log; exit 143' TERM"
    stage.stub("batcher", f"{told}; sleep 30 & echo up >>log; wait")
    log = stage.folder / "log"
    with stage.started("sh", "-c", on(stage.folder)) as process:
        until(log.exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    assert log.read_text("utf-8") == "up\nfetched\n", "told once"


def on(folder: Path) -> str:
    """The pod's script, with its volume in a folder of the test's own."""
    return pod_script().replace("/data", shlex.quote(str(folder / "data")))
