"""An export as it is asked for: what is refused, left out, missing, and told."""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from batcher.cli import ended
from batcher.errors import DiskError, UsageError
from batcher.job.geometry import Geometry, as_text
from batcher.ledger import database
from batcher.results.export import ExportOptions, Splits, batches, export, loading
from batcher.results.export.items import ExportItems
from tests.support.bookkeeping import NOW, a_task
from tests.support.shelf import Shelf

FORMS_OF_PICTURES = ("imagefolder", "webdataset", "parquet")


def three(shelf: Shelf) -> None:
    shelf.deliver(*(shelf.variant(name, shelf.photo(f"{name}.png")) for name in ("a", "b", "c")))


def lines(into: Path, split: str = "train") -> list[dict[str, object]]:
    return [json.loads(line) for line in (into / split / "metadata.jsonl").read_text().splitlines()]


# --- what is refused


def test_a_folder_that_is_not_empty_is_refused_and_stays_as_it_is(shelf: Shelf) -> None:
    three(shelf)
    into = shelf.folder / "export"
    into.mkdir()
    (into / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty"):
        export(shelf.output, ExportOptions(to="imagefolder", into=into))
    assert [path.name for path in into.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("inside", ["images", "images/export", ".batcher/export"])
def test_the_jobs_own_folders_are_refused(shelf: Shelf, inside: str) -> None:
    three(shelf)
    with pytest.raises(UsageError, match="the job's own"):
        export(shelf.output, ExportOptions(to="imagefolder", into=shelf.output / inside))


def test_a_job_without_pictures_is_told_and_leaves_nothing(shelf: Shelf) -> None:
    with pytest.raises(UsageError, match="nothing was run yet"):
        export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export"))
    shelf.deliver()
    with pytest.raises(UsageError, match="nothing to export"):
        export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export"))
    assert not (shelf.folder / "export").exists()


def test_parquet_without_pyarrow_says_what_to_install(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    three(shelf)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'batcher\[parquet\]'"):
        export(shelf.output, ExportOptions(to="parquet", into=shelf.folder / "export"))


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_a_full_disk_is_told_by_the_place_that_is_full(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, form: Literal["imagefolder", "webdataset"]
) -> None:
    three(shelf)
    into = shelf.folder / "export"

    def another_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full_as_to_a_copy(source: str, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", source)

    def full_as_to_a_write(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.link", another_disk)
    monkeypatch.setattr("shutil.copyfile", full_as_to_a_copy)
    monkeypatch.setattr("tarfile.TarFile.addfile", full_as_to_a_write)
    with pytest.raises(DiskError, match=f"^{re.escape(str(into))}.*: No space left on device$"):
        export(shelf.output, ExportOptions(to=form, into=into))


# --- what does not come to its end


@pytest.mark.parametrize("form", ["imagefolder", "webdataset", "parquet"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_export_that_fails_or_is_interrupted_leaves_nothing_and_can_be_asked_for_again(
    shelf: Shelf,
    form: Literal["imagefolder", "webdataset", "parquet"],
    error: BaseException,
) -> None:
    three(shelf)
    into = shelf.folder / "datasets" / "new" / "export"
    wishes = ExportOptions(to=form, into=into, splits=Splits.parse("train=0.5,test=0.5"), originals=True)

    def at_the_end(*_: object) -> None:
        assert any(path.is_file() for path in into.rglob("*"))
        raise error

    takes = "imagefolder.ImageFolder.take" if form == "imagefolder" else "batches.Shards.take"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"batcher.results.export.{takes}", at_the_end)
        with pytest.raises((DiskError, KeyboardInterrupt)):
            export(shelf.output, wishes)
    assert not (shelf.folder / "datasets").exists()
    assert export(shelf.output, wishes).pictures == 3


def test_an_export_that_fails_takes_away_only_what_it_made(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(shelf)
    into = shelf.folder / "export"
    into.mkdir()

    def at_the_end(*_: object) -> None:
        (into / "beside.txt").write_text("somebody else's")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("batcher.results.export.imagefolder.ImageFolder.finish", at_the_end)
    with pytest.raises(DiskError):
        export(shelf.output, ExportOptions(to="imagefolder", into=into))
    assert [path.name for path in into.iterdir()] == ["beside.txt"]
    assert len(list((shelf.output / "images").iterdir())) == 3


# --- what is left out


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ("b", ["a", "c"]),
        ("b.png", ["a", "c"]),
        ("images/b.png", ["a", "c"]),
        ('{"file_name": "images/b.png", "why": "blurred"}', ["a", "c"]),
        ("KEY", ["a", "c"]),
        ('{"key": "KEY"}', ["a", "c"]),
        ("\ufeffa\n\n  c  \n", ["b"]),
    ],
)
def test_rejected_pictures_are_left_out(shelf: Shelf, entry: str, left: list[str]) -> None:
    three(shelf)
    with sqlite3.connect(shelf.output / ".batcher" / "ledger.sqlite") as ledger:
        (key,) = ledger.execute("SELECT key FROM tasks WHERE name = 'b'").fetchone()
    ledger.close()
    rejected = shelf.folder / "rejected.txt"
    rejected.write_text(entry.replace("KEY", key), encoding="utf-8")
    told = export(
        shelf.output,
        ExportOptions(to="imagefolder", into=shelf.folder / "export", originals=True, exclude=rejected),
    )
    found = lines(shelf.folder / "export")
    assert [Path(str(line["file_name"])).stem for line in found if not line["is_original"]] == left
    assert (told.excluded, told.originals, told.notes) == (3 - len(left), len(left), ())


def test_an_entry_that_names_no_picture_is_an_error_unless_it_may(shelf: Shelf) -> None:
    three(shelf)
    rejected = shelf.folder / "rejected.txt"
    rejected.write_text("a\nnobody\n")
    wishes = {"to": "imagefolder", "into": shelf.folder / "export", "exclude": rejected}
    with pytest.raises(UsageError, match=r"1 entry names no picture, in .*rejected\.txt \(first: nobody\)"):
        export(shelf.output, ExportOptions(**wishes))
    assert not (shelf.folder / "export").exists()
    told = export(shelf.output, ExportOptions(**wishes, allow_missing=True))
    assert told.notes == (f"1 entry of {rejected} names no picture (first: nobody)",)
    assert (told.pictures, told.excluded) == (2, 1)


def test_an_entry_that_names_a_picture_which_is_set_aside_names_one(shelf: Shelf) -> None:
    three(shelf)
    with sqlite3.connect(shelf.output / ".batcher" / "ledger.sqlite") as ledger:
        ledger.execute(
            "UPDATE tasks SET state = 'rejected', rejected_by = 'person', rejected_at = 1.0, reason = 'x' "
            "WHERE name = 'b'"
        )
    ledger.close()
    rejected = shelf.folder / "rejected.txt"
    rejected.write_text("a\nb\n")
    told = export(
        shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export", exclude=rejected)
    )
    assert (told.pictures, told.excluded, told.notes) == (1, 1, ())


@pytest.mark.parametrize(
    "text",
    [
        "file_name,why\nimages/b.png,blurred\n",
        '\ufeffwhy,"file_name"\n"blurred, dark","images/b.png"\n\n',
        "why;name\nblurred;b\n",
        "name\twhy\r\nb\tblurred\r\n",
        "file_name\nb.png\n",
        '["b"]',
        '[\n  "images/b.png"\n]\n',
        '[{"file_name": "b.png", "why": "blurred"}]',
        "train/b.png",
        "./images/b.png",
        "/home/me/out/j/images/b.png",
        "images\\b.png",
    ],
)
def test_a_table_of_pictures_is_read_by_its_column(shelf: Shelf, text: str) -> None:
    three(shelf)
    rejected = shelf.folder / "rejected.csv"
    rejected.write_bytes(text.encode())
    told = export(
        shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export", exclude=rejected)
    )
    assert (told.pictures, told.excluded, told.notes) == (2, 1, ())


def test_a_path_in_rejected_leaves_out_no_picture_that_took_its_name(shelf: Shelf) -> None:
    three(shelf)
    rejected = shelf.folder / "rejected.txt"
    rejected.write_text("rejected/b.png\n")
    with pytest.raises(UsageError, match="1 entry names no picture"):
        export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export", exclude=rejected))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(b'{"x": 1}', "1: has no file_name"), (b"\xff\xfe\x00", "UTF-8"), (b"[7]", "1: has no")],
)
def test_a_file_of_rejected_pictures_that_cannot_be_read_is_told(
    shelf: Shelf, text: bytes, sentence: str
) -> None:
    three(shelf)
    rejected = shelf.folder / "rejected.txt"
    rejected.write_bytes(text)
    with pytest.raises(UsageError, match=sentence):
        export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export", exclude=rejected))
    with pytest.raises(UsageError, match="cannot be read"):
        export(
            shelf.output,
            ExportOptions(to="imagefolder", into=shelf.folder / "e", exclude=shelf.folder / "gone"),
        )


# --- what is missing


@pytest.mark.parametrize("form", ["imagefolder", "webdataset", "parquet"])
def test_a_delivered_file_that_is_gone_is_named_and_the_rest_leaves(shelf: Shelf, form: str) -> None:
    three(shelf)
    (shelf.output / "images" / "b.png").unlink()
    into = shelf.folder / "export"
    told = export(shelf.output, ExportOptions(to=form, into=into))
    assert (told.pictures, told.exit_code, len(told.missing)) == (2, 3, 1)
    assert told.missing[0].startswith(str(shelf.output / "images" / "b.png"))


def test_a_mask_that_cannot_be_read_is_named_and_its_picture_leaves_without(shelf: Shelf) -> None:
    good, bad = shelf.folder / "good.png", shelf.folder / "bad.png"
    Image.new("1", (64, 48), 1).save(good)
    bad.write_bytes(b"no picture")
    photos = [shelf.photo(f"{n}.png") for n in range(2)]
    shelf.deliver(shelf.variant("a", photos[0], mask=str(good)), shelf.variant("b", photos[1], mask=str(bad)))
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export"))
    assert (told.pictures, told.masks, told.exit_code) == (2, 1, 3)
    assert str(bad) in told.missing[0]
    masks = {line["mask_file_name"] for line in lines(shelf.folder / "export")}
    assert masks == {"masks/a.png", None}
    with Image.open(shelf.folder / "export" / "train" / "masks" / "a.png") as mask:
        assert [mask.getpixel((x, 0)) for x in (0, 35, 36, 99)] == [0, 0, 255, 255]


def test_labels_that_cannot_be_read_are_told_and_invent_nothing(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes="[[1, 2]]"))
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export"))
    assert told.notes == (
        "1 picture leaves without boxes (first: box 1: [1, 2] is not [x, y, width, height])",
    )
    (line,) = lines(shelf.folder / "export")
    assert "boxes" not in line
    assert line["source_boxes"] == "[[1, 2]]"


# --- who belongs together


def test_variants_of_one_content_share_a_split_whatever_its_path(shelf: Shelf) -> None:
    photos = [shelf.photo(f"p{n}.png") for n in range(12)]
    copies = []
    for photo in photos:
        copy = photo.with_name(f"copy-{photo.name}")
        copy.write_bytes(photo.read_bytes())
        copies.append(copy)
    shelf.deliver(
        *(shelf.variant(f"a{n}", photo) for n, photo in enumerate(photos)),
        *(shelf.variant(f"b{n}", copy) for n, copy in enumerate(copies)),
    )
    splits = Splits.parse("train=0.5,test=0.5")
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export", splits=splits))
    stems = {
        name: {Path(str(r["file_name"])).stem for r in lines(shelf.folder / "export", name)}
        for name in splits.names
    }
    assert all(told.splits.values())
    for rows in stems.values():
        assert {f"b{stem[1:]}" for stem in rows if stem[0] == "a"} == {
            stem for stem in rows if stem[0] == "b"
        }


def test_more_pictures_later_move_none(shelf: Shelf) -> None:
    splits = Splits.parse("train=0.5,test=0.5")
    before = {}
    for count in (4, 9):
        tasks = [shelf.variant(f"t{n}", shelf.photo(f"{count}-{n}.png")) for n in range(len(before), count)]
        shelf.deliver(*tasks)
        into = shelf.folder / f"export{count}"
        export(shelf.output, ExportOptions(to="imagefolder", into=into, splits=splits))
        now = {
            str(row["file_name"]): split.name
            for split in into.iterdir()
            if split.is_dir()
            for row in lines(into, split.name)
        }
        assert now.items() >= before.items()
        before = now
    assert len(before) == 9


def test_pictures_from_a_url_are_grouped_by_it_and_have_neither_placement_nor_original(shelf: Shelf) -> None:
    url = "https://photos.example/one.png"
    shelf.deliver(
        shelf.variant("a", url, boxes=[[1, 2, 3, 4]]), shelf.variant("b", url), shelf.variant("c", None)
    )
    told = export(
        shelf.output,
        ExportOptions(
            to="imagefolder", into=shelf.folder / "export", originals=True, splits=Splits.parse("x=0.5,y=0.5")
        ),
    )
    assert (told.pictures, told.originals) == (3, 0)
    found = {
        Path(str(line["file_name"])).stem: (name, line)
        for name in ("x", "y")
        if told.splits[name]
        for line in lines(shelf.folder / "export", name)
    }
    assert found["a"][0] == found["b"][0]
    assert not {"placement", "boxes"} & found["a"][1].keys()
    assert found["a"][1]["source_image"] == url


# --- beside a run, and by a model of one's own


def test_what_is_not_done_stays_and_what_left_the_manifest_goes_along(shelf: Shelf) -> None:
    three(shelf)
    with sqlite3.connect(shelf.output / ".batcher" / "ledger.sqlite") as ledger:
        task = a_task(99)
        ledger.execute(
            "INSERT INTO tasks (key, name, name_key, plan, images, repeat, params, columns, media) "
            "VALUES (?, 'waits', 'waits', 7, 1, 0, '{}', '{}', '{}')",
            (task.key,),
        )
    ledger.close()
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export"))
    assert told.pictures == 3


def test_it_reads_beside_a_run_that_is_writing(shelf: Shelf) -> None:
    three(shelf)
    with closing(database.open_file(shelf.output / ".batcher" / "ledger.sqlite")) as run:
        run.execute("BEGIN IMMEDIATE")
        run.execute("UPDATE tasks SET name = 'changing'")
        told = export(shelf.output, ExportOptions(to="webdataset", into=shelf.folder / "export"))
        run.execute("ROLLBACK")
    assert told.pictures == 3


def test_a_model_of_ones_own_states_its_geometry(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, model="my-model")
    rule = as_text(Geometry("input_image", fit="stretch"))
    shelf.deliver(shelf.variant("a", shelf.photo("a.png"), boxes=[[0, 0, 64, 24]]), geometry=rule)
    export(shelf.output, ExportOptions(to="imagefolder", into=tmp_path / "export"))
    (line,) = lines(tmp_path / "export")
    assert line["placement"] == {"x": 0, "y": 0, "width": 100, "height": 48}
    assert line["boxes"] == [[0, 0, 100, 24]]


def test_several_pictures_of_one_task_leave_each(shelf: Shelf) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png")), pictures=3)
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export", originals=True))
    assert (told.pictures, told.originals) == (3, 1)


# --- the command


def test_the_command_tells_its_counts(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    three(shelf)
    into = shelf.folder / "export"
    assert (
        ended(["export", str(shelf.output), "--to", "imagefolder", "--with-originals", "-o", str(into)]) == 0
    )
    told = capsys.readouterr().out.splitlines()
    assert told == [f"3 pictures, 3 originals in {into} (imagefolder)", "  train  6"]


def test_one_is_told_as_one(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("a.png")))
    into = shelf.folder / "export"
    assert (
        ended(["export", str(shelf.output), "--to", "imagefolder", "--with-originals", "-o", str(into)]) == 0
    )
    told = capsys.readouterr().out.splitlines()
    assert told == [f"1 picture, 1 original in {into} (imagefolder)", "  train  2"]


def test_the_command_prints_one_object(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    three(shelf)
    (shelf.output / "images" / "b.png").unlink()
    into = shelf.folder / "export"
    arguments = ["export", str(shelf.output), "--to", "parquet", "--split", "train=0.5,test=0.5", "--json"]
    assert ended([*arguments, "-o", str(into)]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {
        "to", "output", "pictures", "originals", "masks", "splits", "excluded", "missing", "notes",
    }  # fmt: skip
    assert (told["to"], told["pictures"], sum(told["splits"].values())) == ("parquet", 2, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--to", "tfrecord", "-o", "x"],
        ["--to", "parquet"],
        ["-o", "x"],
        ["--to", "parquet", "-o", "x", "--split", "train=0.5"],
    ],
)
def test_a_wrong_command_line_is_usage(shelf: Shelf, wrong: list[str]) -> None:
    three(shelf)
    assert ended(["export", str(shelf.output), *wrong]) == 2


def test_pictures_that_an_edit_replaced_are_told_and_left_out_where_only_the_current_ones_are_wanted(
    shelf: Shelf,
) -> None:
    photo = shelf.photo("rome.png")
    shelf.deliver(shelf.variant("old", photo), shelf.variant("kept", photo))
    shelf.deliver(shelf.variant("kept", photo), shelf.variant("new", photo))
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "all"))
    assert (told.pictures, told.excluded) == (3, 0)
    assert told.notes == (
        "1 picture is of a task that the manifest has no more; --current leaves such pictures out",
    )
    told = export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "now", current=True))
    assert (told.pictures, told.excluded, told.notes) == (2, 1, ())
    assert {path.stem for path in (shelf.folder / "now").rglob("*.png")} == {"kept", "new"}


