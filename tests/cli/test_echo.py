"""One place prints, and it cleans: hostile names and texts on their way to a terminal, by every command."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from batcher import errors
from batcher.cli import ended
from tests.support.hostile import HOSTILE, IN_A_NAME, problems
from tests.support.program import KEY, Program

PACKAGE = Path(errors.__file__).parent
PRINTERS = {"cli/echo.py", "progress/terminal.py", "progress/lines.py"}
"""The only modules that write to a terminal: what a command prints, and what a run tells."""
STREAMS = {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
TRACEBACKS = {"print_exc", "print_exception"}
WAYS = {"print", "input", "warnings.warn", "logging.getLogger", *(f"traceback.{name}" for name in TRACEBACKS)}
CLICK = {"echo", "secho", "confirm", "prompt", "pause", "echo_via_pager", "progressbar", "get_text_stream"}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def ways_to_a_terminal(source: str) -> Iterator[str]:
    """What in a module could print: calls that do, writes to the standard streams, and rich's console."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            target, _, method = name.rpartition(".")
            if (
                name in WAYS
                or (target == "click" and method in CLICK)
                or name.split(".")[-1] == "Console"
                or (target in STREAMS and method not in {"isatty", "flush"})
                or method == "show"
            ):
                yield name
            yield from (
                f"{name}({dotted(argument)})"
                for argument in [*node.args, *(keyword.value for keyword in node.keywords)]
                if dotted(argument) in STREAMS
            )
        elif isinstance(node, ast.ImportFrom) and node.module in {"click", "sys", "traceback", "logging"}:
            yield from (
                f"{node.module}.{alias.name}"
                for alias in node.names
                if alias.name in CLICK | TRACEBACKS | {"stdout", "stderr", "getLogger"}
            )


LISTENERS = {
    "cli/cmd_run.py": {"JsonLines(sys.stderr)", "Lines(sys.stderr)"},  # of progress/lines.py
    "storage/ray/__init__.py": {"logging.getLogger"},  # is told to be quiet
}


def test_no_other_module_has_a_way_to_the_terminal() -> None:
    ways = {
        name: set(ways_to_a_terminal(path.read_text("utf-8"))) - LISTENERS.get(name, set())
        for path in PACKAGE.rglob("*.py")
        if (name := path.relative_to(PACKAGE).as_posix()) not in PRINTERS
    }
    assert {name: found for name, found in ways.items() if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "print(1, file=sys.stderr)",
        "click.echo(name)",
        "click.secho(name)",
        "sys.stdout.write(name)",
        "from click import echo",
        "from sys import stderr",
        "Console()",
        "rich.console.Console()",
        "error.show()",
        "traceback.print_exc()",
        "logging.getLogger(__name__)",
        "warnings.warn(name)",
        "other.writes(to=sys.stdout)",
    ],
)
def test_each_way_to_a_terminal_would_be_noticed(source: str) -> None:
    assert list(ways_to_a_terminal(source))


# --- what each command shows of hostile input


def job(folder: Path, **changes: object) -> Path:
    """A manifest over one picture."""
    data = {
        "model": "sd1.5-outpaint",
        "inputs": [{"images": "photos"}],
        "params": {"image": "{{ image }}", "prompt": "a fox"},
        "output": {"dir": "out"},
        **changes,
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=False), encoding="utf-8")
    return path


def in_a_manifest(**changes: object) -> Callable[[Path], list[str]]:
    def prepared(folder: Path) -> list[str]:
        return [str(job(folder, **changes))]

    return prepared


def picture_name(folder: Path) -> list[str]:
    Image.new("RGB", (8, 8)).save(folder / "photos" / f"{IN_A_NAME}.png")
    (folder / "photos" / f"{IN_A_NAME}broken.png").write_bytes(b"no picture")
    return [str(job(folder))]


def folder_name(folder: Path) -> list[str]:
    (folder / IN_A_NAME).mkdir()
    return [str(job(folder, inputs=[{"images": IN_A_NAME}]))]


