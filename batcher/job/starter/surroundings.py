"""What lies in a folder of pictures and beside it: masks, label files and captions of the same stems.

Rule: names decide, but for a .txt beside a picture, which is a caption or a label file: its text decides.
What fewer than half of the pictures have is not theirs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batcher.errors import UsageError
from batcher.job.diagnostics import silent
from batcher.job.sources.dataset_columns import BESIDE_SPLITS, CONTAINERS, METADATA
from batcher.job.sources.folders import is_output
from batcher.job.sources.globs import ListedFile, files_below, fixed, is_glob, matches
from batcher.job.sources.picture_files import PictureFiles
from batcher.job.starter.labelled_dataset import describes_dataset, labelled_dataset, why_no_dataset, why_not
from batcher.storage.pictures import has_picture_suffix
from batcher.storage.stores import dataset_cells, parquet_cells

LABELS, MASK, CAPTION = "labels", "mask", "caption"
LABEL_FILES = (".txt", ".xml")
IMAGES = "images"
BETWEEN = ("", "_mask", "-mask", "_seg", "_label")
"""What may stand between a picture's stem and the suffix of its mask."""
PROBED = 5
"""Texts beside pictures that are looked at."""
LARGEST = 10_000
"""Bytes of each of them."""


@dataclass(frozen=True, slots=True)
class Companion:
    """Files beside pictures: an absolute path with `{{ stem }}` (and `{{ folder }}`) in it, and how many of
    the pictures have theirs."""

    template: str
    number: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Pictures, and what belongs to them.

    `source` is the absolute path, or glob, of the pictures; `is_dataset`: it is read as one, with its labels;
    `number` of pictures (None: not counted); `companions` by their columns. `filter` keeps the pictures from
    masks among them. `unique`: no two pictures have one stem; else `name` tells them apart.
    """

    source: str
    number: int | None = None
    is_dataset: bool = False
    companions: dict[str, Companion] = field(default_factory=dict)
    filter: str = ""
    name: str = ""


def surroundings(photos: str) -> Surroundings:
    """What a person means by a folder, a glob or one picture. Raises UsageError where no picture is there."""
    path = os.path.abspath(os.path.expanduser(photos))
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the name of {photos!r} is not UTF-8; rename it") from None
    try:
        return _found(path, photos)
    except OSError as error:
        raise UsageError(f"{error.filename or photos} cannot be read: {error.strerror}") from None


def _found(path: str, photos: str) -> Surroundings:
    if (described := labelled_dataset(path)) is not None:
        return Surroundings(described.path, described.number, is_dataset=True, name=described.name)
    if describes_dataset(path):
        raise UsageError(why_not(path, photos))
    if os.path.isdir(path):
        if dataset_cells.is_saved_dataset(path) or _is_described(path):
            return Surroundings(path, is_dataset=True)
        return _of_folder(path, photos)
    if parquet_cells.is_parquet_file(path):
        return Surroundings(path, is_dataset=True)
    if os.path.isfile(path) and has_picture_suffix(path):
        return _with_companions(path, os.path.dirname(path), [ListedFile(path, "")])
    if is_glob(path) and os.path.isdir(fixed(path)):
        pictures = [file for file in matches(path, silent) if has_picture_suffix(file.path)]
        if pictures:
            return _with_companions(path, fixed(path), pictures)
        raise UsageError(f"no picture is named as {photos} says")
    if os.path.isfile(path):
        raise UsageError(why_no_dataset(path, photos))
    raise UsageError(f"there is no folder of pictures {photos}")


def _is_described(folder: str) -> bool:
    """Whether its metadata, or Parquet with pictures inside, say what is in it."""
    names = [entry.name for entry in os.scandir(folder)]
    return any(name in METADATA or parquet_cells.is_parquet_file(f"{folder}/{name}") for name in names)


def _of_folder(folder: str, photos: str) -> Surroundings:
    if is_output(folder) and os.path.isdir(f"{folder}/{IMAGES}"):
        folder = f"{folder}/{IMAGES}"
    files = _pictures(folder)
    beside = [file for file in files if file.folder.partition("/")[0].lower() in BESIDE_SPLITS]
    if beside:
        # Its masks lie in it: they are no pictures of their own.
        inner = next((name for name in os.listdir(folder) if name.lower() in CONTAINERS), None)
        files = _pictures(f"{folder}/{inner}") if inner else [file for file in files if not file.folder]
        if inner and files:
            return _with_companions(f"{folder}/{inner}", f"{folder}/{inner}", files)
        suffixes = sorted({os.path.splitext(file.path)[1] for file in files})
        pattern = f"*{suffixes[0]}" if len(suffixes) == 1 else f"*{{{','.join(suffixes)}}}"
        if files and not is_glob(folder):
            return _with_companions(f"{folder}/{pattern}", folder, files)
    if not files:
        raise UsageError(f"no picture is in {photos}")
    return _with_companions(folder, folder, files)


def _pictures(folder: str) -> list[ListedFile]:
    takes = PictureFiles(folder, silent).takes
    return [file for file in files_below(folder, silent) if takes(file.path)]


def _with_companions(source: str, folder: str, files: list[ListedFile]) -> Surroundings:
    filters = ""
    stems = {os.path.splitext(file.path)[0] for file in files}
    for between in BETWEEN[1:]:
        masks = {stem for stem in stems if stem.endswith(between) and stem.removesuffix(between) in stems}
        if masks and 2 * len(masks) >= len(stems) - len(masks):
            files = [file for file in files if os.path.splitext(file.path)[0] not in masks]
            filters = f"{{{{ not stem.endswith('{between}') }}}}"
    pictures = [(file.folder, _stem(file.path)) for file in files]
    companions = {
        name: found
        for name, folders, betweens in (
            (MASK, _beside(folder, "masks", "mask"), BETWEEN),
            (LABELS, _beside(folder, "labels", "label", "Annotations", "annotations"), ("",)),
        )
        if (found := _best(pictures, folders, betweens, labels=name == LABELS)) is not None
    }
    if filters:
        found = _best(pictures, [folder], BETWEEN[1:], labels=False)
        companions |= {MASK: found} if found is not None else {}
    texts = _best(pictures, [folder], ("",), labels=True)
    if texts is not None:
        is_xml = texts.template.lower().endswith(LABEL_FILES[1])
        companions[LABELS if is_xml or _holds_boxes(files) else CAPTION] = texts
    labelled = source == folder and not companions and _has_class_folders(files)
    return Surroundings(source, len(files), labelled, companions, filters, _name(pictures))


def _beside(folder: str, *names: str) -> list[str]:
    """The folders in which a picture's mask or label file may lie."""
    above, own = os.path.split(folder)
    places = [f"{above}/{name}" for name in names]
    places += [f"{above}/{own}{sign}{name}" for name in names for sign in "_-"]
    places += [f"{folder}/{name}" for name in names]
    parts = folder.split("/")
    for index, part in enumerate(parts):
        if part.lower() in CONTAINERS:
            places += ["/".join([*parts[:index], name, *parts[index + 1 :]]) for name in names]
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def _best(
    pictures: list[tuple[str, str]], folders: Iterable[str], betweens: Iterable[str], *, labels: bool
) -> Companion | None:
    """The way of naming by which most pictures have a file in one of the folders; at least half of them."""
    found = Counter[str]()
    for folder in folders:
        if any(sign in folder for sign in ("{{", "{%", "{#")):
            continue  # it would be read as a template
        names = _names(folder, labels=labels)
        suffixes = sorted({os.path.splitext(name)[1] for name in names})
        for suffix in suffixes:
            for between in betweens:
                flat = sum(f"{stem}{between}{suffix}" in names for _, stem in pictures)
                found[f"{folder}/{{{{ stem }}}}{between}{suffix}"] = flat
                nested = sum(f"{below}/{stem}{between}{suffix}" in names for below, stem in pictures if below)
                if nested > flat:
                    found[f"{folder}/{{{{ folder }}}}/{{{{ stem }}}}{between}{suffix}"] = nested
    best = found.most_common(1)
    return Companion(*best[0]) if best and 2 * best[0][1] >= len(pictures) else None


