"""The classes of an export's objects: the numbers and names by which a form writes them.

Rule: a class keeps the number and the place that its data set gave it. Where no data set said any, names
stand in natural order, and a bare number is its own: `class_7`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from batcher.job.labels.categories import Category
from batcher.storage.addresses import natural_key

ObjectClass = int | str | None
"""What a row says of an object: a name, the number of a YOLO file without names, or nothing."""
UNNAMED = "object"
"""The class of objects of which nobody said any."""
MOST_NUMBERS = 10_000
"""Classes that are named by their numbers alone, the gaps between them included."""


class ClassTable:
    """All classes, in their order: `known` are the job's own; `met` is what its rows hold."""

    def __init__(self, known: Sequence[Category], met: Collection[ObjectClass]) -> None:
        classes = [*known]
        self._by_word: dict[ObjectClass, int] = {}
        for place, one in enumerate(classes):
            self._by_word.setdefault(one.name, place)
            self._by_word.setdefault(one.id, place)
        new = [word for word in met if word not in self._by_word]
        for number in sorted(word for word in new if isinstance(word, int)):
            self._by_word[number] = len(classes)
            classes.append(Category(number, f"class_{number}"))
        names = sorted((word for word in new if isinstance(word, str)), key=natural_key)
        free = max((one.id for one in classes), default=0) + 1
        for word in (*names, *(word for word in new if word is None)):
            self._by_word[word] = len(classes)
            classes.append(Category(free, UNNAMED if word is None else word))
            free += 1
        self.classes = tuple(classes)

    def of(self, word: ObjectClass) -> Category:
        """The class that a row means."""
        return self.classes[self._by_word[word]]

    def name(self, word: ObjectClass) -> str:
        """What it is called."""
        return self.of(word).name

    def indices(self) -> dict[ObjectClass, int]:
        """The number of each class for readers that count from 0 without a gap, as YOLO's do: its own where
        all are numbered so, else its place. What stands only for its number keeps that."""
        numbers = [one.id for one in self.classes]
        if sorted(numbers) == list(range(len(numbers))) or self._are_numbers():
            return {word: self.classes[place].id for word, place in self._by_word.items()}
        return dict(self._by_word)

    def names(self) -> list[str]:
        """The names by these numbers."""
        found = {index: self.name(word) for word, index in self.indices().items()}
        return [found.get(index, f"class_{index}") for index in range(max(found, default=-1) + 1)]

    def _are_numbers(self) -> bool:
        """Whether every class is known by its number alone."""
        return bool(self.classes) and all(
            one.name == f"class_{one.id}" and 0 <= one.id < MOST_NUMBERS for one in self.classes
        )
