"""Faults of the pictures that a job makes: it completes and is billed as always."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from batcher.sandbox.faults.fault import Fault, Route
from batcher.sandbox.generation import GeneratedImage


@dataclass(frozen=True, slots=True)
class Generation:
    """One output of a job, and what a fault may put in its place."""

    output: GeneratedImage
    source: bytes | None
    """The picture that it was made of, encoded."""
    latest: GeneratedImage | None
    """An output of the model's job that ended last."""


class PictureFault(Fault):
    """Happens to every output of a job."""

    possible: ClassVar[frozenset[Route]] = frozenset({Route.SUBMIT, Route.SYNC})
    usual: ClassVar[frozenset[Route]] = possible

    @abstractmethod
    def play(self, picture: Generation) -> GeneratedImage:
        """What comes in place of the output."""


class BlackPicture(PictureFault):
    """A picture that is black all over, as a safety filter leaves it."""

    def play(self, picture: Generation) -> GeneratedImage:
        from batcher.sandbox.generation import retouch

        return retouch.black(picture.output)


class RepeatedPicture(PictureFault):
    """The very picture that the model's last job gave; the first job has none to repeat."""

    def play(self, picture: Generation) -> GeneratedImage:
        return picture.latest or picture.output


class UnchangedPicture(PictureFault):
    """The source again, cropped to cover the size of the output."""

    def play(self, picture: Generation) -> GeneratedImage:
        from batcher.sandbox.generation import retouch

        if picture.source is None:
            return picture.output
        return retouch.unchanged(picture.output, picture.source)


class WrongSize(PictureFault):
    """A picture that is `scale` times as wide and high as was asked for."""

    scale: Annotated[float, Field(gt=0, le=4)] = 0.5

    def play(self, picture: Generation) -> GeneratedImage:
        from batcher.sandbox.generation import retouch

        return retouch.rescaled(picture.output, self.scale)
