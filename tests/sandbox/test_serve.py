"""The sandbox as a program."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from batcher.cli import ended
from batcher.sandbox.durations import seconds


@pytest.mark.process
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_its_address_first_and_serves_until_a_signal(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "batcher", "sandbox", "--port", "0", "--service", "500ms", "--rpm", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/v1/get-user-credits")
        assert refused.value.code == 401
        refused.value.close()
        process.send_signal(ending)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")


def test_a_script_of_faults_that_cannot_be_followed_is_refused_with_its_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("\n\n- {fault: cut, route: submit}\n- {fault: x}\n- {fault: cutt}\n")
    assert ended(["sandbox", "--faults", str(script)]) == 2
    said = capsys.readouterr().err
    assert f"{script}:4:11: 1.fault: there is no fault 'x'" in said
    assert f"{script}:5:11: 2.fault: there is no fault 'cutt'; did you mean 'cut'" in said


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"- [", "is not YAML"), (b"\xff", "is not UTF-8 text"), (b"fault: cut", "must be a list")],
)
def test_a_file_that_is_no_script_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, sentence: str
) -> None:
    script = tmp_path / "faults.yaml"
    script.write_bytes(data)
    assert ended(["sandbox", "--faults", str(script)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [("500ms", 0.5), ("2s", 2), ("1.5m", 90), ("1h", 3600), ("7d", 604800), ("3", 3), (0.25, 0.25)],
)
def test_durations_are_written_as_people_do(text: str | float, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-1s", "1y", "1 2", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)
