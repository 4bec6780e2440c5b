"""examples/notebook.ipynb is executed in a real kernel; a cell that is stopped leaves the ledger whole."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from tests.support.pages import ROOT
from tests.support.program import PATIENCE, Program, until

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], 4)
place = {"metadata": {"path": sys.argv[1].rpartition("/")[0]}}
NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
nbformat.write(notebook, sys.argv[1])
"""
STOP = """
import sqlite3, sys, threading, time
from pathlib import Path
from jupyter_client.manager import start_new_kernel

LEDGER = Path("out/job-sandbox/.batcher/ledger.sqlite")
manager, client = start_new_kernel(kernel_name="python3")

def when_in_flight():
    while True:
        time.sleep(0.1)
        try:
            with sqlite3.connect(f"file:{LEDGER}?mode=ro", uri=True) as ledger:
                if ledger.execute("SELECT count(*) FROM tasks WHERE state = 'submitted'").fetchone()[0] >= 4:
                    break
        except sqlite3.Error:
            pass
    manager.interrupt_kernel()

def hear(message):
    content = message["content"]
    if "data" in content:
        print(content["data"]["text/plain"])
    if "ename" in content:
        print(content["ename"], content["traceback"][-1])

def cell(code):
    reply = client.execute_interactive(code, timeout=60, output_hook=hear, allow_stdin=False)
    return reply["content"]["status"]

print("status", cell('''
from batcher import load, run, run_sync
job = load({
    "model": "sd1.5-img2img",
    "params": {"image": "photo.jpg", "prompt": "view {{ n }}"},
    "limits": {"rpm": 600},
}, rows=[{"n": n} for n in range(int(%s))])
''' % sys.argv[2]))
threading.Thread(target=when_in_flight, daemon=True).start()
print("status", cell(sys.argv[1]))
client.stop_channels()
manager.shutdown_kernel(now=True)
"""
STOPPED = """
import asyncio, sys, threading, time
from pathlib import Path
import nbformat
from nbclient import NotebookClient

SETUP = '''
from batcher import load, run, run_sync
job = load({
    "model": "sd1.5-img2img",
    "params": {"image": "photo.jpg", "prompt": "view {{ n }}"},
    "limits": {"rpm": 600},
}, rows=[{"n": n} for n in range(300)])
'''
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (SETUP, sys.argv[1])])
client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True)

def stop_at_the_first_picture():
    while not any(Path("out/job-sandbox/images").glob("*")):
        time.sleep(0.1)
    asyncio.run(client.km.interrupt_kernel())

threading.Thread(target=stop_at_the_first_picture, daemon=True).start()
client.execute()
for output in notebook.cells[1].outputs:
    if output.output_type == "error":
        print(output.ename, *output.traceback)
"""
PROMPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background have it ignored
from batcher import load, run, run_sync
job = load({
    "model": "sd1.5-img2img",
    "params": {"image": "photo.jpg", "prompt": "view {{ n }}"},
    "limits": {"rpm": 600},
}, rows=[{"n": n} for n in range(300)])
"""
SCRIPT = """
from batcher import load, run_sync
from batcher.progress import StateChanged
from batcher.task import State

def tell(event):
    if isinstance(event, StateChanged) and event.target is State.SUBMITTED:
        print("in flight", flush=True)

job = load({
    "model": "sd1.5-img2img",
    "params": {"image": "photo.jpg", "prompt": "view {{ n }}"},
    "limits": {"rpm": 600},
}, rows=[{"n": n} for n in range(300)])
run_sync(job, sandbox=True, listener=tell)
"""
pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A reader's copy of the examples; a kernel's own libraries warn of themselves."""
    found = Program(tmp_path)
    found.environment["PYTHONWARNINGS"] = "ignore"
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "examples/photos/cat.jpg", tmp_path / "photo.jpg")
    return found


def test_the_notebook_runs_from_its_first_cell_to_its_last(program: Program) -> None:
    path = program.folder / "examples/notebook.ipynb"
    done = program.python(EXECUTE, str(path))
    assert done.returncode == 0, done.stderr
    outputs = [
        output for cell in json.loads(path.read_text("utf-8"))["cells"] for output in cell.get("outputs", [])
    ]
    shown = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    assert any("all done, 3 tasks" in html for html in shown)
    assert any(html.count("<img") == 6 for html in shown)
    assert any("images/autumn.jpg" in html for html in shown)
    assert not any(output["output_type"] == "error" for output in outputs)
    assert len(list((program.folder / "out/notebook-sandbox/images").iterdir())) == 3


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads((ROOT / "examples/notebook.ipynb").read_text("utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize("call", ["await run(job, sandbox=True)", "run_sync(job, sandbox=True)"])
def test_a_cell_that_is_stopped_says_what_is_in_flight_and_how_to_go_on(program: Program, call: str) -> None:
    done = program.python(STOP, call, "300")
    assert done.stdout.splitlines()[-1] == "status error", done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "interrupted; the ledger is whole, and running the job again goes on." in said
    assert "in flight and will be" in said
    counts = program.json("status", "out/job-sandbox", "--json")["counts"]
    assert counts["submitting"] == 0
    assert counts["submitted"] >= 4
    assert sum(counts.values()) == 300


@pytest.mark.parametrize("call", ["await run(job, sandbox=True)", "run_sync(job, sandbox=True)"])
def test_the_error_of_a_cell_that_is_stopped_says_how_to_go_on(program: Program, call: str) -> None:
    done = program.python(STOPPED, call)
    assert "interrupted; the ledger is whole, and running the job again goes on." in done.stdout, done.stderr
    assert done.stdout.startswith(("CancelledError", "KeyboardInterrupt"))


@pytest.mark.parametrize("call", ["await run(job, sandbox=True)", "run_sync(job, sandbox=True)"])
def test_ctrl_c_at_a_prompt_of_ipython_ends_the_run_in_good_order(program: Program, call: str) -> None:
    (program.folder / "setup.py").write_text(PROMPT)
    pictures = program.folder / "out/job-sandbox/images"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    with (
        subprocess.Popen(
            [*command, "-i", "setup.py"],
            cwd=program.folder,
            env=program.environment | {"TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process,
        open(ours, "r+b", buffering=0) as terminal,
    ):
        os.close(theirs)
        patience = Timer(2 * PATIENCE, process.kill)
        patience.start()
        terminal.write(f"{call}\n".encode())
        until(lambda: pictures.exists() and any(pictures.iterdir()))
        process.send_signal(signal.SIGINT)
        said = b""
        with suppress(OSError):  # at its end a terminal raises
            while b"goes on." not in said.rpartition(b"KeyboardInterrupt")[2]:
                said += terminal.read(65536)
            terminal.write(b"exit\n")
            while chunk := terminal.read(65536):
                said += chunk
        patience.cancel()
    assert b"interrupted; the ledger is whole, and running the job again goes on." in said
    counts = program.json("status", "out/job-sandbox", "--json")["counts"]
    assert (counts["submitting"], sum(counts.values())) == (0, 300)


def test_ctrl_c_in_a_script_says_what_is_in_flight_in_its_last_line(program: Program) -> None:
    (program.folder / "job.py").write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, "job.py"],
        cwd=program.folder,
        env=program.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in flight\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert said.splitlines()[-2] == "KeyboardInterrupt"
    assert said.splitlines()[-1].startswith(
        "interrupted; the ledger is whole, and running the job again goes"
    )
