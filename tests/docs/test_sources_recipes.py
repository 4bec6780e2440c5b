"""The recipes of the pages that begin with sources, run as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from batcher.engine import load, outlook
from tests.support.buckets import MakeBucket
from tests.support.pages import DATASETS, MANIFEST, recipe, run
from tests.support.pictures import plain_picture


@pytest.mark.process
def test_a_nightly_bucket(
    tmp_path: Path, environment: dict[str, str], make_bucket: MakeBucket, s3_variables: dict[str, str]
) -> None:
    bucket = make_bucket("pictures")
    (command,) = recipe(DATASETS, "A nightly bucket", tmp_path)

    def edited() -> dict[str, str]:
        found = bucket.client.list_objects_v2(Bucket="pictures", Prefix="edited/images/").get("Contents", [])
        return {Path(one["Key"]).stem: one["LastModified"] for one in found}

    def night() -> set[str]:
        run(command, tmp_path, {**environment, **s3_variables})
        return set(edited())

    assert night() == set()
    bucket.put("inbox/first.png", plain_picture(64, 64))
    bucket.put("inbox/old/second.jpg", plain_picture(64, 48, "JPEG"))
    assert night() == {"first", "second"}
    before = edited()
    bucket.client.delete_object(Bucket="pictures", Key="inbox/first.png")
    bucket.put("inbox/third.png", plain_picture(32, 32))
    assert night() == {"first", "second", "third"}
    assert before.items() <= edited().items()
    assert run("batcher status out/nightly --json", tmp_path, environment).count('"submit": 3,') == 1


def test_the_augmentation_of_the_page_is_valid(tmp_path: Path) -> None:
    recipe(MANIFEST, "Augmentation", tmp_path)
    for number, size in enumerate(((60, 60), (60, 40), (40, 60))):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / f"photos/{number}.png").write_bytes(plain_picture(*size))
    (tmp_path / "prompts.txt").write_text("a harbour\na forest\na street\n")
    job = load(tmp_path / "wider.yaml")
    found = outlook(job, tmp_path / "out")
    assert (found.total, found.warnings) == (3 * 2 * 2, ())
    assert outlook(job, tmp_path / "out").sample == found.sample
    (first, *_) = found.sample
    assert first["params"].keys() >= {"left", "right", "top", "bottom"}
    assert re.fullmatch(r"a \w+, at (dawn|noon|night)", first["params"]["prompt"])
