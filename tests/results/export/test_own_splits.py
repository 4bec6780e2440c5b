"""A data set's own split: what its rows say stays, for variants and originals, in every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batcher.cli import ended
from batcher.errors import UsageError
from batcher.results.export import ExportFormat, ExportOptions, ExportResult, Splits, export
from tests.support.shelf import FORMS, Shelf

HALVES = Splits.parse("train=0.5,test=0.5")


def exported(
    shelf: Shelf, to: ExportFormat = ExportFormat.IMAGEFOLDER, **wishes: Any
) -> tuple[ExportResult, Path]:
    into = shelf.folder / "dataset"
    return export(shelf.output, ExportOptions(to=to, into=into, **wishes)), into


def pets(shelf: Shelf) -> None:
    """Two variants of each of six photographs, one of which its data set has in `test`."""
    tasks = []
    for number in range(6):
        photo = shelf.photo(f"{number}.png")
        split = "test" if number == 3 else "train"
        tasks += [shelf.variant(f"{number}-{season}", photo, split=split, boxes=[]) for season in ("a", "b")]
    shelf.deliver(*tasks)


@pytest.mark.parametrize("form", FORMS)
def test_variants_and_originals_stay_in_the_split_of_their_row(shelf: Shelf, form: ExportFormat) -> None:
    pets(shelf)
    told, into = exported(shelf, form, originals=True)
    assert told.splits == {"train": 15, "test": 3}
    assert list(told.splits) == ["train", "test"]
    assert told.missing == ()
    if form == "imagefolder":
        lines = [json.loads(line) for line in (into / "test" / "metadata.jsonl").read_text().splitlines()]
        assert {line["split"] for line in lines} == {"test"}
        assert sum(line["is_original"] for line in lines) == 1


def test_splits_are_not_drawn_across_it_unless_they_are_to_be(shelf: Shelf) -> None:
    pets(shelf)
    with pytest.raises(UsageError, match=r"of their own \(train, test\), which an export keeps; .*--resplit"):
        exported(shelf, splits=HALVES)
    assert not (shelf.folder / "dataset").exists()
    told, _ = exported(shelf, splits=Splits.parse("a=1"), resplit=True)
    assert told.splits == {"a": 12}


def test_the_command_says_it_with_2(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    pets(shelf)
    command = ["export", str(shelf.output), "--to", "coco", "-o", str(shelf.folder / "dataset")]
    assert ended([*command, "--split", "train=0.5,val=0.5"]) == 2
    assert "--resplit" in capsys.readouterr().err
    assert ended([*command, "--resplit"]) == 2
    assert "--split says which" in capsys.readouterr().err
    assert ended([*command, "--split", "train=0.5,val=0.5", "--resplit"]) == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_row_without_a_split_goes_where_the_others_train_however_they_write_it(
    shelf: Shelf, form: ExportFormat
) -> None:
    shelf.deliver(
        shelf.variant("a", shelf.photo("one.png"), split="TEST", boxes=[]),
        shelf.variant("b", shelf.photo("two.png"), split="Train", boxes=[]),
        shelf.variant("c", shelf.photo("three.png"), split="", boxes=[]),
    )
    told, _ = exported(shelf, form)
    assert told.splits == {"Train": 2, "TEST": 1}
    assert "1 picture without a split of its own in Train" in told.notes


@pytest.mark.parametrize("fold", [2, "2"])
def test_a_split_that_is_a_number_is_told_and_not_taken_for_none(shelf: Shelf, fold: int | str) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("one.png"), split=fold))
    with pytest.raises(UsageError, match=r"names a split '2', which no folder can be called; .*--resplit"):
        exported(shelf)


def test_rows_without_a_split_and_sources_in_two_of_them_are_told(shelf: Shelf) -> None:
    one, two = shelf.photo("one.png"), shelf.photo("two.png")
    shelf.deliver(
        shelf.variant("a", one, split="val"),
        shelf.variant("b", one, split="test"),
        shelf.variant("c", one, split="Val"),
        shelf.variant("d", two, split=None),
    )
    told, _ = exported(shelf)
    assert told.splits == {"train": 1, "val": 2, "test": 1}
    assert told.notes[-2:] == (
        "1 picture without a split of its own in train",
        "1 source picture is in more than one split, as the rows say it",
    )


@pytest.mark.parametrize(("name", "folder"), [("train-clean", "train_clean"), (" val ", "val")])
def test_names_become_such_as_readers_know(shelf: Shelf, name: str, folder: str) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("one.png"), split=name))
    told, into = exported(shelf)
    assert told.splits == {folder: 1}
    assert (into / folder / "metadata.jsonl").is_file()


@pytest.mark.parametrize("name", ["../up", "2017", "/etc"])
def test_what_no_folder_can_be_called_is_refused(shelf: Shelf, name: str) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("one.png"), split=name))
    with pytest.raises(UsageError, match="no folder can be called"):
        exported(shelf)
    told, _ = exported(shelf, splits=Splits.parse("a=1"), resplit=True)
    assert told.splits == {"a": 1}


def test_a_split_that_lies_where_a_form_has_a_folder_is_refused(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("one.png"), split="labels", boxes=[]))
    with pytest.raises(UsageError, match="the split labels would lie where the form yolo has a folder"):
        exported(shelf, ExportFormat.YOLO)
