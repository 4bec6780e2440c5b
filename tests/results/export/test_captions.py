"""Captions: a text beside each picture, from its prompt or a template; none is made up."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from batcher.cli import ended
from batcher.errors import UsageError
from batcher.results.export import ExportFormat, ExportOptions, ExportResult, export
from batcher.results.export.captions import PROMPT
from tests.support.shelf import Shelf


def two(shelf: Shelf) -> None:
    shelf.deliver(
        shelf.variant("a", shelf.photo("a.png"), label="cat", season=None),
        shelf.variant("b", shelf.photo("b.png"), label="dog", season="winter"),
    )


def captioned(
    shelf: Shelf, template: str, form: ExportFormat = ExportFormat.IMAGEFOLDER, *, originals: bool = False
) -> tuple[ExportResult, Path]:
    into = shelf.folder / "export"
    options = ExportOptions(form, into, originals=originals, captions=template)
    return export(shelf.output, options), into


def texts(into: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in into.glob("train/images/*.txt")}


def test_the_prompt_lies_beside_each_picture(shelf: Shelf) -> None:
    two(shelf)
    told, into = captioned(shelf, PROMPT)
    assert texts(into) == {"a.txt": "a a", "b.txt": "a b"}
    assert (told.captions, told.notes, told.as_json()["captions"]) == (2, (), 2)


def test_a_template_knows_the_columns_of_each_picture(shelf: Shelf) -> None:
    two(shelf)
    _, into = captioned(shelf, "sks {{ label }}{% if season %}, {{ season }}{% endif %}")
    assert texts(into) == {"a.txt": "sks cat", "b.txt": "sks dog, winter"}


@pytest.mark.parametrize("text", ["sks object", "é 猫"])
def test_a_text_without_columns_is_that_of_all(shelf: Shelf, text: str) -> None:
    two(shelf)
    _, into = captioned(shelf, text)
    assert set(texts(into).values()) == {text}


def test_a_picture_of_which_the_template_knows_too_little_has_none_and_that_is_told(shelf: Shelf) -> None:
    two(shelf)
    told, into = captioned(shelf, "in {{ season }}")
    assert texts(into) == {"b.txt": "in winter"}
    assert told.captions == 1
    assert told.notes == (
        "1 picture has no caption (first: images/a.png: `season` is null, and stands in a text)",
    )


def test_an_original_has_no_prompt(shelf: Shelf) -> None:
    two(shelf)
    told, into = captioned(shelf, PROMPT, originals=True)
    assert not list(into.glob("train/originals/*.txt"))
    assert told.captions == 2
    assert told.notes[0].startswith("2 pictures have no caption (first: originals/a-")
    assert told.notes[0].endswith(".png: it has no `prompt`)")


def test_every_sample_of_a_tar_has_the_same_files(shelf: Shelf) -> None:
    two(shelf)
    _, into = captioned(shelf, "in {{ season }}", ExportFormat.WEBDATASET)
    with tarfile.open(into / "train" / "00000.tar") as tar:
        assert tar.getnames() == ["a.png", "a.json", "a.txt", "b.png", "b.json", "b.txt"]
        found = [file.read() for name in ("a.txt", "b.txt") if (file := tar.extractfile(name))]
    assert found == [b"", b"in winter"]


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ prmpt }}", "no picture has a column prmpt; there are"),
        ("{{ label", "the template cannot be read"),
        ("{{ choice(['a', 'b']) }}", "a caption is not drawn"),
    ],
)
def test_a_wrong_template_is_told_and_nothing_is_written(shelf: Shelf, template: str, sentence: str) -> None:
    two(shelf)
    with pytest.raises(UsageError, match=sentence):
        captioned(shelf, template)
    assert not (shelf.folder / "export").exists()


def test_parquet_has_no_files_beside_pictures(shelf: Shelf) -> None:
    two(shelf)
    with pytest.raises(UsageError, match="parquet has none"):
        captioned(shelf, PROMPT, ExportFormat.PARQUET)


def test_the_command_takes_it_with_and_without_a_template(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    two(shelf)
    base = ["export", str(shelf.output), "--to", "imagefolder"]
    assert ended([*base, "-o", str(shelf.folder / "one"), "--captions"]) == 0
    assert "2 pictures, 2 captions in" in capsys.readouterr().out
    assert ended([*base, "--captions", "{{ label }}", "-o", str(shelf.folder / "two"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 2
    assert texts(shelf.folder / "one")["a.txt"] == "a a"
    assert texts(shelf.folder / "two")["a.txt"] == "cat"
