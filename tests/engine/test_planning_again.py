"""A resume plans nothing where nothing has changed, whatever params put together; else it does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from batcher.engine import outlook, planning, uploads
from batcher.job.manifest import Manifest
from batcher.ledger import mask_outside
from batcher.ledger.ledger import Ledger
from tests.support.manifests import parse

TABLE = "file,text\na,red\nb,blue\n"
COMPOSED = 'image: "photos/{{ file }}.png", prompt: x'
LONG_AGO = 1_600_000_000


class Planned:
    """A job in a folder, and its ledger."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.folder = folder
        self.ledger = ledger

    def manifest(self, params: str, more: str = "") -> Manifest:
        name = f'output: {{name: "{{{{ file }}}}"{more}}}'
        text = f"model: sd1.5-outpaint\ninputs: {{table: t.csv}}\nparams: {{{params}}}\n{name}\n"
        return parse(text, "job.yaml", self.folder)

    def again(self, params: str, more: str = "") -> int | None:
        """How many tasks the plan has now; None: it stood. `more` is what else stands below `output`."""
        plan = planning.plan_into(
            self.ledger,
            self.manifest(params, more),
            warn=print,
            progress=lambda n: None,
            check=lambda c, n: None,
        )
        return None if plan is None else plan.total

    def picture(self, name: str, colour: str = "red") -> Path:
        path = self.folder / "photos" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(path)
        os.utime(path, (LONG_AGO, LONG_AGO))
        return path


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Planned]:
    (tmp_path / "t.csv").write_text(TABLE)
    with closing(Ledger(tmp_path / "ledger.sqlite", now=time.time)) as ledger:  # noqa: TID251
        job = Planned(tmp_path, ledger)
        job.picture("a.png")
        job.picture("b.png", "blue")
        yield job


@pytest.mark.parametrize(
    "params",
    [
        COMPOSED,
        "image: \"{{ 'photos/' ~ file }}.png\", prompt: x",
        'image: "https://host/{{ file }}.png", prompt: "{{ text }}"',
        'image: photos/a.png, prompt: "{{ text }}, black/white"',
        'image: photos/a.png, prompt: "{{ text }} as in old.png"',
    ],
)
async def test_what_has_not_changed_is_not_planned_again(planned: Planned, params: str) -> None:
    assert planned.again(params) == 2
    assert planned.again(params) is None
    assert planned.again(params) is None


async def test_a_changed_picture_behind_a_composed_path_is_seen(planned: Planned) -> None:
    planned.again(COMPOSED)
    path = planned.picture("b.png", "green")
    os.utime(path, (LONG_AGO + 5, LONG_AGO + 5))
    assert planned.again(COMPOSED) == 2
    assert planned.again(COMPOSED) is None


async def test_a_picture_that_is_gone_from_behind_a_composed_path_is_seen(planned: Planned) -> None:
    planned.again(COMPOSED)
    (planned.folder / "photos" / "b.png").unlink()
    assert planned.again(COMPOSED) == 1
    assert planned.again(COMPOSED) is None, "nor is it planned again while it is missing"


async def test_a_picture_that_comes_where_there_was_none_is_seen(planned: Planned) -> None:
    path = planned.folder / "photos" / "b.png"
    path.rename(planned.folder / "aside.png")
    assert planned.again(COMPOSED) == 1
    assert planned.again(COMPOSED) is None
    (planned.folder / "aside.png").rename(path)
    assert planned.again(COMPOSED) == 2


async def test_a_picture_that_comes_under_a_name_that_is_spelled_otherwise_is_seen(planned: Planned) -> None:
    path = planned.folder / "photos" / "b.png"
    path.rename(planned.folder / "aside.png")
    assert planned.again(COMPOSED) == 1
    (planned.folder / "aside.png").rename(path.with_name("b.png "))
    assert planned.again(COMPOSED) == 2
    assert planned.again(COMPOSED) is None


async def test_half_a_picture_that_becomes_whole_is_seen(planned: Planned) -> None:
    path = planned.folder / "photos" / "b.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert planned.again(COMPOSED) == 1
    assert planned.again(COMPOSED) is None
    path.write_bytes(whole)
    assert planned.again(COMPOSED) == 2


async def test_another_job_in_the_ledger_forgets_what_the_first_one_put_together(planned: Planned) -> None:
    planned.again(COMPOSED)
    plain = "image: photos/a.png, prompt: x"
    assert planned.again(plain) is not None
    (planned.folder / "photos" / "b.png").unlink()
    assert planned.again(plain) is None


async def test_what_masks_say_beside_their_source_is_noted_with_each_change(planned: Planned) -> None:
    for more, wanted in (("", None), (", mask_outside: 255", 255), (", mask_outside: 0", 0), ("", None)):
        planned.again(COMPOSED, more)
        assert mask_outside.noted(planned.ledger.connection) == wanted


async def test_a_look_at_a_plan_opens_no_picture_that_its_ledger_knows(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, whole = list[str](), uploads.check_whole

    def check(file: IO[bytes], size: int) -> None:
        opened.append(Path(file.name).name)
        whole(file, size)

    monkeypatch.setattr(uploads, "check_whole", check)
    text = 'model: sd1.5-outpaint\ninputs: {images: photos}\nparams: {image: "{{ image }}", prompt: x}\n'
    state = planned.folder / "out" / ".batcher"
    state.mkdir(parents=True)
    manifest = parse(text, "job.yaml", planned.folder)
    with closing(Ledger(state / "ledger.sqlite", now=time.time)) as ledger:  # noqa: TID251
        planning.plan_into(ledger, manifest, warn=print, progress=lambda n: None, check=lambda c, n: None)
    opened.clear()
    planned.picture("c.png", "green")
    planned.picture("b.png", "black")
    os.utime(planned.folder / "photos" / "b.png", (LONG_AGO + 5, LONG_AGO + 5))
    assert outlook(manifest, planned.folder / "out").total == 3
    assert sorted(opened) == ["b.png", "c.png"], "what is new, and what has changed"
