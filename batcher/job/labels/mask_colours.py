"""A mask of classes that goes to a model as the mask of what is painted anew: told in the plan.

Rule: such a mask is black and white, or greys between. The palette of a segmentation, or its small numbers,
are seen as nearly black: nothing would be painted, or something else. It is paid for, so it is said before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batcher.storage.addresses import is_stored, is_url
from batcher.task import Task

LOOKED_AT = 24
"""Masks of one plan that are opened: those of one job are alike."""
SIDE = 512
"""Pixels a side, beyond which every n-th is looked at."""
GREY = 24
"""By so much the channels of a grey may differ: JPEG leaves no grey as it was."""
FEW = 0.002
"""A share of coloured pixels that is noise."""
DARK = 0.25
"""Of white; a mask that is nowhere lighter is none of black and white."""
GREYS: Mapping[str, tuple[int, Any]] = {
    "1": (255, "B"),
    "L": (255, "B"),
    "I;16": (65_535, "H"),
    "I": (65_535, "i"),
}
"""Modes of one channel: the white of each, and the form of its cells."""


class MaskColours:
    """Looks at the masks of the first tasks. `parameters` are those that take a mask."""

    def __init__(self, parameters: Iterable[str]) -> None:
        self._parameters = tuple(parameters)
        self._seen: dict[str, str] = {}

    def seen(self, tasks: Iterable[Task]) -> Iterable[Task]:
        """The tasks as they come, whose masks are looked at."""
        return self._looked_at(tasks) if self._parameters else tasks

    def _looked_at(self, tasks: Iterable[Task]) -> Iterator[Task]:
        for task in tasks:
            self.look(task)
            yield task

    def look(self, task: Task) -> None:
        """Looks at the masks of a task, each once."""
        if len(self._seen) >= LOOKED_AT:
            return
        for name in self._parameters:
            path = task.params.get(name)
            if name in task.media and isinstance(path, str) and path not in self._seen:
                self._seen[path] = "" if is_stored(path) or is_url(path) else what_is_wrong(path)

    def sentence(self) -> str:
        """What is to be told; empty: nothing."""
        wrong = {path: why for path, why in self._seen.items() if why}
        if not wrong:
            return ""
        path, why = next(iter(wrong.items()))
        more = f" ({len(wrong)} of the first {len(self._seen)} masks are such)" if len(self._seen) > 1 else ""
        return f"{path} goes as the mask of what is painted anew (white) and kept (black): {why}{more}"


def what_is_wrong(path: str) -> str:
    """Why the picture at this path is no mask in black and white, in words; empty: it is one, or cannot be
    read (that is told where it is sent)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            step = max(1, -(-max(image.size) // SIDE))
            small = image.resize(
                (max(1, image.width // step), max(1, image.height // step)), Image.Resampling.NEAREST
            )
            return _of_greys(small) if small.mode in GREYS else _of_colours(small)
    except Exception:  # a decoder may raise anything on foreign bytes
        return ""


def _of_colours(image: Any) -> str:
    counted = image.convert("RGB").getcolors(SIDE * SIDE) or []
    total = sum(number for number, _ in counted)
    coloured = sum(number for number, colour in counted if max(colour) - min(colour) > GREY)
    if coloured > FEW * total:
        colours = "more than 256 colours" if len(counted) > 256 else f"{len(counted)} colours"
        return f"{'1 colour' if len(counted) == 1 else colours}, not black and white"
    return _of_greys(image.convert("L"))


def _of_greys(image: Any) -> str:
    white, cell = GREYS[image.mode]
    low, high = image.getextrema()
    if low == high or high > DARK * white:
        return ""
    shades = len(set(memoryview(image.tobytes()).cast(cell)))
    return f"{shades} shades, the lightest {high} of {white}, not black and white"
