"""A model and its parameters, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from batcher.geometry import Geometry

Type = Literal["string", "integer", "number", "boolean"]
Media = Literal["image", "mask"]
Role = Literal["seed", "count"]
Api = Literal["v1", "v2"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of a request body.

    `default` is what the model takes when the key is absent (None: not documented). The range
    includes both ends. `allowed` is empty where any value passes; `complete` is False where the page
    spells out only some of the allowed values, `allowed_total` of them in all. `media` marks an input
    picture, `role` the seed and the parameter that counts the images of one request; `many`: it takes a
    list of such values.
    """

    name: str
    type: Type
    required: bool = False
    default: str | int | float | bool | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    allowed: tuple[str | int | float, ...] = ()
    complete: bool = True
    allowed_total: int | None = None
    media: Media | None = None
    role: Role | None = None
    description: str = ""
    many: bool = False


@dataclass(frozen=True)
class Model:
    """One model of the catalogue.

    `api` is the endpoint version to submit to, `seconds` the typical time of one request, `price` the
    credits of one image (None: the page does not say), `source` the page's address, `example` the
    page's example request. `geometry` says where the source lies in the output (None: not known).
    """

    slug: str
    title: str = field(default="", hash=False)
    api: Api = field(default="v2", hash=False)
    seconds: float | None = field(default=None, hash=False)
    price: float | None = field(default=None, hash=False)
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)
    description: str = field(default="", hash=False)
    source: str = field(default="", hash=False)
    example: Mapping[str, Any] = field(default_factory=dict, hash=False)
    geometry: Geometry | None = field(default=None, hash=False)

    @property
    def media(self) -> tuple[str, ...]:
        """Names of the parameters that hold an input picture."""
        return tuple(p.name for p in self.parameters.values() if p.media)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that no request may lack."""
        return tuple(p.name for p in self.parameters.values() if p.required)

    @property
    def seed(self) -> str | None:
        """Name of the parameter that makes the result repeatable."""
        return self._in_role("seed")

    @property
    def count(self) -> str | None:
        """Name of the parameter that says how many images one request gives."""
        return self._in_role("count")

    def _in_role(self, role: Role) -> str | None:
        return next((p.name for p in self.parameters.values() if p.role == role), None)


def count(model: Model | None, params: Mapping[str, Any]) -> int:
    """How many images one request with these parameters gives; 1 where the catalogue cannot tell."""
    name = model.count if model else None
    if model is None or name is None:
        return 1
    value = params.get(name, model.parameters[name].default)
    return value if isinstance(value, int) and value > 0 else 1


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, or None when none comes close."""
    import difflib  # only a mistake needs it, and start-up is measured

    meant = _folded(name)
    by_folded = {_folded(known): known for known in names}
    close = difflib.get_close_matches(meant, by_folded, n=1, cutoff=0.6)
    # `image` for input_image, `steps` for num_inference_steps: the names of a sister model.
    sisters = [known for known in by_folded if len(meant) > 2 and (meant in known or known in meant)]
    best = close or sorted(sisters, key=len)
    return by_folded[best[0]] if best else None


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")
