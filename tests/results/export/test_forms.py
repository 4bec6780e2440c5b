"""What is exported is read back by the libraries that its users use."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import tarfile
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs import InputsContext
from batcher.job.inputs import rows as rows_of
from batcher.ledger import database, records
from batcher.results.export import (
    ExportFormat,
    ExportOptions,
    ExportResult,
    Splits,
    batches,
    export,
    imagefolder,
    metadata_table,
)
from batcher.storage import stores
from tests.support.manifests import parse
from tests.support.shelf import FORMS, Shelf, a_street

Load = Callable[..., Any]
HALVES = Splits.parse("train=0.5,test=0.5")


def exported(shelf: Shelf, to: ExportFormat, **wishes: Any) -> tuple[ExportResult, Path]:
    into = shelf.folder / "export"
    return export(shelf.output, ExportOptions(to=to, into=into, **wishes)), into


# --- read back


@pytest.mark.parametrize("form", ["imagefolder", "parquet"])
def test_datasets_loads_an_export_with_pictures_masks_boxes_and_columns(
    shelf: Shelf, load_dataset: Load, form: ExportFormat
) -> None:
    a_street(shelf)
    told, into = exported(shelf, form, splits=HALVES)
    found = load_dataset(form, into)
    assert {name: len(rows) for name, rows in found.items()} == told.splits
    assert told.pictures == 16 == sum(told.splits.values())
    assert told.masks == 16
    by_key = {row["key"]: row for rows in found.values() for row in rows}
    assert len(by_key) == 16
    lines = [json.loads(line) for line in (_metadata(shelf)).splitlines()]
    for line in lines:
        row = by_key[line["key"]]
        assert row["image"].size == (100, 48)
        assert row["image"].getpixel((50, 20)) == _pixel(shelf.output / line["file_name"])
        assert row["placement"] == {"x": 36, "y": 0, "width": 64, "height": 48}
        assert row["boxes"] == [[44.0, 4.0, 16.0, 12.0]]
        assert row["source_boxes"] == [[8.0, 4.0, 16.0, 12.0]]
        assert row["box_classes"] == line["box_classes"]
        assert row["mask"].size == (100, 48)
        assert (row["mask"].getpixel((35, 0)), row["mask"].getpixel((36, 0))) == (
            0,
            line["box_classes"][0] + 1,
        )
        for column in ("season", "label", "prompt", "left", "model", "cost", "request_id", "sha256"):
            assert row[column] == line[column]


def test_webdataset_reads_the_shards(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SHARD_SAMPLES", 3)
    a_street(shelf)
    told, into = exported(shelf, "webdataset", splits=HALVES)
    seen: dict[str, Any] = {}
    for split, number in told.splits.items():
        urls = sorted(map(str, (into / split).iterdir()))
        assert [Path(url).name for url in urls] == [f"{n:05d}.tar" for n in range(-(-number // 3))]
        samples = _samples(urls)
        assert len(samples) == number
        seen |= {sample["__key__"]: sample for sample in samples}
    assert seen.keys() == {f"p{n}-{season}" for n in range(8) for season in ("summer", "winter")}
    sample = seen["p3-winter"]
    assert sample["png"].size == (100, 48)
    assert sample["mask.png"].getpixel((40, 3))[0] == 4
    assert sample["json"]["boxes"] == [[44.0, 4.0, 16.0, 12.0]]
    assert sample["json"]["season"] == "winter"
    assert sample["json"]["file_name"] == "images/p3-winter.png"


def test_datasets_loads_the_tar_shards_too(shelf: Shelf, load_dataset: Load) -> None:
    a_street(shelf, sources=4)
    _, into = exported(shelf, "webdataset")
    rows = load_dataset("webdataset", into)["train"]
    assert len(rows) == 8
    assert rows[0]["png"].size == (100, 48)
    assert rows[0]["json"]["label"] == "l0"


def test_pyarrow_reads_every_shard_with_one_schema(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    monkeypatch.setattr(batches, "SHARD_SAMPLES", 3)
    a_street(shelf)
    told, into = exported(shelf, "parquet", splits=HALVES)
    tables = [parquet.read_table(path) for path in sorted(into.glob("*/*.parquet"))]
    assert sum(table.num_rows for table in tables) == 16
    assert len({str(table.schema) for table in tables}) == 1
    assert len(tables) == sum(-(-number // 3) for number in told.splits.values())
    row = tables[0].to_pylist()[0]
    original = shelf.output / row["image"]["path"]
    assert row["image"]["bytes"] == original.read_bytes()
    with Image.open(io.BytesIO(row["mask"]["bytes"])) as mask:
        assert mask.size == (100, 48)


# --- originals


@pytest.mark.parametrize("form", FORMS)
def test_originals_stand_once_beside_their_variants_in_their_split(shelf: Shelf, form: ExportFormat) -> None:
    a_street(shelf)
    told, into = exported(shelf, form, splits=HALVES, originals=True)
    assert (told.pictures, told.originals, told.masks, told.missing) == (16, 8, 24, ())
    rows = _rows(into, form)
    assert len(rows) == 24
    originals = {row["sha256"]: row for row in rows if row["is_original"]}
    assert len(originals) == 8
    for row in rows:
        source = originals[row["source_sha256"]]
        assert source["split"] == row["split"]
        assert source["file_name"] == row["source_image"] == source["source_image"]
    one = next(iter(originals.values()))
    assert one["boxes"] == [[8, 4, 16, 12]]
    assert one["placement"] is None
    assert (one["width"], one["height"]) == (64, 48)
    assert one["label"] in ("l0", "l1")
    assert one["season"] is None, "the season is the variant's, not the photograph's"
    assert one["prompt"] is None


@pytest.mark.parametrize("form", FORMS)
def test_originals_out_of_a_saved_dataset_have_names_that_readers_know_pictures_by(
    shelf: Shelf, form: ExportFormat
) -> None:
    import datasets

    cells = [
        {"bytes": shelf.photo("a.jpg").read_bytes(), "path": "a.jpg"},
        {"bytes": shelf.photo("b.png").read_bytes(), "path": None},
    ]
    features = datasets.Features({"image": datasets.Image()})
    saved = shelf.folder / "pets"
    datasets.Dataset.from_dict({"image": cells}, features=features).save_to_disk(str(saved))
    tasks = []
    for number, name in enumerate(("a.jpg", "pets-1")):
        address = stores.dataset_cells.cell_address(str(saved), number, "image")
        task = shelf.variant(f"v{number}", address, boxes=[])
        task["columns"]["name"] = name
        tasks.append(task | {"media": {"input_image": stores.digest(address)}})
    shelf.deliver(*tasks)
    told, into = exported(shelf, form, originals=True)
    assert (told.originals, told.missing) == (2, ())
    originals = [row for row in _rows(into, form) if row["is_original"]]
    named = [f"a-{originals[0]['sha256'][:8]}.jpg", f"pets-1-{originals[1]['sha256'][:8]}.png"]
    assert [Path(row["file_name"]).name for row in originals] == named


def test_two_files_of_one_content_are_one_original_that_both_variants_name(shelf: Shelf) -> None:
    one = shelf.photo("one.png")
    two = one.with_name("two.png")
    two.write_bytes(one.read_bytes())
    bare = one.with_name("bare")
    bare.write_bytes(shelf.photo("three.png").read_bytes())
    shelf.deliver(*(shelf.variant(path.stem, path) for path in (one, two, bare)))
    told, into = exported(shelf, "imagefolder", originals=True)
    assert told.originals == 2
    rows = _rows(into, "imagefolder")
    there = {row["file_name"] for row in rows if row["is_original"]}
    assert {row["source_image"] for row in rows} == there
    assert all(name.endswith(".png") for name in there)


def test_an_original_that_changed_or_went_is_told_and_its_variants_leave(shelf: Shelf) -> None:
    one, two = shelf.photo("one.png"), shelf.photo("two.png")
    shelf.deliver(shelf.variant("a", one), shelf.variant("b", two))
    Image.new("RGB", (64, 48)).save(one)
    two.unlink()
    told, _ = exported(shelf, "imagefolder", originals=True)
    assert (told.pictures, told.originals, told.exit_code) == (2, 0, 3)
    assert told.missing == (f"{one}: changed since it was sent", f"{two}: is not there")


# --- files


def test_an_image_folder_holds_links_where_they_can_be_and_copies_elsewhere(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.deliver(shelf.variant("a", shelf.photo("p.png")))
    delivered = shelf.output / "images" / "a.png"
    _, into = exported(shelf, "imagefolder")
    assert (into / "train" / "images" / "a.png").samefile(delivered)

    def refuse(*paths: Any, **more: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(imagefolder.os, "link", refuse)
    export(shelf.output, ExportOptions(to="imagefolder", into=shelf.folder / "copies"))
    copy = shelf.folder / "copies" / "train" / "images" / "a.png"
    assert copy.read_bytes() == delivered.read_bytes()
    assert not copy.samefile(delivered)
    assert sorted(path.name for path in copy.parent.parent.iterdir()) == ["images", "metadata.jsonl"]


def test_the_same_ledger_gives_the_same_shards(shelf: Shelf) -> None:
    a_street(shelf, sources=3)
    digests = []
    for number in range(2):
        into = shelf.folder / f"export{number}"
        export(shelf.output, ExportOptions(to="webdataset", into=into, originals=True))
        digests.append(hashlib.sha256((into / "train" / "00000.tar").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_keys_of_samples_have_no_dots_and_none_comes_twice(shelf: Shelf) -> None:
    photo = shelf.photo("p.png")
    shelf.deliver(*(shelf.variant(name, photo) for name in ("v1.5", "v1_5", "v2", "V1-5")))
    _, into = exported(shelf, "webdataset", originals=True)
    with tarfile.open(into / "train" / "00000.tar") as tar:
        names = tar.getnames()
    keys = {name.split(".")[0].lower() for name in names}
    assert len(keys) == 5
    assert all(name.count(".") == 1 for name in names)


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_a_turned_original_leaves_as_it_was_sent_with_its_upright_size(
    shelf: Shelf, form: ExportFormat
) -> None:
    photo = shelf.photo("p.jpg")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (64, 48), "teal").save(photo, exif=exif)
    shelf.deliver(shelf.variant("v", photo))
    _, into = exported(shelf, form, originals=True)
    if form == "webdataset":
        with tarfile.open(into / "train" / "00000.tar") as tar:
            files = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
        (data,) = (files[name] for name in files if name.startswith("originals-") and name.endswith(".png"))
        (record,) = (json.loads(files[name]) for name in files if b'"is_original": true' in files[name])
    else:
        (data,) = (path.read_bytes() for path in (into / "train" / "originals").iterdir())
        lines = (into / "train" / "metadata.jsonl").read_text().splitlines()
        (record,) = (one for one in map(json.loads, lines) if one["is_original"])
    assert data == photo.read_bytes()
    assert (record["width"], record["height"]) == (48, 64)


def test_paths_of_this_machine_stay_here(shelf: Shelf) -> None:
    a_street(shelf, sources=2)
    _, into = exported(shelf, "imagefolder", originals=True)
    assert str(shelf.folder) not in (into / "train" / "metadata.jsonl").read_text()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("form", FORMS)
def test_a_turned_original_is_upright_where_its_labels_would_be_false_otherwise(
    shelf: Shelf, form: ExportFormat, suffix: str
) -> None:
    photo = shelf.photo(f"p{suffix}")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    sent = Image.new("RGB", (64, 48), "teal")
    sent.paste("orange", (0, 38, 10, 48))  # left below; upright, it is left above
    sent.save(photo, exif=exif)
    shelf.deliver(shelf.variant("v", photo, boxes=[[0, 0, 10, 10]]), size=(84, 64))
    told, into = exported(shelf, form, originals=True)
    assert (told.originals, told.missing) == (1, ())
    if form in ("imagefolder", "parquet"):
        assert not any("upright" in note for note in told.notes), "their readers turn it"
        return
    assert "1 original leaves upright, encoded anew: EXIF turned what its labels do not" in told.notes
    if form == "webdataset":
        with tarfile.open(into / "train" / "00000.tar") as tar:
            (name,) = (n for n in tar.getnames() if n.startswith("originals-") and n.endswith(".png"))
            data = tar.extractfile(name).read()  # type: ignore[union-attr]
    else:
        (path,) = (path for path in into.rglob(f"p-*{suffix}"))
        data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        assert (image.size, image.getexif().get(ExifTags.Base.Orientation)) == ((48, 64), None)
        red, _, blue = image.convert("RGB").getpixel((4, 4))
        assert red > 200 > 90 > blue


def test_no_path_of_this_machine_leaves_whatever_it_names_and_wherever_it_stands(shelf: Shelf) -> None:
    here = shelf.folder
    source = shelf.photo("p.png").rename(here / "photos" / "p.jfif")
    columns = {
        "annotations": str(here / "labels" / "p.json"),
        "listed": [str(here / "a.tif"), {"deep": str(here / "b.mpo")}],
        "bare": str(here / "photos"),
        "cell": stores.dataset_cells.cell_address(str(here / "pets"), 3, "image"),
        "slash": "/imagine a cat, v1.5",
        "boxes": [],
    }
    shelf.deliver(shelf.variant("v", source, **columns))
    for form in FORMS:
        export(shelf.output, ExportOptions(to=form, into=here / form))
        for path in (path for path in (here / form).rglob("*") if path.is_file()):
            assert str(here).encode() not in path.read_bytes(), path
    (row,) = _rows(here / "imagefolder", "imagefolder")
    assert (row["source_image"], row["annotations"], row["bare"]) == ("p.jfif", "p.json", "photos")
    assert row["listed"] == ["a.tif", {"deep": "b.mpo"}] or row["listed"] == ["a.tif", '{"deep": "b.mpo"}']
    assert (row["cell"], row["slash"]) == ("pets-3", "/imagine a cat, v1.5")


# --- types


@pytest.mark.parametrize("form", FORMS)
def test_a_column_in_which_something_is_never_known_is_in_every_export(
    shelf: Shelf, load_dataset: Load, form: ExportFormat
) -> None:
    values: list[dict[str, Any]] = [
        {"found": {"bbox": [1, 2], "area": None}, "tags": [], "gone": None},
        {"found": {"bbox": [], "area": None}, "tags": [], "gone": None},
    ]
    shelf.deliver(
        *(shelf.variant(f"v{n}", shelf.photo(f"{n}.png"), boxes=[], **row) for n, row in enumerate(values))
    )
    _, into = exported(shelf, form)
    rows = sorted(_rows(into, form), key=lambda row: row["prompt"])
    for row, value in zip(rows, values, strict=True):
        for column in ("found", "tags"):
            found = row[column]
            assert (json.loads(found) if isinstance(found, str) else found) == value[column]
        assert "gone" not in row, "nobody said anything in it"
    if form in ("imagefolder", "parquet"):
        assert len(load_dataset(form, into)["train"]) == 2


def test_columns_of_mixed_types_load_nulls_and_nests_included(shelf: Shelf, load_dataset: Load) -> None:
    values: list[dict[str, Any]] = [
        {"n": 1, "mixed": 1, "tags": ["a"], "info": {"a": 1}, "late": None, "huge": 2**80, "file_names": "x"},
        {"n": 2.5, "mixed": "one", "tags": [], "info": {"b": "x"}, "late": None, "ref_file_name": "gone.png"},
        {"n": None, "mixed": None, "tags": None, "info": None, "late": {"deep": [1, None]}},
    ]
    photos = [shelf.photo(f"p{number}.png") for number in range(3)]
    shelf.deliver(
        *(
            shelf.variant(f"t{n}", photo, **value)
            for n, (photo, value) in enumerate(zip(photos, values, strict=True))
        )
    )
    loaded = {}
    for form in ("imagefolder", "parquet"):
        into = shelf.folder / form
        export(shelf.output, ExportOptions(to=form, into=into))
        loaded[form] = sorted(load_dataset(form, into)["train"], key=lambda row: row["prompt"])
    for rows in loaded.values():
        assert [row["n"] for row in rows] == [1.0, 2.5, None]
        assert [row["mixed"] for row in rows] == ["1", "one", None]
        assert [row["tags"] for row in rows] == [["a"], [], None]
        assert rows[0]["info"] == {"a": 1, "b": None}
        assert rows[2]["late"] == {"deep": [1, None]}
        assert rows[0]["huge"] == str(2**80)
        assert rows[1]["ref_file"] == "gone.png"
        assert "queue_time" not in rows[0], "nobody told one"


@pytest.fixture
def no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra `parquet` is not installed."""
    monkeypatch.setattr(metadata_table, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_pyarrow")
def test_a_column_that_one_split_knows_nothing_of_loads_as_text(shelf: Shelf, load_dataset: Load) -> None:
    splits = Splits.parse("train=0.5,test=0.5")
    tasks, seen = [], set()
    for number in range(40):
        photo = shelf.photo(f"p{number}.png")
        split = splits.of(hashlib.sha256(photo.read_bytes()).hexdigest())
        rare = (
            {"rare": 7, "note": "x", "boxes": [[1, 1, 9, 9]]}
            if split == "train" and split not in seen
            else {}
        )
        seen.add(split)
        tasks.append(shelf.variant(f"t{number}", photo, **rare))
    shelf.deliver(*tasks)
    told, into = exported(shelf, "imagefolder", splits=splits)
    sentence = (
        "the columns boxes, note, rare, source_boxes have no value in one of the splits, and are written"
    )
    assert told.notes[0] == f"{sentence} as text"
    found = load_dataset("imagefolder", into)
    assert sorted(found["train"]["rare"])[-1] == "7"
    assert set(found["test"]["rare"]) == {""}
    assert "[[37.0, 1.0, 9.0, 9.0]]" in found["train"]["boxes"]
    assert told.notes[-1].endswith("(pip install 'batcher[parquet]') these columns keep their types")


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("by_card", [True, False])
def test_a_column_that_one_split_knows_nothing_of_keeps_its_type(
    shelf: Shelf, load_dataset: Load, loads_from: Callable[[int], None], by_card: bool, masked: bool
) -> None:
    if masked:
        loads_from(5)
    mask = shelf.folder / "mask.png"
    Image.new("L", (64, 48), 3).save(mask)
    known = {
        "boxes": [[1, 1, 9, 9]],
        "box_polygons": [[[1, 1, 9, 1, 9, 9]]],
        "box_attributes": [{"score": 0.5}],
        "rare": 7,
        "day": "2026-01-02",
        **({"mask": str(mask)} if masked else {}),
    }
    shelf.deliver(
        *(shelf.variant(f"a{n}", shelf.photo(f"a{n}.png"), split="train", **known) for n in range(3)),
        shelf.variant("empty", shelf.photo("b.png"), split="test", boxes=[], rare=None),
        shelf.variant("none", shelf.photo("c.png"), split="test"),
    )
    told, into = exported(shelf, "imagefolder", originals=True)
    assert any("the metadata are in metadata.parquet" in note for note in told.notes)
    assert not any("text" in note for note in told.notes)
    if by_card:
        import datasets

        found = datasets.load_dataset(str(into), cache_dir=str(shelf.folder / "cache"))
    else:
        found = load_dataset("imagefolder", into)
    assert found["train"].features == found["test"].features
    assert {name: len(rows) for name, rows in found.items()} == {"train": 6, "test": 4}
    variant = next(row for row in found["train"] if not row["is_original"])
    assert variant["boxes"] == [[37.0, 1.0, 9.0, 9.0]]
    assert variant["box_polygons"] == [[[37.0, 1.0, 45.0, 1.0, 45.0, 9.0]]]
    assert (variant["box_attributes"], variant["rare"], variant["day"]) == ([{"score": 0.5}], 7, "2026-01-02")
    assert variant["image"].size == (100, 48)
    assert {str(row["boxes"]) for row in found["test"]} == {"[]", "None"}
    assert {row["rare"] for row in found["test"]} == {None}
    if masked:
        assert variant["mask"].size == (100, 48)
        assert {row["mask"] for row in found["test"]} == {None}
    job = parse(f"model: x\ninputs: {{dataset: {into.name}}}\n", "job.yaml", shelf.folder)
    read = [row.columns for row in rows_of(InputsContext(job, Diagnostics("job.yaml", warn=print)))]
    assert sorted(str(row["boxes"]) for row in read if row["split"] == "test") == ["None"] * 2 + ["[]"] * 2


@pytest.mark.usefixtures("no_pyarrow")
def test_a_column_of_dates_in_one_split_alone_loads(shelf: Shelf, load_dataset: Load) -> None:
    tasks = []
    for number in range(12):
        photo = shelf.photo(f"p{number}.png")
        split = HALVES.of(hashlib.sha256(photo.read_bytes()).hexdigest())
        day = f"2026-01-{number + 10}"
        tasks.append(
            shelf.variant(f"t{number}", photo, day=day, title=day if split == "test" else f"p{number}")
        )
    shelf.deliver(*tasks)
    told, into = exported(shelf, "imagefolder", splits=HALVES)
    assert told.notes[0] == "the column title has only dates in one of the splits, and is written in quotes"
    found = load_dataset("imagefolder", into)
    assert all(json.loads(name).startswith("2026-01-") for name in found["test"]["title"])
    assert found["train"].features == found["test"].features


def test_a_line_that_shows_a_columns_type_comes_first(shelf: Shelf) -> None:
    photos = [shelf.photo(f"p{number}.png") for number in range(6)]
    shelf.deliver(
        *(
            shelf.variant(f"t{n}", photo, **({"late": "x"} if n == 5 else {}))
            for n, photo in enumerate(photos)
        )
    )
    _, into = exported(shelf, "imagefolder")
    lines = (into / "train" / "metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["late"] for line in lines[:3]] == [None, "x", None]
    assert len(lines) == 6


@pytest.mark.parametrize("form", ["webdataset", "imagefolder", "parquet"])
def test_every_export_loads_whatever_its_first_rows_lack(
    shelf: Shelf, load_dataset: Load, loads_from: Callable[[int], None], form: ExportFormat
) -> None:
    if form == "imagefolder":
        loads_from(5)
    mask = shelf.folder / "mask.bmp"
    Image.new("L", (64, 48), 3).save(mask)
    rows: list[dict[str, Any]] = [
        {"boxes": [], "note": None, "found": {"bbox": [], "area": None}},
        {"boxes": [], "note": None, "found": None},
        {"boxes": [[1, 2, 3, 4]], "box_classes": ["cat"], "note": "x", "found": {"bbox": [1], "area": None}},
        {"boxes": [[1, 2, 3, 4]], "box_classes": ["cat"], "rare": 7, "mask": str(mask)},
        {"boxes": [], "note": "y"},
        {"boxes": [], "note": None},
        {"boxes": [], "note": None},
    ]
    shelf.deliver(
        *(
            shelf.variant(f"v{n}", shelf.photo(f"{n}.{'jpg' if n % 2 else 'png'}"), **row)
            for n, row in enumerate(rows)
        )
    )
    told, into = exported(shelf, form, originals=True)
    assert (told.pictures, told.originals, told.missing) == (7, 7, ())
    found = load_dataset(form, into)["train"]
    assert len(found) == 14
    lacking = "12 pictures have no mask, and others have one: `datasets` loads that from version 5 on"
    assert (lacking in told.notes) == (form == "imagefolder")
    if form != "webdataset":
        return
    by_name = {row["json"]["file_name"]: row for row in found}
    for number, row in enumerate(rows):
        seen = by_name[f"images/v{number}.png"]
        assert seen["png"].size == (100, 48)
        boxes = [[37.0, 2.0, 3.0, 4.0]] if row["boxes"] else []
        assert seen["json"]["boxes"] == boxes
        assert seen["json"]["has_mask"] == ("mask" in row)
        colours = sorted(seen["mask.png"].getcolors())
        assert colours == ([(1728, 0), (3072, 3)] if "mask" in row else [(4800, 255)])
        assert seen["json"]["note"] in (row.get("note"), row.get("note") or "")
    originals = [row for name, row in by_name.items() if name.startswith("originals/")]
    assert {Path(row["json"]["file_name"]).suffix for row in originals} == {".png", ".jpg"}
    assert all(row["png"].size == (64, 48) for row in originals)
    samples = _samples(sorted(map(str, (into / "train").iterdir())))
    assert len({frozenset(sample) - {"__url__", "__key__"} for sample in samples}) == 1
    assert any("3 pictures are named .png in the tar files" in note for note in told.notes)


def test_rows_that_are_alike_stay_in_their_order_in_the_tar_files(shelf: Shelf) -> None:
    a_street(shelf, sources=3)
    told, into = exported(shelf, "webdataset")
    assert [path.name for path in (into / "train").iterdir()] == ["00000.tar"]
    assert told.notes == (
        "where the source does not lie, masks say 0 (6 masks); --mask-outside N says it otherwise",
    )


def _samples(urls: list[str]) -> list[dict[str, Any]]:
    """What webdataset reads. It leaves closing its files to Python, which would warn in some later test."""
    import webdataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
        gc.collect()
    return found


def _metadata(shelf: Shelf) -> str:
    with closing(database.open_for_reading(shelf.output / ".batcher" / "ledger.sqlite")) as connection:
        return "\n".join(json.dumps(line) for line in records.delivered(connection))


def _pixel(path: Path) -> Any:
    with Image.open(path) as picture:
        return picture.getpixel((50, 20))


def _rows(into: Path, form: ExportFormat) -> list[dict[str, Any]]:
    """Every row of an export, and its split."""
    rows = []
    if form == "voc":
        for path in into.glob("metadata_*.jsonl"):
            found = [json.loads(line) for line in path.read_text().splitlines()]
            assert all((into / row["file_name"]).is_file() for row in found)
            rows += [
                {**row, "file_name": Path(row["file_name"]).name, "split": path.stem[9:]} for row in found
            ]
        return rows
    for split in (path for path in (into / "images" if form == "yolo" else into).iterdir() if path.is_dir()):
        if form in ("coco", "yolo"):
            if not (split / "metadata.jsonl").exists():
                continue
            found = [json.loads(line) for line in (split / "metadata.jsonl").read_text().splitlines()]
            assert all((split / row["file_name"]).is_file() for row in found)
        elif form == "imagefolder":
            found = [json.loads(line) for line in (split / "metadata.jsonl").read_text().splitlines()]
            for row in found:
                assert (split / row["file_name"]).is_file()
                assert "mask_file_name" not in row or (split / row["mask_file_name"]).is_file()
        elif form == "parquet":
            from pyarrow import parquet

            found = [row for path in split.iterdir() for row in parquet.read_table(path).to_pylist()]
        else:
            found = []
            for path in split.iterdir():
                with tarfile.open(path) as tar:
                    found += [json.load(tar.extractfile(n)) for n in tar.getnames() if n.endswith(".json")]
        rows += [{**row, "split": split.name} for row in found]
    return rows
