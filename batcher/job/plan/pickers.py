"""Value pickers of templates: `choice(...)`, `uniform(a, b)`, `randint(a, b)`, the same for a task always.

Rule: what is drawn hangs on the task's seed text, the parameter and how many draws of it came before, and on
nothing else. It is worked out from a hash, not from a generator whose stream a library may change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from batcher.job.manifest.templates import TemplateError

_STEPS = 1 << 53
"""As many as a float between 0 and 1 tells apart."""


class Picker:
    """The draws of one parameter of one task."""

    def __init__(self, seeded: str, parameter: str) -> None:
        self._seeded = f"{seeded}\n{parameter}"
        self._draws = 0

    def added_to(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of a template with the pickers among them."""
        return {**values, "choice": self.choice, "uniform": self.uniform, "randint": self.randint}

    def choice(self, *options: Any) -> Any:
        """One of the options, or of the one list that is given. Raises TemplateError."""
        among = options[0] if len(options) == 1 and isinstance(options[0], list | tuple) else options
        if not among:
            raise TemplateError("`choice` needs something to choose from, as `choice('red', 'blue')`")
        return among[self._draw() * len(among) // _STEPS]

    def uniform(self, low: Any, high: Any) -> float:
        """A number from `low` to `high`. Raises TemplateError."""
        if not all(_is_number(one) for one in (low, high)) or not low <= high:
            raise TemplateError("`uniform` takes two numbers, the smaller first, as `uniform(0.4, 0.8)`")
        # Six digits are more than any model tells apart, and read well in a body.
        drawn = round(low + (high - low) * (self._draw() / _STEPS), 6)
        return float(min(max(drawn, low), high))

    def randint(self, low: Any, high: Any) -> int:
        """A whole number from `low` to `high`, both included. Raises TemplateError."""
        if not all(isinstance(one, int) and _is_number(one) for one in (low, high)) or low > high:
            raise TemplateError("`randint` takes two whole numbers, the smaller first, as `randint(20, 40)`")
        return int(low + self._draw() * (high - low + 1) // _STEPS)

    def _draw(self) -> int:
        """The next draw, below _STEPS: each call in a template is a draw of its own."""
        drawn = blake2b(f"{self._seeded}\n{self._draws}".encode(), digest_size=8).digest()
        self._draws += 1
        return int.from_bytes(drawn) >> 11


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