def manifest_name(folder: Path) -> list[str]:
    path = folder / f"{IN_A_NAME}.yaml"
    path.write_text("model: [")
    return [str(path)]


def manifest_text(folder: Path) -> list[str]:
    path = folder / "job.yaml"
    path.write_text(f"model: {HOSTILE}: x\n", encoding="utf-8")
    return [str(path)]


def table(folder: Path) -> list[str]:
    rows = [{f"a{HOSTILE}": HOSTILE, "n": HOSTILE}]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    params = {"image": "{{ image }}", "prompt": "{{ n }}", "num_inference_steps": "{{ n }}"}
    return [str(job(folder, inputs=[{"images": "photos"}, {"table": "rows.jsonl"}], params=params))]


def setting(folder: Path) -> list[str]:
    return [str(job(folder)), "--set", f"{HOSTILE}={HOSTILE}"]


def values(folder: Path) -> list[str]:
    return [str(job(folder)), "--set", f"limits.rpm={HOSTILE}", "--set", f"matrix.x=[{json.dumps(HOSTILE)}]"]


def option(folder: Path) -> list[str]:
    return [str(job(folder)), f"--{HOSTILE}"]


def nowhere(folder: Path) -> list[str]:
    return [str(folder / IN_A_NAME / "job.yaml")]


HOSTILES: dict[str, Callable[[Path], list[str]]] = {
    "names of pictures": picture_name,
    "the name of a folder": folder_name,
    "the name of the manifest": manifest_name,
    "the text of a manifest": manifest_text,
    "cells and columns": table,
    "--set, a key": setting,
    "--set, a value": values,
    "an option": option,
    "a path": nowhere,
    "a key": in_a_manifest(**{HOSTILE: 1}),
    "a key inside": in_a_manifest(limits={HOSTILE: 1}),
    "a parameter": in_a_manifest(params={"image": "{{ image }}", "prompt": "x", HOSTILE: 1}),
    "a value": in_a_manifest(params={"image": "{{ image }}", "prompt": HOSTILE, "strength": HOSTILE}),
    "a prompt": in_a_manifest(params={"image": "{{ image }}", "prompt": HOSTILE}),
    "a model": in_a_manifest(model=HOSTILE),
    "the job's name": in_a_manifest(name=HOSTILE),
    "a variable": in_a_manifest(params={"image": "{{ image }}", "prompt": f"{{{{ x }}}}{HOSTILE}{{{{ y"}),
    "an axis": in_a_manifest(matrix={HOSTILE: [HOSTILE]}),
    "the output": in_a_manifest(output={"dir": IN_A_NAME, "name": HOSTILE}),
    "a source": in_a_manifest(inputs=[{"images": f"photos/{HOSTILE}*"}]),
}


@pytest.mark.parametrize("command", [["validate"], ["plan"], ["plan", "--json"], ["run", "--sandbox", "-n"]])
@pytest.mark.parametrize("case", HOSTILES)
def test_what_is_read_steers_no_terminal_and_forges_no_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), "teal").save(tmp_path / "photos" / "one.png")
    code = ended([command[0], *HOSTILES[case](tmp_path), *command[1:]])
    said = capsys.readouterr()
    assert code in {0, 2}, said.err
    assert problems(said.err) == []
    assert problems(said.out) == []
    assert said.err or said.out


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        ["models", HOSTILE],
        ["status", IN_A_NAME],
        ["status", f"s3://{HOSTILE}"],
        ["report", IN_A_NAME],
        ["verify", IN_A_NAME],
        ["retry", IN_A_NAME, "--only", HOSTILE],
        ["export", IN_A_NAME, "--to", HOSTILE, "-o", "x"],
        ["export", IN_A_NAME, "--to", "parquet", "-o", "x", "--split", HOSTILE],
        ["merge", IN_A_NAME, "-o", f"{IN_A_NAME}-whole"],
        ["audit", IN_A_NAME],
        ["watch", IN_A_NAME],
        ["watch", IN_A_NAME, "--port", HOSTILE],
        ["sandbox", "--faults", IN_A_NAME],
        ["sandbox", "--service", HOSTILE],
        ["run", "job.yaml", "--base-url", HOSTILE],
        ["run", "job.yaml", "--shard", HOSTILE],
        ["run", "job.yaml", "-o", f"s3://{HOSTILE}"],
    ],
)
def test_what_is_typed_steers_no_terminal_and_forges_no_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    job(tmp_path, inputs=[{"rows": [{"n": 1}]}], model="mock-inference", params={"n": "{{ n }}"})
    code = ended(arguments)
    said = capsys.readouterr()
    assert code in {2, 3, 5}, said.err
    assert problems(said.err) == []
    assert problems(said.out) == []


