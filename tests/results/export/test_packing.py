"""Which pictures leave in one piece of work; and that the work may be done twice, and elsewhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import errors
from batcher.results.export import ExportOptions, Splits, export
from batcher.results.export.batches import UNFINISHED, batches_of
from batcher.results.export.items import ExportItem
from batcher.storage.workers import Item as Given
from batcher.storage.workers import Result, Threads, no_time
from tests.support.shelf import FORMS, Shelf, a_street

SIZES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 120)), max_size=60)


def item(split: str, number: int, size: int) -> ExportItem:
    return ExportItem(split, "images", f"{number}.png", f"/photos/{number}.png", {}, size)


@given(SIZES, st.integers(1, 7), st.integers(1, 200))
def test_every_picture_leaves_once_in_the_order_of_its_split_and_no_parcel_is_too_large(
    sizes: list[tuple[str, int]], most: int, most_bytes: int
) -> None:
    items = [item(split, number, size) for number, (split, size) in enumerate(sizes)]
    found = list(batches_of(items, (most, most_bytes)))
    for split in "abc":
        left = [one for parcel in found if parcel.split == split for one in parcel.items]
        assert left == [one for one in items if one.split == split]
    for parcel in found:
        assert {one.split for one in parcel.items} == {parcel.split}
        assert 1 <= len(parcel.items) <= most
        assert parcel.size == sum(one.size for one in parcel.items)
        assert parcel.size <= most_bytes or len(parcel.items) == 1


@given(SIZES)
def test_parcels_are_as_full_as_they_may_be(sizes: list[tuple[str, int]]) -> None:
    items = [item(split, number, size) for number, (split, size) in enumerate(sizes)]
    found = sorted(batches_of(items, (5, 150)), key=lambda parcel: parcel.split)
    for _, of_one in groupby(found, key=lambda parcel: parcel.split):
        in_order = sorted(of_one, key=lambda parcel: int(parcel.items[0].name.removesuffix(".png")))
        for one, after in pairwise(in_order):
            assert len(one.items) == 5 or one.size + after.items[0].size > 150


class Elsewhere(Threads):
    """Hands of another machine: what they get and give is pickled, and all is done twice, for whoever was
    first was overtaken. The first of all leaves what it had not finished."""

    remote = True

    def __init__(self, left: Path) -> None:
        self.left = left
        self.saw: list[Path] = []

    def require_shared(self, folder: Path) -> None:
        assert folder.is_dir(), "it is there before anyone is asked to write into it"
        self.saw.append(folder)

    def map(
        self,
        work: Callable[[Given], Result],
        items: Iterable[Given],
        *,
        longest: Callable[[Given], float] = no_time,
    ) -> Iterator[Result]:
        for one in items:
            assert longest(one) >= 0
            work, sent = pickle.loads(pickle.dumps((work, one)))
            work(sent)
            yield pickle.loads(pickle.dumps(work(sent)))
        self.left.mkdir(parents=True, exist_ok=True)
        (self.left / f".overtaken{UNFINISHED}").write_bytes(b"half")


@pytest.mark.parametrize("form", FORMS)
def test_whoever_packs_and_however_often_the_dataset_is_the_same(shelf: Shelf, form: Any) -> None:
    a_street(shelf)
    wishes: dict[str, Any] = {
        "to": form, "splits": Splits.parse("train=0.5,test=0.5"), "originals": True
    }  # fmt: skip
    here, there = shelf.folder / "here", shelf.folder / "there"
    workers = Elsewhere(there / "train")
    told = export(shelf.output, ExportOptions(into=here, **wishes))
    same = export(shelf.output, ExportOptions(into=there, **wishes), workers)
    assert (same.pictures, same.originals, same.masks, same.splits) == (
        told.pictures, told.originals, told.masks, told.splits,
    )  # fmt: skip
    assert workers.saw == [there]
    assert contents(there) == contents(here)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_hands_that_do_not_see_the_folder_are_an_error_and_nothing_is_written(shelf: Shelf) -> None:
    class Blind(Elsewhere):
        def require_shared(self, folder: Path) -> None:
            raise errors.UsageError("the cluster's workers do not see it")

    a_street(shelf, sources=2)
    into = shelf.folder / "dataset"
    with pytest.raises(errors.UsageError, match="do not see it"):
        export(shelf.output, ExportOptions(to="webdataset", into=into), Blind(into))
    assert contents(into) == {}


def test_a_shard_whose_pictures_are_all_gone_leaves_no_gap_in_the_numbers(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batcher.results.export.batches.SHARD_SAMPLES", 2)
    photo = shelf.photo("p.png")
    shelf.deliver(*(shelf.variant(f"v{number}", photo) for number in range(6)))
    for gone in ("v2", "v3"):
        (shelf.output / "images" / f"{gone}.png").unlink()
    into = shelf.folder / "dataset"
    told = export(shelf.output, ExportOptions(to="webdataset", into=into))
    assert (told.pictures, len(told.missing)) == (4, 2)
    assert sorted(path.name for path in (into / "train").iterdir()) == ["00000.tar", "00001.tar"]
