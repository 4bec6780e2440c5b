"""The manifest that `batcher init` writes: it is sound, and names what lies beside the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from batcher.engine import outlook
from batcher.errors import UsageError
from batcher.job import starter
from batcher.job.catalog import Model, Parameter, models
from batcher.job.manifest import Manifest
from tests.support.manifests import parse

FEWEST, MOST = 6, 20
"""Lines of a first manifest, beyond comments."""
MODELS = {model.slug: model for model in models()}


def picture(path: Path, colour: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (16, 16), (colour % 256, 9, 9) if mode == "RGB" else 255).save(path)


def drafted(slug: str, photos: Path, folder: Path) -> tuple[Manifest, str]:
    model, found, file = MODELS[slug], starter.surroundings(str(photos)), folder / "job.yaml"
    mask = folder / "job-mask.png" if starter.needs_mask(model, found) else None
    if mask is not None:
        picture(mask, mode="L")
    text = starter.draft(model, found, file, mask=mask)
    return parse(text, str(file), folder), text


def working_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("slug", MODELS)
@pytest.mark.parametrize("masks", [True, False])
def test_every_model_of_the_catalogue_gets_a_manifest_that_is_sound(
    tmp_path: Path, slug: str, masks: bool
) -> None:
    for number in range(3):
        picture(tmp_path / f"photos/{number}.png", number)
        if masks:
            picture(tmp_path / f"masks/{number}.png", mode="L")
    job, text = drafted(slug, tmp_path / "photos", tmp_path)
    found = outlook(job, tmp_path / "out")
    assert (found.total, found.left_out) == (3, ())
    assert FEWEST <= len(working_lines(text)) <= MOST
    assert job.inputs[0].value == ("photos/",)
    assert ("mask" in job.inputs[0].companions) is masks


@pytest.mark.parametrize("slug", MODELS)
def test_every_parameter_stands_in_it_and_every_line_that_is_off_may_be_switched_on(
    tmp_path: Path, slug: str
) -> None:
    picture(tmp_path / "photos/a.png")
    _, text = drafted(slug, tmp_path / "photos", tmp_path)
    switched_on = text.replace("\n  # ", "\n  ")
    job = parse(switched_on, str(tmp_path / "job.yaml"), tmp_path)
    assert set(job.params) == set(MODELS[slug].parameters)
    outlook(job, tmp_path / "out")
    for parameter in MODELS[slug].parameters.values():
        if parameter.maximum is not None and parameter.role != "seed":
            assert f"{parameter.minimum:g} to {parameter.maximum:g}" in text


def test_masks_that_not_all_have_are_asked_of_those_only_that_a_model_needs_them_for(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"photos/{number}.jpg", number)
    for number in range(2):
        picture(tmp_path / f"masks/{number}_mask.png", mode="L")
    job, _ = drafted("sd1.5-inpainting", tmp_path / "photos", tmp_path)
    assert job.inputs[0].companions == {"mask": "masks/{{ stem }}_mask.png"}
    assert outlook(job, tmp_path / "out").total == 2
    job, _ = drafted("seg-beyond", tmp_path / "photos", tmp_path)
    assert outlook(job, tmp_path / "out").total == 3


def test_masks_and_labels_are_found_as_datasets_lay_them(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"images/train/{number}.jpg", number)
        picture(tmp_path / f"masks/train/{number}.png", mode="L")
        label = tmp_path / f"labels/train/{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    for photos in ("images/train", "images", "."):
        job, _ = drafted("seg-beyond", tmp_path / photos, tmp_path)
        assert set(job.inputs[0].companions) == {"mask", "labels"}, photos
        assert outlook(job, tmp_path / "out").total == 2


def test_masks_among_the_pictures_are_no_pictures(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"photos/{number}.png", number)
        picture(tmp_path / f"photos/{number}_mask.png", mode="L")
    job, _ = drafted("sd1.5-inpainting", tmp_path / "photos", tmp_path)
    found = outlook(job, tmp_path / "out")
    assert found.total == 2
    assert found.sample[0]["params"]["mask"].endswith("0_mask.png")


def test_masks_in_a_folder_of_the_pictures_folder_are_no_pictures(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"photos/{number}.png", number)
        picture(tmp_path / f"photos/masks/{number}.png", mode="L")
    job, _ = drafted("sd1.5-inpainting", tmp_path / "photos", tmp_path)
    assert outlook(job, tmp_path / "out").total == 2


@pytest.mark.parametrize(("text", "column"), [("a red cat", "caption"), ("0 0.5 0.5 0.1 0.1\n", "labels")])
def test_a_text_beside_a_picture_is_its_caption_or_its_boxes(tmp_path: Path, text: str, column: str) -> None:
    for number in range(2):
        picture(tmp_path / f"photos/{number}.png", number)
        (tmp_path / f"photos/{number}.txt").write_text(text)
    job, _ = drafted("seg-beyond", tmp_path / "photos", tmp_path)
    assert list(job.inputs[0].companions) == [column]
    prompts = {task["params"]["prompt"] for task in outlook(job, tmp_path / "out").sample}
    assert prompts == ({text} if column == "caption" else {MODELS["seg-beyond"].example["prompt"]})


def test_class_folders_and_metadata_are_a_dataset(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        picture(tmp_path / f"photos/{label}/1.png", len(label))
    job, _ = drafted("seg-beyond", tmp_path / "photos", tmp_path)
    assert job.inputs[0].kind.KEY == "dataset"
    assert len({task["name"] for task in outlook(job, tmp_path / "out").sample}) == 1 + 1
    picture(tmp_path / "told/1.png")
    (tmp_path / "told/metadata.csv").write_text("file_name,label\n1.png,cat\n")
    job, _ = drafted("seg-beyond", tmp_path / "told", tmp_path)
    assert job.inputs[0].kind.KEY == "dataset"
    assert outlook(job, tmp_path / "out").total == 1


@pytest.mark.parametrize("photos", ["nowhere", "empty", "empty/*.jpg"])
def test_where_there_is_no_picture_nothing_is_drafted(tmp_path: Path, photos: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="picture"):
        starter.surroundings(str(tmp_path / photos))


name = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\0"), min_size=1, max_size=12
)


@given(name.filter(lambda text: text not in (".", "..") and not text.startswith(".")))
def test_a_folder_of_whatever_name_is_named_so_that_it_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, folder: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    try:
        picture(root / folder / "a.png")
    except OSError:
        return
    job, _ = drafted("seg-beyond", root / folder, root)
    assert outlook(job, root / "out").total == 1


@given(
    st.sampled_from(["string", "integer", "number", "boolean"]),
    st.one_of(st.none(), st.text(max_size=20)),
    st.text(max_size=20),
    st.booleans(),
)
@example("string", "\x7f\x80\ufeff\u2028\U0001f600", "", False)
def test_what_a_users_own_model_says_is_never_read_as_yaml_or_as_a_template(
    tmp_path_factory: pytest.TempPathFactory, kind: str, example: str | None, described: str, required: bool
) -> None:
    parameter = Parameter("x", kind, required=required, description=described)  # type: ignore[arg-type]
    image = Parameter("image", "string", media="image", required=True)
    shown = {} if example is None or kind != "string" else {"x": example}
    model = Model("mine", title=described, parameters={"image": image, "x": parameter}, example=shown)
    root = tmp_path_factory.mktemp("root")
    picture(root / "photos/a.png")
    text = starter.draft(model, starter.surroundings(str(root / "photos")), root / "job.yaml")
    job = parse(text, str(root / "job.yaml"), root)
    assert ("x" in job.params) is required
