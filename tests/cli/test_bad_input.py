"""What bad input gets: a sentence per error with its place, no call, nothing written; names stay inside."""

from __future__ import annotations

import json
import os
import re
import socket
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from PIL import Image

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.cli import ended
from batcher.engine import RunOptions, load, run
from batcher.errors import ManifestError
from batcher.progress import Listener, Started, silent
from batcher.results.report import Report
from batcher.sandbox import Sandbox
from tests.support.sandboxes import MakeSandbox

KEY = "SG_0123456789abcdef"
SOUND = """\
name: job
model: sd1.5-outpaint
inputs:
  - images: photos/*.png
  - table: words.csv
params:
  image: "{{ image }}"
  prompt: "{{ place }}"
output:
  dir: out
  name: "{{ stem }}-{{ place }}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: two pictures, a table of words, and a sound manifest over them."""
    here = tmp_path / "work"
    (here / "photos").mkdir(parents=True)
    for name, colour in (("cat", "teal"), ("dog", "maroon")):
        Image.new("RGB", (8, 8), colour).save(here / "photos" / f"{name}.png")
    (here / "words.csv").write_text("place,strength\nitaly,1\njapan,0.5\n")
    (here / "job.yaml").write_text(SOUND)
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def quiet_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The API as the environment names it; who calls it is found in its backlog."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        monkeypatch.setenv("SEGMIND_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("SEGMIND_API_KEY", KEY)
        yield listening


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and folder there is, with what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def laid(sound: str, changes: str) -> str:
    """The manifest with the top-level keys of `changes` in place of its own."""
    sections = re.split(r"(?m)^(?=[^\s#-])", sound)
    changed = re.split(r"(?m)^(?=[^\s#-])", textwrap.dedent(changes))
    keys = {section.partition(":")[0] for section in changed if section}
    return "".join(section for section in sections if section.partition(":")[0] not in keys) + "".join(
        changed
    )


