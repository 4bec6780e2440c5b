"""Text that tries to be more than text, where names, cells and messages of others are shown."""

from __future__ import annotations

STEERING = {
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
}
"""C0 and C1 controls, ends of lines, and what turns the direction of text."""

FORGED = "batcher: all is well"
"""A line that is ours only if we print it."""

HOSTILE = f"\x1b]0;owned\x07\x1b[2J\x9b31m\x90q\x9c\u202egnp\u2066\u2028\u2029\x85\v\f\r\n{FORGED}\x7f\b\t"
"""A title, a cleared screen, colours by ESC and C1, a device control string, turned text, a forged line."""

IN_A_NAME = HOSTILE.replace("/", "")
"""The same as the name of a file: all of it is permitted there."""


def problems(shown: str) -> list[str]:
    """Lines of a terminal that hold more than text, or that we did not mean to print."""
    return [
        line
        for line in shown.removesuffix("\n").split("\n")
        if set(line) & STEERING or line.strip().startswith(FORGED)
    ]
