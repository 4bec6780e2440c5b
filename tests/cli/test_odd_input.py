"""Whatever a manifest, a table or a path holds: a sentence and an exit code, and never a traceback."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from batcher.cli import ended
from tests.support.program import KEY

NOISE = random.Random(7).randbytes(3000)
HUGE = "9" * 5000
"""Digits of which Python makes no number."""
LONG = "a" * 5000

MANIFESTS: dict[str, bytes | str] = {
    "empty": b"",
    "noise": NOISE,
    "a NUL": b"model: x\0y\n",
    "Latin-1": 'model: "größe"\n'.encode("latin-1"),
    "UTF-16": "model: x\n".encode("utf-16"),
    "ten megabytes in a line": f"model: {'a' * 10_000_000}\n",
    "deep mappings": f"params: {'{a: ' * 5000}1{'}' * 5000}",
    "a whole number of 5,000 digits": f"model: x\nparams: {{a: {HUGE}}}\n",
    "a hexadecimal number of 6,000 digits": f"model: x\nparams: {{a: 0x{'f' * 6000}}}\n",
    "a seed of 5,000 digits": f'model: x\nseed: {HUGE}\nparams: {{n: "{{{{ seed }}}}"}}\n',
    "repeat of 21 digits": "model: x\nrepeat: 100000000000000000000\nparams: {n: 1}\n",
    "a number that overflows": "model: x\nparams: {a: 1e999}\n",
    "a price that no ledger holds": "model: x\nprice: 1e13\nparams: {n: 1}\n",
    "a cost that no ledger holds": "model: x\nlimits: {max_cost: 1e300}\nparams: {n: 1}\n",
    "a duration beyond the ages": "model: x\nresult_ttl: 99999999999999999999999d\nparams: {n: 1}\n",
    "a lone surrogate": 'model: x\nparams: {n: "\\ud800"}\n',
    "a lone surrogate in a key": 'model: x\nparams: {"\\ud800": 1}\n',
    "a lone surrogate in the name": 'model: x\nname: "\\udcff"\nparams: {n: 1}\n',
    "NUL in texts": 'model: "x\\0"\nparams: {"\\0": "\\0"}\noutput: {dir: "a\\0b"}\n',
    "NUL in a folder": 'model: x\ninputs: {images: "a\\0b/*.png"}\nparams: {n: 1}\n',
    "NUL in a dataset": 'model: x\ninputs: {dataset: "a\\0b"}\nparams: {n: 1}\n',
    "a name of 5,000 letters": f"model: x\nname: {LONG}\nparams: {{n: 1}}\n",
    "a folder of 5,000 letters": f"model: x\nparams: {{n: 1}}\noutput: {{dir: {LONG}}}\n",
    "a path of 3,000 folders": f"model: x\nparams: {{n: 1}}\noutput: {{dir: {'a/' * 3000}}}\n",
    "a picture of 5,000 letters": f"model: sd1.5-outpaint\nparams: {{image: {LONG}.png, prompt: x}}\n",
    "a glob of 5,000 letters": f'model: x\ninputs: {{images: "{LONG}/*.png"}}\nparams: {{n: 1}}\n',
    "a table of 5,000 letters": f"model: x\ninputs: {{table: {LONG}.csv}}\nparams: {{n: 1}}\n",
    "an alias of itself": "model: x\nparams: &a {x: *a}\n",
    "a merge of itself": "model: x\nparams: &a {<<: *a}\n",
    "a merge of a number": "<<: 1\nmodel: x\n",
    "tags": "model: !!binary x\nparams: {n: !!set {a}}\n",
    "keys that are none": "model: x\nparams: {[a]: 1, {b: c}: 2, null: 3, 1: 4}\n",
    "two documents": "model: x\n---\nmodel: y\n",
    "a later YAML": "%YAML 9.9\n---\nmodel: x\n",
    **{
        f"inputs from {address}": f'model: x\ninputs: {{{kind}: "{address}"}}\nparams: {{n: 1}}\n'
        for address in ("foo://x", "ftp://127.0.0.1:9/a", "://", "memory://none")
        for kind in ("images", "table", "dataset")
    },
    **{
        f"output to {address}": f'model: x\nparams: {{n: 1}}\noutput: {{dir: "{address}"}}\n'
        for address in ("foo://x", "ftp://x/y", "s3://")
    },
    "braces for a million patterns": f'model: x\ninputs: {{images: "{"{a,b}" * 20}.png"}}\n',
    "a picture by FTP": 'model: sd1.5-outpaint\nparams: {image: "ftp://x/y.png", prompt: x}\n',
}

TABLES: dict[str, tuple[str, bytes]] = {
    "CSV, empty": ("csv", b""),
    "CSV, a NUL": ("csv", b"\0"),
    "CSV, noise": ("csv", NOISE),
    "CSV, UTF-16": ("csv", b"\xff\xfea\0"),
    "CSV, a column twice": ("csv", b"a,a\n1,2\n"),
    "CSV, a million columns without names": ("csv", b"," * 1_000_000 + b"\n"),
    "CSV, a quote that never ends": ("csv", b'"' * 1_000_001),
    "CSV, lines only": ("csv", b"\n\n\n"),
    "JSON Lines, noise": ("jsonl", NOISE),
    "JSON Lines, deep": ("jsonl", b"[" * 100_000),
    "JSON Lines, deep objects": ("jsonl", b'{"a":' * 100_000),
    "JSON Lines, infinity": ("jsonl", b'{"a": 1e999}\n'),
    "JSON Lines, NaN": ("jsonl", b'{"a": NaN}\n'),
    "JSON Lines, 5,000 digits": ("jsonl", b'{"a": ' + HUGE.encode() + b"}\n"),
    "JSON Lines, a lone surrogate": ("jsonl", b'{"a": "\\ud800"}\n'),
    "JSON Lines, a list": ("jsonl", b"[1]\n"),
    "JSON, an object": ("json", b"{}"),
    "JSON, deep": ("json", b"[" * 100_000),
    "JSON, noise": ("json", NOISE),
    "Parquet, empty": ("parquet", b""),
    "Parquet, marks only": ("parquet", b"PAR1" + NOISE + b"PAR1"),
    "gzip, empty": ("csv.gz", b""),
    "gzip, noise": ("csv.gz", NOISE),
    "gzip, cut": ("jsonl.gz", b"\x1f\x8b\x08\0\0\0\0\0" + NOISE),
    "a sheet": ("xlsx", b"PK"),
}

PATHS = ("", ".", "/dev/null", "/dev/full", LONG, "a/" * 3000, "no\udcff", "loop", "/etc/passwd/x")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that ends with 2, as it must."""
    code = ended(list(arguments))
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert code == 2, said
    assert said.startswith(("batcher: ", "warning: ", "Usage: "))
    assert len(said) < 20_000
    return said


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_may_hold_anything(folder: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    content = MANIFESTS[case]
    (folder / "job.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(capsys, "validate", "job.yaml")
    refused(capsys, "run", "job.yaml", "--sandbox")


@pytest.mark.parametrize("case", TABLES)
def test_a_table_may_hold_anything(folder: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    suffix, content = TABLES[case]
    (folder / f"rows.{suffix}").write_bytes(content)
    (folder / "job.yaml").write_text(
        f'model: x\ninputs: {{table: rows.{suffix}}}\nparams: {{n: "{{{{ a }}}}"}}\n'
    )
    refused(capsys, "plan", "job.yaml", "--strict")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "command",
    [
        ["run", "PATH", "--sandbox"],
        ["plan", "PATH"],
        ["status", "PATH"],
        ["report", "PATH"],
        ["verify", "PATH"],
        ["retry", "PATH"],
        ["export", "PATH", "--to", "parquet", "-o", "out"],
        ["merge", "PATH", "-o", "whole"],
        ["audit", "PATH"],
        ["sandbox", "--faults", "PATH", "--port", "1"],
    ],
    ids=lambda command: command[0],
)
def test_a_path_may_be_anything(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str, command: list[str]
) -> None:
    os.symlink("loop", folder / "loop")
    if command[0] == "sandbox" and path == "/dev/null":
        pytest.skip("a script without faults is none that is wrong")
    refused(capsys, *(path if word == "PATH" else word for word in command))


def test_rows_with_paths_that_no_disk_has_are_left_out_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["a\\u0000b.png", f"{'a/' * 3000}x.png", f"{LONG}.png", "ftp://x/y.png", "https://x/y.png"]
    (folder / "rows.jsonl").write_text("".join(f'{{"image": "{path}"}}\n' for path in paths))
    params = '{image: "{{ image }}", prompt: x}'
    (folder / "job.yaml").write_text(
        f"model: sd1.5-outpaint\ninputs: {{table: rows.jsonl}}\nparams: {params}\n"
    )
    assert ended(["plan", "job.yaml"]) == 0
    said = capsys.readouterr()
    assert "1: 1 new" in said.out
    assert "4 rows are left out" in said.err
