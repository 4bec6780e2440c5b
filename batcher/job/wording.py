"""Values and names in the sentences of problems: what stands there, what it is, what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

MAX_VALUE_CHARS = 60
"""Characters of a value that a sentence shows."""


def shown(value: Any) -> str:
    """The value as Python spells it, cut to what a line holds."""
    if isinstance(value, int) and not -(10**MAX_VALUE_CHARS) < value < 10**MAX_VALUE_CHARS:
        return "this number"  # Python refuses to spell the longest ones
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 3]}..."


def described(value: Any) -> str:
    """A value and what it is."""
    if value is None:
        return "nothing (the key is empty)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, int | float):
        return f"the number {shown(value)}"
    return "a list" if isinstance(value, list | tuple) else "`key: value` lines"


def none_of(value: Any, words: Sequence[str]) -> str:
    """The sentence for a value that is none of `words`, with the one that was probably meant."""
    meant = nearest(value, words) if isinstance(value, str) else None
    guess = f"; did you mean {meant}?" if meant else ""
    return f"{shown(value)} is not one of {', '.join(words)}{guess}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, or None when none comes close."""
    import difflib  # only a mistake needs it, and start-up is measured

    meant = _folded(name)
    by_folded = {_folded(one): one for one in names}
    close = difflib.get_close_matches(meant, by_folded, n=1, cutoff=0.6)
    # `image` for input_image, `steps` for num_inference_steps: the names of a sister model.
    sisters = [one for one in by_folded if len(meant) > 2 and (meant in one or one in meant)]
    best = close or sorted(sisters, key=len)
    return by_folded[best[0]] if best else None


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")
