"""A manifest and its output folder name the same job."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batcher import errors
from batcher.engine import load
from batcher.job.output import resolve_output
from batcher.storage import layout

BODY = "model: mock-inference\nunchecked: [sleep]\nparams: {sleep: 1}\n"


@pytest.mark.parametrize(
    "more",
    [
        "",
        "name: streets\n",
        "output: {dir: ../out/x}\n",
        "output: {dir: ./a/./b/../c}\n",
        "output: {dir: /tmp/somewhere/else}\n",
        "output: {dir: ../../../../../../../../../../../../up}\n",
        "name: streets\noutput: {name: x}\n",
        "output: {}\n",
        "name: '2024'\n",
        "name: größe\n",
        "name: yes\n",
        "name: 1_000\n",
        "name: 2020-01-01\n",
        "name: 2020-13-45\n",
        "name: 12:30:45\n",
        "output: {dir: ~/x}\n",
        "output: {dir: ~nobody-of-this-name/x}\n",
        "output: &o {dir: x}\nlimits: {rpm: 60}\n",
    ],
)
def test_a_manifests_folder_is_found_without_reading_more_than_it_must(tmp_path: Path, more: str) -> None:
    job = tmp_path / "jobs" / "one.yaml"
    job.parent.mkdir()
    job.write_text(BODY + more)
    told = load(job).output.dir
    assert resolve_output(job) == told
    assert resolve_output(job, sandbox=True) == told.with_name(f"{told.name}-sandbox")
    assert resolve_output(job, output=told) == told


def test_an_output_folder_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out" / ".batcher").mkdir(parents=True)
    assert resolve_output(tmp_path / "out") == tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert resolve_output(Path("out")) == tmp_path / "out"
    assert layout.ledger_path(tmp_path) == tmp_path / ".batcher" / "ledger.sqlite"
    assert layout.lock_path(tmp_path) == tmp_path / ".batcher" / "lock"


def test_what_is_said_with_o_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_output(Path("no.yaml"), output=Path("here/../there")) == tmp_path / "there"
    assert resolve_output(Path("no.yaml"), output=Path("x"), sandbox=True) == tmp_path / "x-sandbox"


def test_what_is_no_job_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="no such manifest"):
        resolve_output(tmp_path / "none.yaml")
    with pytest.raises(errors.UsageError, match="not an output folder"):
        resolve_output(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"[1, 2]", b"", b"a: [", b"\xff\xfe\x00", b"a: !!int ''", b"a: !!timestamp x",
        b"a: !!float x", b"? [1]\n: 2", b"[" * 20_000, b"!!python/object:os.system {}",
        b"--- 1\n--- 2", b"a: !!int _", b"a: !!bool maybe",
    ],
)  # fmt: skip
def test_what_cannot_be_read_as_a_manifest_is_told(tmp_path: Path, text: bytes) -> None:
    job = tmp_path / "job.yaml"
    job.write_bytes(text)
    with pytest.raises(errors.UsageError, match="batcher validate"):
        resolve_output(job)


@given(st.text("abc:[]{}!&*#'\"-?|>%@`\n ,0123.~=<T_", max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_says_a_folder_or_a_sentence_comes_of_it(tmp_path: Path, text: str) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(text)
    try:
        found = resolve_output(job)
    except errors.UsageError:
        return
    assert found.is_absolute()