def _names(folder: str, *, labels: bool) -> set[str]:
    """The files in a folder and below that may be companions, relative to it."""
    return {
        f"{file.folder}/{name}" if file.folder else name
        for file in files_below(folder, silent)
        for name in (os.path.basename(file.path),)
        if (name.lower().endswith(LABEL_FILES) if labels else has_picture_suffix(name))
    }


def _holds_boxes(files: list[ListedFile]) -> bool:
    """Whether the texts beside the first pictures are numbers: label files, no captions."""
    texts = list(_texts(files))
    return bool(texts) and all(_BOXES.fullmatch(text) for text in texts)


_BOXES = re.compile(r"(?:[-+.0-9eE]+(?:[ \t]+[-+.0-9eE]+){4,}\s*)*")


def _texts(files: list[ListedFile]) -> Iterator[str]:
    paths = (Path(file.path).with_suffix(".txt") for file in files)
    for path in [path for path in paths if path.is_file()][:PROBED]:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield file.read(LARGEST)


def _has_class_folders(files: list[ListedFile]) -> bool:
    """Whether each picture lies in a folder of its class."""
    folders = {file.folder for file in files}
    return "" not in folders and len(folders) > 1


def _name(pictures: list[tuple[str, str]]) -> str:
    """The output name that tells pictures of one stem apart; empty: the stem does."""
    if len({stem.casefold() for _, stem in pictures}) == len(pictures):
        return ""
    by_folder = {f"{folder}-{stem}".casefold() for folder, stem in pictures}
    return "{{ folder }}-{{ stem }}" if len(by_folder) == len(pictures) else "{{ folder }}-{{ name }}"


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