def test_an_error_of_ours_within_is_told_without_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(HOSTILE)

    monkeypatch.setattr("batcher.cli.root.main", broken)
    assert ended(["status", "x"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert [line for line in problems(said) if "all is well" not in line] == []


@pytest.mark.process
def test_what_the_provider_says_steers_no_terminal(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.environment["SEGMIND_API_KEY"] = KEY
    params = {"input_image": "{{ image }}", "prompt": f"{HOSTILE}{{{{ n }}}}", "left": 16}
    program.manifest(2, params=params, output={"dir": IN_A_NAME, "name": "{{ n }}"})
    faults = [{"fault": "failed", "error": HOSTILE}]
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump(faults), encoding="utf-8")
    with program.started("sandbox", "--faults", "faults.yaml", "--service", "100ms") as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        shown, code = program.at_a_terminal(
            "run", "job.yaml", "--base-url", address, question="go on?", answer="y"
        )
        assert code == 3, shown
        assert "\x1b]0" not in shown
        assert not set(shown) & {"\x07", "\x9b", "\x90", "\u202e", "\u2066", "\x85", "\u2028"}
        for command in (
            ["status"],
            ["status", "--json"],
            ["verify"],
            ["report"],
            ["audit", "--base-url", address],
        ):
            done = program(command[0], "job.yaml", *command[1:])
            assert problems(done.stdout + done.stderr) == [], command
        lines = program("run", "job.yaml", "--base-url", address, "--retry-failed", "-y")
        assert problems(lines.stdout + lines.stderr) == []
    for left in ("report.json", "errors.jsonl", ".batcher/log.jsonl"):
        assert problems((tmp_path / IN_A_NAME / left).read_text("utf-8")) == [], left


# --- how wide


@pytest.mark.process
def test_sentences_are_folded_at_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("one", "two", "three", "four"):
        (tmp_path / "photos" / f"{name}.png").write_bytes(b"no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "one.png")
    job(tmp_path)
    shown, code = program.at_a_terminal("plan", "job.yaml")
    lines = shown.replace("\r", "").splitlines()
    assert code == 0
    assert any(line.startswith("warning: 3 rows are left out") for line in lines)
    before = lines[: next(number for number, line in enumerate(lines) if "sd1.5-outpaint" in line)]
    assert all(len(line) <= 80 or " " not in line for line in before), shown
    at_once = program("plan", "job.yaml").stderr.splitlines()
    assert len(at_once) == 3
    assert max(map(len, at_once)) > 80


@pytest.mark.process
def test_an_error_is_folded_at_a_terminal_and_its_excerpt_is_not(tmp_path: Path) -> None:
    program = Program(tmp_path)
    excerpt = f"modle: x  # {'a remark ' * 12}".strip()
    (tmp_path / "job.yaml").write_text(f"model: sd1.5-outpaint\n{excerpt}\n")
    shown, code = program.at_a_terminal("validate", "job.yaml")
    lines = shown.replace("\r", "").splitlines()
    assert code == 2
    assert f"    {excerpt}" in lines
    assert "    ^" in lines
    assert all(len(line) <= 80 for line in lines if not line.startswith(" ")), shown