WRONG: dict[str, tuple[str, list[str]]] = {
    "syntax, braces that are no template": (
        "params: {prompt: a, image: {{ image }}}",
        [
            r"job\.yaml:9:\d+: params\.image: a mapping stands where a key .* goes in quotes",
            r"job\.yaml:9:\d+: params\.image: .* is a mapping; it takes text",
        ],
    ),
    "syntax, a bare template": (
        "params:\n  prompt: {{ place }} in winter\n  image: a.png",
        [r'job\.yaml:10:\d+: is not YAML: .* A value with \{\{ \}\} goes in quotes: "\{\{ image \}\}"'],
    ),
    "syntax, a tab": (
        "limits:\n\trpm: 7",
        [r"job\.yaml:13:1: is not YAML: .*\. The line is indented with a tab: use spaces"],
    ),
    "a URL without a host": (
        'params: {image: "https://", prompt: "{{ place }} {{ stem }}"}',
        [r"job\.yaml:9:17: params\.image: 'https://' is no URL of a picture: it names no host"],
    ),
    "syntax, not closed": ("params: [", [r"job\.yaml:\d+:\d+: is not YAML: "]),
    "unknown key": ("parms: 1", [r"job\.yaml:12:1: parms: unknown key; did you mean `params`\?"]),
    "unknown key inside": (
        "limits: {rmp: 60}",
        [r"job\.yaml:12:10: limits\.rmp: unknown key; did you mean `rpm`\?"],
    ),
    "wrong type": (
        "repeat: two",
        [r"job\.yaml:12:9: repeat: must be a whole number, not the text 'two'"],
    ),
    "out of range": (
        "limits: {in_flight: 0}",
        [r"job\.yaml:12:21: limits\.in_flight: 0 is out of range; it must be at least 1"],
    ),
    "unknown word": (
        "uploads: storge",
        [r"job\.yaml:12:10: uploads: 'storge' is not one of storage, inline; did you mean storage\?"],
    ),
    "bad duration": (
        "result_ttl: 1 hour",
        [r"job\.yaml:12:13: result_ttl: '1 hour' is not a duration such as 500ms, 2s, 5m, 1h or 7d"],
    ),
    "duration without a unit": (
        "poll: {every: 2}",
        [r"job\.yaml:12:15: poll\.every: 2 is not a duration .*; write the unit, as 2s"],
    ),
    "no model": ("model:", [r"job\.yaml:11:\d+: model: must be text, not nothing"]),
    "parameter out of the model's range": (
        'params: {image: "{{ image }}", prompt: a, strength: 1.5}',
        [r"job\.yaml:9:53: params\.strength: 1\.5 is out of range; it takes 0\.1 to 1$"],
    ),
    "parameter not allowed": (
        'params: {image: "{{ image }}", prompt: a, img_width: 512}',
        [r"job\.yaml:9:54: params\.img_width: 512 is not one of its values: 768, 1024"],
    ),
    "unknown parameter": (
        'params: {image: "{{ image }}", promt: a, prompt: b}',
        [r"job\.yaml:9:32: params\.promt: is not a parameter of sd1\.5-outpaint; did you mean prompt\?"],
    ),
    "missing parameter": (
        'params: {prompt: "{{ stem }}"}',
        [r"job\.yaml:9:\d+: params\.image: is missing"],
    ),
    "unknown variable": (
        'params: {image: "{{ image }}", prompt: "{{ plaice }}"}',
        [r"job\.yaml:9:40: params\.prompt: unknown variable `plaice`; did you mean `place`\?"],
    ),
    "unknown variable in the name": (
        'output: {dir: out, name: "{{ stm }}"}',
        [r"job\.yaml:9:26: output\.name: unknown variable `stm`; did you mean `stem`\?"],
    ),
    "seed that is not there": (
        'params: {image: "{{ image }}", prompt: a, seed: "{{ seed }}"}',
        [r"job\.yaml:9:49: params\.seed: `\{\{ seed \}\}` needs a top-level `seed:`"],
    ),
    "missing file": (
        "inputs: [images: photos/cow.png, table: words.csv]",
        [r"job\.yaml:9:18: inputs\.0\.images\.0: there is no file or folder .*/photos/cow\.png"],
    ),
    "missing inbox": (
        "inputs: [{images: inbox/, empty: allow}, {table: words.csv}]",
        [r"job\.yaml:9:19: inputs\.0\.images\.0: there is no file or folder .*/inbox"],
    ),
    "missing folder of a glob": (
        'inputs: [{images: "inbox/*.png", empty: allow}, {table: words.csv}]',
        [r"job\.yaml:9:19: inputs\.0\.images\.0: there is no folder .*/inbox"],
    ),
    "missing table": (
        "inputs: [images: photos/*.png, table: wrods.csv]",
        [r"job\.yaml:9:39: inputs\.1\.table: there is no file .*/wrods\.csv"],
    ),
    "missing file in a parameter": (
        "params: {image: photos/cow.png, prompt: a}",
        [r"job\.yaml:9:17: params\.image: .*photos/cow\.png"],
    ),
    "missing companion": (
        'inputs: [{images: photos/*.png, companions: {mask: "masks/{{ stem }}.png"}}, table: words.csv]',
        [
            r"job\.yaml:9:52: inputs\.0\.companions\.mask: .*cat\.png has no mask: .*/masks/cat",
            r"job\.yaml:9:52: inputs\.0\.companions\.mask: .*dog\.png has no mask: .*/masks/dog",
        ],
    ),
    "no input matched": (
        'inputs: [images: "photos/*.tiff", table: words.csv]',
        [r"job\.yaml:9:18: inputs\.0\.images: no file matches; `empty: allow` lets that pass"],
    ),
    "two tasks with one name": (
        'output: {dir: out, name: "{{ stem }}"}',
        [
            r"job\.yaml:9:26: output\.name: 2 tasks would be named 'cat', for example .*; make the name",
            r"job\.yaml:9:26: output\.name: 2 tasks would be named 'dog', for example .*; make the name",
        ],
    ),
    "cell of a table": (
        'params: {image: "{{ image }}", prompt: "{{ place }}", num_inference_steps: "{{ strength }}"}',
        [
            r"words\.csv:2:7: params\.num_inference_steps: row 1, column `strength`: 1 is out of range",
            r"words\.csv:3:7: params\.num_inference_steps: row 2, column `strength`: '0\.5' is .*whole",
        ],
    ),
    "exclude by an unknown axis": (
        "matrix: {season: [winter], exclude: [{saison: winter}]}",
        [r"job\.yaml:12:\d+: matrix\.exclude.*: excludes by `saison`, .*did you mean `season`\?"],
    ),
    "several at once": (
        """\
        repeat: 0
        limits: {rpm: fast, max_duration: 2 hours}
        colour: red
        params: {image: "{{ imag }}", prompt: "{{ place }}", scale: 99}
        inputs: [images: "photos/*.tiff", table: words.csv]
        """,
        [
            r"job\.yaml:\d+:\d+: repeat: 0 is out of range; it must be at least 1",
            r"job\.yaml:\d+:\d+: limits\.rpm: .*'fast'",
            r"job\.yaml:\d+:\d+: limits\.max_duration: '2 hours' is not a duration",
            r"job\.yaml:\d+:\d+: colour: unknown key; known are ",
            r"job\.yaml:\d+:\d+: params\.scale: 99 is out of range; it takes 0\.1 to 10",
            r"job\.yaml:\d+:\d+: inputs\.0\.images: no file matches",
        ],
    ),
}


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_manifest_gets_a_sentence_per_error_and_leaves_nothing(
    folder: Path,
    quiet_server: socket.socket,
    capsys: pytest.CaptureFixture[str],
    case: str,
    command: str,
) -> None:
    changes, sentences = WRONG[case]
    (folder / "job.yaml").write_text(laid(SOUND, changes))
    before = tree(folder)
    assert ended([command, "job.yaml"]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.out == ""
    assert tree(folder) == before
    with pytest.raises(BlockingIOError):
        quiet_server.accept()
    # Below a sentence stands the line of the manifest with a caret: both are indented.
    told = [line for line in said.err.removeprefix("batcher: ").splitlines() if not line.startswith("    ")]
    for sentence in sentences:
        assert any(re.search(sentence, line) for line in told), told
    assert len(told) == len(sentences), told


def test_the_sound_manifest_that_the_wrong_ones_come_from_is_sound(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["validate", "job.yaml"]) == 0
    assert capsys.readouterr().out == "job.yaml is valid: 4 tasks\n"
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "job.yaml: is empty; a manifest needs at least `model`"),
        (b"\xff\xfe\x00", "job.yaml:1: is not UTF-8 text; save it as UTF-8"),
        (b"- a\n- b\n", "job.yaml: must be `key: value` lines"),
        (b"model: !!python/object/apply:os.system ['touch owned']\n", "job.yaml:1:8: model: "),
        (b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
            b"%c: &%c [%s]\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 107)),
         "unfold to more than"),
        (b"[" * 100_000, "nested too deeply"),
        (b"model: sd1.5-outpaint\nparams: {prompt: \"{{ ''.__class__.__mro__ }}\"}\n", "params.prompt: "),
    ],
)  # fmt: skip
def test_a_file_that_is_no_manifest_or_an_attack_is_told_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, sentence: str
) -> None:
    (folder / "job.yaml").write_bytes(content)
    before = tree(folder)
    assert ended(["run", "job.yaml", "--sandbox"]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert "Traceback" not in err
    assert tree(folder) == before


def test_a_wrong_model_file_beside_the_manifest_leaves_nothing_either(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.yaml").write_text("slug: mine\nparameters: {prompt: {type: text}}\n")
    before = tree(folder)
    for command in ("validate", "plan", "run"):
        flags = ["--sandbox"] if command == "run" else []
        assert ended([command, "job.yaml", "--set", "model=mine", *flags]) == 2
        assert "mine.yaml:2:" in capsys.readouterr().err
    assert tree(folder) == before


def test_a_plan_that_fails_later_leaves_what_earlier_runs_have_made(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["run", "job.yaml", "--sandbox", "-q"]) == 0
    pictures = {name: data for name, data in tree(folder).items() if "/images/" in name}
    assert len(pictures) == 4
    assert ended(["run", "job.yaml", "--sandbox", "--set", "inputs.0.images=gone"]) == 2
    assert {name: data for name, data in tree(folder).items() if "/images/" in name} == pictures
    capsys.readouterr()
    assert ended(["status", "out-sandbox", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["done"] == 4


# --- data


def job(folder: Path, rows: list[dict[str, Any]], name: str, **params: Any) -> Path:
    """A manifest over these rows, beside which `out` and nothing else may come to be."""
    data = {
        "model": "sd1.5-outpaint",
        "inputs": {"rows": rows},
        "params": {"image": "photos/cat.png", "prompt": "{{ n }}", **params},
        "output": {"dir": "out", "name": name},
        "limits": {"rpm": "none"},
    }
    path = folder / "rows.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True))
    return path


async def on(
    server: Sandbox,
    manifest: Path,
    now: Callable[[], float],
    listener: Listener = silent,
    **options: Any,
) -> Report:
    account = Account(Endpoints(server.url, server.url, server.url), KEY)
    return await run(
        load(manifest), account=account, listener=listener, options=RunOptions(**options), now=now
    )


@pytest.mark.parametrize("uploads", ["storage", "inline"])
async def test_a_file_that_is_no_image_is_left_out_by_name_and_the_others_go_on(
    folder: Path, now: Callable[[], float], sandbox: MakeSandbox, uploads: str
) -> None:
    whole = (folder / "photos" / "cat.png").read_bytes()
    wrong = {"empty": b"", "notes": b"not a picture", "page": b"<html>no picture</html>"}
    for name, content in {"cow": whole, **wrong}.items():
        (folder / "photos" / f"{name}.png").write_bytes(content)
    manifest = folder / "job.yaml"
    manifest.write_text(laid(SOUND, f"uploads: {uploads}\nlimits: {{rpm: none}}\n"))
    async with sandbox(service=2) as server:
        report = await on(server, manifest, now)
        assert len(server.jobs) == server.billed == 6
    assert report.exit_code == 3
    assert {state: n for state, n in report.counts.items() if n} == {"done": 6}
    lines = [json.loads(line) for line in (folder / "out" / "errors.jsonl").read_text().splitlines()]
    assert {line["state"] for line in lines} == {"left_out"}
    for name in wrong:
        path = folder / "photos" / f"{name}.png"
        assert any(f"{path}: the file is " in line["reason"] for line in lines), lines
    assert len(lines) == 3
    (folder / "photos" / "page.png").unlink()
    with pytest.raises(ManifestError) as caught:
        await on(server, manifest, now, strict=True)
    assert sorted({problem.message.rpartition("/")[2] for problem in caught.value.problems}) == [
        "empty.png: the file is empty",
        "notes.png: the file is not a picture",
    ]


async def test_a_picture_that_is_broken_after_it_was_planned_lets_its_own_tasks_wait(
    folder: Path, now: Callable[[], float], sandbox: MakeSandbox
) -> None:
    manifest = folder / "job.yaml"
    manifest.write_text(laid(SOUND, "limits: {rpm: none}\n"))

    def broken(event: object) -> None:
        if isinstance(event, Started):
            (folder / "photos" / "cat.png").write_bytes(b"<html>no picture</html>")

    async with sandbox(service=2) as server:
        report = await on(server, manifest, now, listener=broken)
    assert {state: n for state, n in report.counts.items() if n} == {"done": 2, "planned": 2}
    assert (report.exit_code, report.failures) == (3, {})


# --- rows that are left out

LABELLED = """\
name: job
model: sd1.5-outpaint
inputs: {table: rows.csv}
params:
  image: "{{ image }}"
  prompt: "{{ place }}"
  num_inference_steps: "{{ steps }}"
output: {dir: out, name: "{{ place }}"}
"""
ROWS = {
    "italy": "photos/cat.png,italy,30,cat.txt",
    "a row too short": "photos/cat.png,peru",
    "no such picture": "photos/cow.png,japan,30,cat.txt",
    "a broken picture": "photos/page.png,kenya,30,cat.txt",
    "labels that are none": "photos/cat.png,qatar,30,bad.txt",
    "no such labels": "photos/cat.png,samoa,30,none.txt",
    "spain": "photos/dog.png,spain,30,cat.txt",
}


@pytest.fixture
def labelled(folder: Path) -> Path:
    page = folder / "photos" / "page.png"
    page.write_text("<html>")
    os.utime(page, (1_700_000_000, 1_700_000_000))  # a fresh one might still be growing
    (folder / "photos" / "cat.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "photos" / "bad.txt").write_text("0 0.5 0.5 0.2\n")
    (folder / "rows.csv").write_text("\n".join(["image,place,steps,labels", *ROWS.values()]))
    (folder / "job.yaml").write_text(LABELLED)
    return folder


def test_rows_that_cannot_be_used_are_told_and_the_rest_goes_on(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["plan", "job.yaml", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["total"] == 2
    assert planned["warnings"][0].startswith("5 rows are left out (first: rows.csv:3: ")
    assert ended(["validate", "job.yaml"]) == 0
    told = capsys.readouterr().err
    assert all(f"rows.csv:{line}: " in told for line in range(3, 8)), told
    for _ in range(2):
        assert ended(["run", "job.yaml", "--sandbox", "-q"]) == 3
        said = capsys.readouterr().err
        assert "finished, some rows are left out, 2 of 2 tasks done" in said
        assert "5 rows that cannot be used as they are" in said
        assert "out-sandbox/errors.jsonl" in said
        lines = [
            json.loads(line) for line in (labelled / "out-sandbox/errors.jsonl").read_text().splitlines()
        ]
        found = [(line["state"], line["file"], line["line"]) for line in lines]
        assert sorted(found) == [("left_out", "rows.csv", line) for line in range(3, 8)]
        reasons = {line["line"]: line["reason"] for line in lines}
        for line, why in (
            (3, "row 2 has 2 cells, the header 4"),
            (4, "there is no file 'photos/cow.png'"),
            (5, "page.png: the file is a page, not a picture"),
            (6, "photos/bad.txt: line 1: 4 values; a box is"),
            (7, "photos/none.txt: No such file"),
        ):
            assert why in reasons[line]
    assert sorted(path.stem for path in (labelled / "out-sandbox/images").iterdir()) == ["italy", "spain"]
    assert ended(["status", "out-sandbox"]) == 0
    assert "5 rows; errors.jsonl names them" in capsys.readouterr().out
    broken = ["image,place,steps,labels", ROWS["italy"], ROWS["spain"], "photos/cow.png,cow,20,"]
    (labelled / "rows.csv").write_text("\n".join(broken))
    assert ended(["run", "job.yaml", "--sandbox", "-q"]) == 3
    assert "  left out 1 row that cannot be used as it is\n" in capsys.readouterr().err
    assert ended(["status", "out-sandbox"]) == 0
    assert "1 row; errors.jsonl names it" in capsys.readouterr().out
    # Mended, they are planned; what was left out is forgotten.
    (labelled / "rows.csv").write_text("\n".join(["image,place,steps,labels", ROWS["italy"], ROWS["spain"]]))
    assert ended(["run", "job.yaml", "--sandbox", "-q"]) == 0
    assert (labelled / "out-sandbox/errors.jsonl").read_text() == ""


MASKED = """
model: seg-beyond
inputs:
  images: photos/*.png
  companions: {mask: "masks/{{ stem }}.png"}
params: {input_image: "{{ image }}", prompt: x, left: 8}
output: {dir: out}
"""


def test_a_mask_that_is_not_its_pictures_is_told_before_anything_is_paid_and_the_rest_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "masks").mkdir()
    masks = {"cat": (20, 15), "dog": (15, 20), "eel": (40, 30), "fox": None}
    for name, size in masks.items():
        Image.new("RGB", (40, 30)).save(folder / "photos" / f"{name}.png")
        mask = folder / "masks" / f"{name}.png"
        if size is None:
            mask.write_text("<html>")
        else:
            Image.new("L", size, 9).save(mask)
    (folder / "job.yaml").write_text(MASKED)
    assert ended(["run", "job.yaml", "--sandbox", "-q"]) == 3
    lines = [json.loads(line) for line in (folder / "out-sandbox/errors.jsonl").read_text().splitlines()]
    assert [(Path(line["file"]).stem, line["reason"]) for line in lines] == [
        ("dog", f"the mask {folder}/masks/dog.png (15 x 20) has not the shape of its picture (40 x 30)"),
        ("fox", f"the mask {folder}/masks/fox.png: the file is a page, not a picture"),
    ]
    assert sorted(path.stem for path in (folder / "out-sandbox/images").iterdir()) == ["cat", "eel"]


def test_a_box_that_lies_outside_its_picture_is_told_and_never_dropped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["image,boxes", 'photos/cat.png,"[[1, 1, 4, 4]]"', 'photos/dog.png,"[[80, 1, 4, 4]]"']
    (folder / "rows.csv").write_text("\n".join(rows))
    (folder / "job.yaml").write_text(
        "model: seg-beyond\ninputs: {table: rows.csv}\n"
        "params: {input_image: '{{ image }}', prompt: x, left: 8}\n"
    )
    assert ended(["plan", "job.yaml"]) == 0
    said = capsys.readouterr()
    assert "row 2: box 1: [80, 1, 4, 4] lies outside its picture (8 x 8)" in said.out + said.err


@pytest.mark.parametrize("command", [["plan"], ["validate"], ["run", "--sandbox"], ["run", "-n"]])
def test_strictly_one_row_that_cannot_be_used_stops_everything(
    labelled: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    before = tree(labelled)
    assert ended([*command, "job.yaml", "--strict"]) == 2
    told = capsys.readouterr().err
    assert all(f"rows.csv:{line}:" in told for line in range(3, 8)), told
    assert tree(labelled) == before


PAIRED = """
inputs: [{table: pairs.jsonl}, {rows: [{n: 1}, {n: 2}, {n: 3}]}]
combine: zip
params: {image: "{{ image }}", prompt: "{{ place }} {{ n }}"}
output: {dir: out, name: "{{ place }}-{{ n }}"}
"""


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            '{"image": "photos/cat.png"}',
            r"pairs\.jsonl:2: .*row 2 with .* has no column `place`",
        ),
        (
            '{"image": "photos/none.png", "place": "b"}',
            r"pairs\.jsonl:2:.*no file 'photos/none\.png'",
        ),
        ("{", r"pairs\.jsonl:2:.*row 2 is not JSON"),
    ],
)
def test_side_by_side_no_row_may_be_left_out(
    folder: Path, quiet_server: socket.socket, capsys: pytest.CaptureFixture[str], row: str, says: str
) -> None:
    whole = [f'{{"image": "photos/cat.png", "place": "{place}"}}' for place in "ac"]
    (folder / "pairs.jsonl").write_text("\n".join([whole[0], row, whole[1]]))
    (folder / "job.yaml").write_text(laid(SOUND, PAIRED))
    assert ended(["run", "job.yaml"]) == 2
    assert re.search(says, capsys.readouterr().err)
    with pytest.raises(BlockingIOError):
        quiet_server.accept()


def test_strictly_a_row_that_lacks_a_column_of_others_is_told_by_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "t.jsonl").write_text('{"n": 1}\n{"place": "rome", "n": 2}\n' + '{"n": 3}\n' * 30)
    job = laid(SOUND, 'inputs: [{table: t.jsonl}, {images: photos/cat.png}]\noutput: {name: "{{ n }}"}')
    (folder / "job.yaml").write_text(job)
    assert ended(["plan", "job.yaml", "--strict"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("batcher: t.jsonl:1: params.prompt: t.jsonl row 1 with ")
    assert lines[0].endswith(" has no column `place`")
    assert lines[20].endswith("the first 20 problems are told; there may be more")


def test_where_no_row_is_left_every_stage_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ['{"image": "photos/cat.png", "boxes": 5}', "{", '{"image": "photos/none.png"}']
    (folder / "rows.jsonl").write_text("\n".join(rows))
    changes = """
    model: seg-beyond
    inputs: {table: rows.jsonl}
    params: {input_image: "{{ image }}", prompt: a, left: 8}
    output: {dir: out, name: "{{ image }}"}
    """
    (folder / "job.yaml").write_text(laid(SOUND, changes))
    assert ended(["plan", "job.yaml"]) == 2
    told = capsys.readouterr().err
    assert [f"rows.jsonl:{line}:" in told for line in (1, 2, 3)] == [True] * 3, told
    # What is wrong with the manifest is told alone.
    (folder / "job.yaml").write_text(laid(SOUND, changes.replace("prompt: a", 'prompt: "{{ seed }}"')))
    assert ended(["plan", "job.yaml"]) == 2
    assert "rows.jsonl:1:" not in capsys.readouterr().err


COMPOSED = """
inputs: {table: t.csv}
params: {image: "photos/{{ n }}.png", prompt: a}
output: {dir: out, name: "{{ n }}"}
"""


def test_a_picture_behind_a_composed_name_is_told_by_its_row(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "t.csv").write_text("n\ncat\nbird\n")
    (folder / "job.yaml").write_text(laid(SOUND, COMPOSED))
    assert ended(["plan", "job.yaml", "--strict"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("batcher: t.csv:3:1: params.image: row 2: there is no file 'photos/bird.png'"), (
        told
    )
    assert ended(["run", "job.yaml", "--sandbox", "-q"]) == 3
    (left,) = map(json.loads, (folder / "out-sandbox" / "errors.jsonl").read_text().splitlines())
    assert (left["file"], left["line"]) == ("t.csv", 3)
    # An axis is no row: what it composes is the manifest's.
    told = COMPOSED.replace("photos/", "photos/{{ kind }}")
    (folder / "job.yaml").write_text(laid(SOUND, f"{told}matrix: {{kind: [x]}}\n"))
    assert ended(["plan", "job.yaml"]) == 2
    assert re.search(r"job\.yaml:\d+:\d+: params\.image: .* \(for t\.csv row 1\)", capsys.readouterr().err)


def test_a_warning_that_came_before_a_problem_is_told_with_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = pyarrow.array([{"bytes": b"", "path": "a.png"}])
    pyarrow.parquet.write_table(pyarrow.table({"image": cells, "place": ["a"]}), folder / "t.parquet")
    (folder / "job.yaml").write_text(laid(SOUND, "inputs: {table: t.parquet}"))
    assert ended(["plan", "job.yaml"]) == 2
    told = capsys.readouterr().err
    assert "unknown variable `image`" in told
    assert "warning: t.parquet: the column `image` holds bytes" in told
    assert "`dataset: t.parquet` reads them as pictures" in told


def test_a_picture_without_its_companion_stops_the_plan(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "masks").mkdir()
    (folder / "masks" / "cat.png").write_bytes((folder / "photos" / "cat.png").read_bytes())
    companions = 'companions: {mask: "masks/{{ stem }}.png"}'
    (folder / "job.yaml").write_text(
        laid(SOUND, f"inputs: [{{images: photos/*.png, {companions}}}, {{table: words.csv}}]")
    )
    assert ended(["plan", "job.yaml"]) == 2
    assert "dog.png has no mask: there is no file" in capsys.readouterr().err


def test_a_picture_larger_than_an_upload_is_told_before_it_is_paid(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (folder / "photos" / "cat.png").read_bytes()
    with open(folder / "photos" / "dog.png", "wb") as file:
        file.write(whole)
        file.truncate(48 * 1024 * 1024 + 1)
    assert ended(["plan", "job.yaml", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["total"] == 2
    assert "dog.png: is larger than 48 MB, the most that is uploaded" in planned["warnings"][0]


def test_a_changed_name_moves_nothing_that_is_paid_for_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["run", "job.yaml", "--sandbox"]) == 0
    assert "output.name has changed" not in capsys.readouterr().out
    before = {name: data for name, data in tree(folder).items() if "/images/" in name}
    (folder / "job.yaml").write_text(laid(SOUND, 'output: {dir: out, name: "new-{{ stem }}-{{ place }}"}'))
    with open(folder / "words.csv", "a") as table:
        table.write("spain,1\n")
    told = "output.name has changed: 4 paid tasks keep their names, new ones are named anew"
    assert ended(["plan", "job.yaml", "--sandbox", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == [told]
    assert ended(["run", "job.yaml", "--sandbox"]) == 0
    assert told in capsys.readouterr().out
    after = {name: data for name, data in tree(folder).items() if "/images/" in name}
    assert before.items() <= after.items()
    assert sorted(Path(name).stem for name in after.keys() - before.keys()) == [
        "new-cat-spain",
        "new-dog-spain",
    ]
    assert ended(["run", "job.yaml", "--sandbox"]) == 0
    assert told not in capsys.readouterr().out


HOSTILE = [
    "../escaped", "../../../../etc/passwd", "/etc/passwd", "..", ".", "...", "", " ", "a/b/c", "a\\b",
    "C:\\x", "line\nbreak", "tab\tbed", "\x1b[31mred", "x" * 1000, "é" * 400, "con", "NUL.txt",
    "com1", ".hidden", "-rf", "trailing.", "trailing ", "bell\a", "right\u202eleft", "zero\u200bwidth",
    "a:b|c?d*e<f>g\"h", "full\uff0fwidth", "one\u2024dot\u2024\u2024/", "slash\u2215like", "\ufeffbom", "😀",
    "~root", "$HOME", "%2e%2e%2f", "{{ place }}", "`id`", "out/../../x",
]  # fmt: skip


async def test_names_from_data_never_leave_the_folder_and_are_names_everywhere(
    folder: Path, now: Callable[[], float], sandbox: MakeSandbox
) -> None:
    rows = [{"n": str(n), "name": name} for n, name in enumerate(HOSTILE)]
    manifest = job(folder, rows, "{{ n }}{{ name }}")
    bare = job(folder.parent, [], "x")
    before = tree(folder.parent)
    async with sandbox(service=1) as server:
        report = await on(server, manifest, now)
    assert (report.exit_code, report.images) == (0, len(HOSTILE))
    found = sorted((folder / "out" / "images").iterdir())
    assert len(found) == len(HOSTILE)
    for path in found:
        assert path.is_file()
        assert not path.is_symlink()
        assert len(path.name.encode()) <= 200
        assert path.name.isprintable()
        assert not set(path.name) & set('/\\:*?"<>|\0')
        assert not path.name.startswith((".", "-", " "))
        assert not re.match(r"(?i)(con|nul|com1)(\.|$)", path.name)
    after = tree(folder.parent)
    new = {name for name in after if name not in before and not name.startswith("work/out")}
    assert new == set()
    assert {name: after[name] for name in before} == before
    assert bare.exists()


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_by_itself_stays_inside_too(
    folder: Path, now: Callable[[], float], sandbox: MakeSandbox, name: str
) -> None:
    manifest = job(folder, [{"n": "0", "name": name}], "{{ name }}")
    before = tree(folder.parent)
    async with sandbox(service=1) as server:
        report = await on(server, manifest, now)
    assert (report.exit_code, report.images) == (0, 1)
    (path,) = (folder / "out" / "images").iterdir()
    assert path.is_file()
    assert path.suffix == ".png"
    assert not path.name.startswith((".", "-", " "))
    after = tree(folder.parent)
    assert all(new.startswith("work/out") for new in after.keys() - before.keys())
    assert {old: after[old] for old in before} == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("Photo", "photo"),
        ("straße", "STRASSE"),
        ("a/b", "a\\b"),
        ("one", "\uff4fne"),
        ("file", "\ufb01le"),
        ("x", "x"),
    ],
)
def test_two_names_that_a_disk_or_an_eye_would_confuse_are_an_error_that_names_them(
    folder: Path, capsys: pytest.CaptureFixture[str], first: str, second: str
) -> None:
    job(folder, [{"n": "0", "name": first}, {"n": "1", "name": second}], "{{ name }}")
    before = tree(folder)
    assert ended(["run", "rows.yaml", "--sandbox"]) == 2
    err = capsys.readouterr().err
    assert "output.name: " in err
    assert tree(folder) == before


def test_load_from_python_tells_the_same(folder: Path) -> None:
    (folder / "job.yaml").write_text(laid(SOUND, "repeat: 0\ncolour: red\n"))
    with pytest.raises(ManifestError) as caught:
        load("job.yaml")
    assert [(problem.key, problem.line) for problem in caught.value.problems] == [
        ("repeat", 12),
        ("colour", 13),
    ]


def test_a_picture_that_would_be_left_out_is_no_error_of_a_manifest_that_has_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "photos" / "broken.png").write_bytes(b"no picture")
    (folder / "job.yaml").write_text(laid(SOUND, "limits: {rmp: 60}"))
    assert ended(["plan", "job.yaml"]) == 2
    said = capsys.readouterr().err
    assert "limits.rmp" in said
    assert "broken.png" not in said


def test_a_manifest_that_is_typed_without_its_suffix_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(["plan", "job"]) == 2
    assert capsys.readouterr().err == "batcher: job: there is no such manifest; did you mean job.yaml?\n"
    assert ended(["plan", "x" * 253]) == 2
    assert capsys.readouterr().err == f"batcher: {'x' * 253}: there is no such manifest\n"
