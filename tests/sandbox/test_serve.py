"""The sandbox as a program."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from batcher.sandbox import main, seconds


@pytest.mark.process
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_its_address_first_and_serves_until_a_signal(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "batcher.sandbox", "--port", "0", "--service", "500ms", "--rpm", "60"]
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


def test_a_taken_port_and_a_bad_script_are_told_with_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--port", str(taken.getsockname()[1])]) == 2
        assert "address already in use" in capsys.readouterr().err
    script = tmp_path / "faults.yaml"
    script.write_text("- {fault: cutt}")
    assert main(["--faults", str(script)]) == 2
    assert "there is no fault 'cutt'" in capsys.readouterr().err
    assert main(["--rpm", "0"]) == 2
    assert capsys.readouterr().err == "rpm is 0.0; it must be more than 0\n"


@pytest.mark.parametrize("flags", [["--service", "soon"], ["--metered", "polls"], ["--porrt", "1"]])
def test_a_bad_flag_is_a_usage_error(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert flags[0].lstrip("-") in capsys.readouterr().err


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
