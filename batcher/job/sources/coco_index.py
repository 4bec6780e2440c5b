"""What stands where in a COCO file: its classes, and for each picture the places of its annotations.

Rule: a file of a million annotations is read through once, and held by its places alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import IO, Any

from batcher.job.labels import categories
from batcher.job.labels.categories import Category
from batcher.job.labels.coco_file import as_id
from batcher.job.sources import json_members

Place = tuple[int, int]
"""Where an entry stands: bytes from the start of the file, and how many it has."""
LISTS = ("images", "annotations", "categories")


class CocoIndex:
    """The places in a COCO file, which stays open. `annotated`: it has a list of annotations, be it empty;
    one that only names pictures (of a test set) has none."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises NoJson, LabelError, OSError; ValueError where it is no COCO file."""
        self._file = file
        self._images = array("Q")
        self._annotations: dict[Any, array[int]] = {}
        classes = array("Q")
        lists = set()
        known = set()
        for member in json_members.members(file):
            if not member.size and member.key in LISTS:
                lists.add(member.key)
            if not member.size or member.key not in lists:
                continue
            if member.key == "images":
                self._images.extend((member.offset, member.size))
                known.add(_id(member.value, "id"))
            elif member.key == "annotations":
                of = _id(member.value, "image_id")
                self._annotations.setdefault(of, array("Q")).extend((member.offset, member.size))
            else:
                classes.extend((member.offset, member.size))
        if "images" not in lists:
            raise ValueError("is no COCO file: it has no list `images`")
        self.annotated = "annotations" in lists
        self._stray = [places for of, places in self._annotations.items() if of not in known]
        self.categories: tuple[Category, ...] = ()
        if "categories" in lists:
            self.categories = categories.of_coco(
                [json_members.read(file, *place) for place in _pairs(classes)]
            )

    def __len__(self) -> int:
        return len(self._images) // 2

    def images(self) -> Iterator[tuple[Any, int]]:
        """Each entry of `images`, and where it stands. Raises ValueError, OSError."""
        for place in _pairs(self._images):
            yield json_members.read(self._file, *place), place[0]

    def annotations(self, image: Any) -> list[tuple[Any, int]]:
        """The annotations of the picture of this id, and where each stands. Raises ValueError, OSError."""
        places = self._annotations.get(as_id(image))
        if places is None and isinstance(image, str):
            places = self._annotations.get(image.encode(errors="replace").decode("latin-1"))
        return [(json_members.read(self._file, *place), place[0]) for place in _pairs(places or ())]

    def strays(self) -> tuple[int, Any]:
        """How many annotations are of no picture that the file names, and the id of the first."""
        number = sum(len(places) // 2 for places in self._stray)
        if not number:
            return 0, None
        first = min(place for places in self._stray for place in _pairs(places))
        return number, _id(json_members.read(self._file, *first), "id")

    @property
    def all_stray(self) -> bool:
        """Whether the file has pictures and annotations, and no annotation is of a picture."""
        return bool(self._images and self._stray) and len(self._stray) == len(self._annotations)

    def line(self, offset: int) -> int:
        """The line of a place."""
        return json_members.line_at(self._file, offset)


def _pairs(numbers: array[int] | tuple[()]) -> Iterator[Place]:
    for at in range(0, len(numbers), 2):
        yield numbers[at], numbers[at + 1]


def _id(value: Any, key: str) -> int | str | None:
    return as_id(value.get(key) if isinstance(value, dict) else None)
