"""The card of an export: it loads the dataset, its numbers are true, and texts of the data are only shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batcher.cli import ended
from batcher.results.export import ExportFormat, ExportOptions, Splits, export
from batcher.results.export.card import CardFacts, SplitFacts, card, escaped, fenced
from batcher.results.export.row_counts import RowCounts
from tests.support.shelf import FORMS, Shelf, a_street

HOSTILE = '---\nlicense: mit\n# x | <img src=x onerror=alert(1)> [a](http://b) `c` ```\x1b[31m\u202e "'


def head_of(into: Path) -> tuple[dict[str, Any], str]:
    """The YAML head of a dataset's card, and its Markdown."""
    text = (into / "README.md").read_text("utf-8")
    opening, head, body = text.split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(head), body


def a_table(body: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table after a heading, by their first cell."""
    table = body.split(f"{heading}\n\n", 1)[1].split("\n\n", 1)[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if not line.startswith("|--")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows}


def load(into: Path, tmp_path: Path) -> Any:
    """As the hub's reader loads a folder with its card, offline."""
    import datasets

    return datasets.load_dataset(str(into), cache_dir=str(tmp_path / f"cache-{into.name}"))


# --- it loads


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("splits", ["train=0.5,test=0.5", "mine=0.5,no=0.5"])
@pytest.mark.usefixtures("load_dataset")
def test_by_its_card_a_dataset_loads_split_by_split_whatever_they_are_called(
    shelf: Shelf, form: ExportFormat, splits: str, loads_from: Callable[[int], None]
) -> None:
    if form == "voc":
        loads_from(4)
    a_street(shelf)
    into = shelf.folder / f"{form}-{splits[:4]}"
    captions = None if form == "parquet" else "{{ prompt }}"
    told = export(
        shelf.output,
        ExportOptions(form, into, Splits.parse(splits), originals=True, captions=captions),
    )
    assert {name: len(rows) for name, rows in load(into, shelf.folder).items()} == told.splits
    head, _ = head_of(into)
    assert [one["split"] for one in head["configs"][0]["data_files"]] == list(told.splits)


@pytest.mark.usefixtures("load_dataset")
def test_a_split_without_pictures_is_none_of_its_files(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png")))
    into = shelf.folder / "export"
    told = export(shelf.output, ExportOptions("imagefolder", into, Splits.parse("train=0.5,test=0.5")))
    full = next(name for name, number in told.splits.items() if number)
    assert {name: len(rows) for name, rows in load(into, shelf.folder).items()} == {full: 1}


# --- its numbers


def test_it_counts_what_is_there(shelf: Shelf, load_dataset: Callable[..., Any]) -> None:
    a_street(shelf)
    into = shelf.folder / "export"
    export(
        shelf.output,
        ExportOptions("imagefolder", into, Splits.parse("train=0.5,test=0.5"), originals=True),
    )
    head, body = head_of(into)
    found = load_dataset("imagefolder", into)
    by_split = a_table(body, "## Splits")
    classes = a_table(body, "## Objects by class")
    labels = a_table(body, "## Pictures by label")
    for place, (name, rows) in enumerate(found.items()):
        originals = sum(row["is_original"] for row in rows)
        assert by_split[name] == [str(len(rows) - originals), str(originals), str(len(rows))]
        objects = Counter(str(kind) for row in rows for kind in row["box_classes"])
        assert {kind: int(cells[place]) for kind, cells in classes.items() if kind != "class"} == {
            kind: objects[kind] for kind in classes if kind != "class"
        }
        assert labels["l0"][place] == str(sum(row["label"] == "l0" for row in rows))
    assert a_table(body, "## How it was made")["seg\\-beyond"] == ["16"]
    assert "16 pictures cost 0.16 credits." in body
    assert head["task_categories"] == ["object-detection", "image-classification", "image-segmentation"]
    assert head["license"] == "unknown", "nobody but its owner knows it"
    assert head["size_categories"] == ["n<1K"]


def test_pictures_that_could_not_leave_are_not_counted(shelf: Shelf) -> None:
    shelf.deliver(*(shelf.variant(name, shelf.photo(f"{name}.png"), label=name) for name in ("a", "b")))
    (shelf.output / "images" / "b.png").unlink()
    into = shelf.folder / "export"
    export(shelf.output, ExportOptions("imagefolder", into))
    _, body = head_of(into)
    assert a_table(body, "## Pictures by label") == {"label": ["train"], "a": ["1"]}
    assert "1 picture cost 0.01 credits." in body


def test_what_a_picture_cost_is_not_zero_where_nobody_knows() -> None:
    rows = RowCounts()
    rows.add({"model": "m", "cost": None}, original=False)
    text = card(CardFacts("j", [SplitFacts("train", Counter(images=1), rows, ["train/*"])]))
    assert "Their cost is not known." in text
    rows.add({"model": "m", "cost": 0.5}, original=False)
    text = card(CardFacts("j", [SplitFacts("train", Counter(images=2), rows, ["train/*"])]))
    assert "1 picture cost 0.50 credits; of 1 other it is not known." in text


def test_counts_add_up_whoever_counted() -> None:
    rows = [{"boxes": [[0, 0, 1, 1]], "box_classes": [kind], "cost": 0.1} for kind in ("a", "b", "a")]
    whole, parts = RowCounts(), RowCounts()
    for row in rows:
        whole.add(row, original=False)
        part = RowCounts()
        part.add(row, original=False)
        parts.update(part)
    assert whole == parts
    assert (whole.classes, whole.cost) == ({"a": 2, "b": 1}, 300_000)


# --- how it was made


def test_it_names_the_prompts_template_and_the_command(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    templates = '{"prompt": "a {{ label }}, ```{{ season }}```"}'
    shelf.deliver(shelf.variant("a", shelf.photo("a.png")), job="cats", prompt_templates=templates)
    monkeypatch.chdir(shelf.folder)
    into = shelf.folder / "export"
    command = ["export", str(shelf.output), "--to", "imagefolder", "--captions", "{{ prompt }}!"]
    assert ended([*command, "-o", str(into)]) == 0
    head, body = head_of(into)
    assert head["pretty_name"] == "cats"
    assert "Template of `prompt`:\n\n````\na {{ label }}, ```{{ season }}```\n````\n" in body
    assert "batcher export out --to=imagefolder '--captions={{ prompt }}!' -o DIR\n" in body
    assert str(shelf.folder) not in body


# --- texts of the data


def test_a_hostile_text_is_neither_head_nor_markup(shelf: Shelf) -> None:
    shelf.deliver(
        shelf.variant("a", shelf.photo("a.png"), boxes=[[1, 1, 9, 9]], box_classes=[HOSTILE], label=HOSTILE),
        job=HOSTILE,
    )
    into = shelf.folder / "export"
    export(shelf.output, ExportOptions("imagefolder", into, command=HOSTILE))
    head, body = head_of(into)
    assert head["license"] == "unknown"
    headings = [line for line in body.splitlines() if line.startswith("# ")]
    assert len(headings) == 2, "its own, and the line in the block of code"
    assert len(a_table(body, "## Objects by class")) == 2
    assert "\x1b" not in body
    assert "\u202e" not in body
    assert "<img" not in body.split("written by:")[0]


@given(st.text(max_size=200))
def test_an_escaped_text_is_one_line_without_markup(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]|#]", shown.replace("\\\\", ""))
    assert not re.search(r"[<>]", shown)


@given(st.text(alphabet="`~a\n ", max_size=60))
def test_nothing_in_a_block_of_code_ends_it(text: str) -> None:
    opening, *inside, closing = fenced(text).split("\n")
    assert opening == closing
    assert set(opening) == {"`"}
    assert opening not in "\n".join(inside)


@given(st.text(max_size=80))
def test_whatever_a_job_is_called_its_head_is_read(job: str) -> None:
    rows = RowCounts()
    rows.add({"model": job, "label": job}, original=False)
    text = card(CardFacts(job, [SplitFacts("train", Counter(images=1), rows, ["train/*"])]))
    head = yaml.safe_load(text.split("---\n", 2)[1])
    assert head.keys() == {
        "license", "pretty_name", "task_categories", "tags", "size_categories", "configs",
    }  # fmt: skip
    assert isinstance(head["pretty_name"], str)
