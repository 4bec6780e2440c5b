"""Addresses of files: a path of this disk, a URL, or an object of a store (`s3://bucket/a.jpg`).

Rule: text alone decides; nothing is looked up.
"""

from __future__ import annotations

import os.path
import re


def is_url(text: str) -> bool:
    """Whether the API reads this itself: http, https or a data URI."""
    return text.startswith(("http://", "https://", "data:", "HTTP://", "HTTPS://"))


def has_no_host(url: str) -> bool:
    """Whether a URL of http or https names nobody to ask."""
    scheme, _, rest = url.partition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    return scheme.lower() in ("http", "https") and (not host.strip(".:") or any(map(str.isspace, host)))


def is_stored(text: str) -> bool:
    """Whether it lies in an object store (`s3://bucket/a.jpg`) or a saved dataset, not on this disk."""
    return _SCHEME.match(text) is not None and not is_url(text)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://")


def resolve(folder: str, path: str) -> str:
    """`path` from `folder`, absolute, which may be a folder of an object store; `~` is the home folder."""
    if is_stored(path):
        return path
    if is_stored(folder):
        scheme, _, below = folder.partition("://")
        return f"{scheme}:/{os.path.normpath(os.path.join('/', below, path))}"
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))


def natural_key(name: str) -> str:
    """By this names are in the order in which people count: `cat2` before `cat10`; numbers before letters.
    One text: it is compared often, and a large folder holds many."""
    return _NUMBER.sub(_rank, name)


_NUMBER = re.compile("[0-9]+")
_MOST_ZEROS = 0x7FFF


def _rank(number: re.Match[str]) -> str:
    """A number as a text that sorts as it does: NUL is before every letter, then the longer is the larger."""
    digits = number[0]
    plain = digits.lstrip("0")
    zeros = min(len(digits) - len(plain), _MOST_ZEROS)
    return f"\0{chr(1 + len(plain))}{plain}{chr(1 + (_MOST_ZEROS - zeros if plain else zeros))}"