# --- beside `batcher reject --redo`


def replace_by_another(shelf: Shelf, name: str, *, same_size: bool) -> None:
    """The replacement of a rejected picture stands under its name."""
    path = shelf.output / "images" / f"{name}.png"
    content = path.read_bytes()
    other = content[:-1] + bytes([content[-1] ^ 1]) if same_size else content + b"\0"
    path.unlink()
    path.write_bytes(other)


@pytest.mark.parametrize("same_size", [True, False])
@pytest.mark.parametrize("to", FORMS_OF_PICTURES)
def test_a_replacement_that_took_the_name_leaves_not_with_the_other_pictures_metadata(
    shelf: Shelf, to: Any, same_size: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(shelf)
    real = ExportItems.items

    def items(*arguments: Any, **more: Any) -> Any:
        replace_by_another(shelf, "b", same_size=same_size)
        return real(*arguments, **more)

    monkeypatch.setattr(ExportItems, "items", items)
    into = shelf.folder / "export"
    made = export(shelf.output, ExportOptions(to=to, into=into))
    assert made.pictures == 2
    assert [re.sub(r".*/images/", "", why).split(";")[0] for why in made.missing] == [
        "b.png: holds another picture than was delivered there"
    ]


@pytest.mark.parametrize("to", FORMS_OF_PICTURES)
def test_one_that_takes_the_name_while_it_is_copied_ends_the_export_whole(
    shelf: Shelf, to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(shelf)
    real = batches.loaded

    def loaded(item: Any, *more: Any) -> Any:
        found = real(item, *more)
        if item.name == "b.png":
            replace_by_another(shelf, "b", same_size=True)
        return found

    monkeypatch.setattr(batches, "loaded", loaded)
    into = shelf.folder / "export"
    with pytest.raises(DiskError, match=r"b\.png: holds another picture"):
        export(shelf.output, ExportOptions(to=to, into=into))
    assert not into.exists()


def test_files_that_are_no_younger_than_their_delivery_are_not_read(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(shelf)
    for path in (shelf.output / "images").iterdir():
        os.utime(path, (NOW, NOW))

    def read(file: Any) -> str:
        raise AssertionError("it was read")

    monkeypatch.setattr(loading.pictures, "digest", read)
    assert export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "export")).pictures == 3
