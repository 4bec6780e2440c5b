"""The file that a path means where none has exactly that name: a table was written on another machine.

Rule: one file alone must fit, and it is told. What only comes near is a question: did you mean?
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence

from batcher.progress.summary import several
from batcher.storage.addresses import is_stored

HELD = 16
"""Folders whose names are remembered."""
MOST_NAMES = 5_000
"""Names of a folder among which one that comes near is looked for."""


class NearFiles:
    """Looks for files of this disk by names that differ in nothing that a person sees: composed and
    decomposed letters (NFC, NFD), blanks at the ends, backslashes for slashes. It remembers folders for one
    planning."""

    def __init__(self) -> None:
        self._folders: OrderedDict[str, dict[str, list[str]]] = OrderedDict()
        self._found: dict[str, str] = {}

    def find(self, path: str) -> str | None:
        """The one file that an absolute path means at which there is none; None: none fits, or several."""
        if is_stored(path) or "\0" in path:
            return None
        place = "/"
        for part in os.path.normpath(path.replace("\\", "/")).split("/")[1:]:
            exact = os.path.join(place, part)
            if not os.path.exists(exact):
                names = self._names(place).get(_folded(part), [])
                if len(names) != 1:
                    return None
                exact = os.path.join(place, names[0])
            place = exact
        if place == path or not os.path.isfile(place):
            return None
        if len(self._found) < MOST_NAMES:
            self._found[path] = place
        return place

    def hint(self, path: str) -> str:
        """`; did you mean x.png?`, for a path at which there is no file; empty where nothing comes near."""
        if is_stored(path) or "\0" in path:
            return ""
        folder, _, name = os.path.normpath(path.replace("\\", "/")).rpartition("/")
        names = [one for group in self._names(folder or "/").values() for one in group]
        meant = _nearest(name, names) if len(names) <= MOST_NAMES else None
        return f"; did you mean {meant}?" if meant else ""

    def note(self) -> str:
        """What was found by another name, in a sentence; empty: nothing was."""
        if not self._found:
            return ""
        wanted, found = next(iter(self._found.items()))
        files = several(len(self._found), "file is", "files are")
        return f"{files} spelled otherwise on disk than in the job (first: {wanted!r} is {found!r})"

    def _names(self, folder: str) -> dict[str, list[str]]:
        """The names in a folder, by what they have in common with others that look alike."""
        names = self._folders.get(folder)
        if names is None:
            names = {}
            try:
                for name in os.listdir(folder):
                    names.setdefault(_folded(name), []).append(name)
            except OSError:
                pass
            self._folders[folder] = names
            while len(self._folders) > HELD:
                self._folders.popitem(last=False)
        return names


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """The name that was probably meant: but for case, for the suffix, or for a letter or two. Of two names
    with other numbers neither is meant by the other."""
    import difflib  # only a mistake needs it

    name, whole = _folded(name).casefold(), {_folded(one).casefold(): one for one in sorted(names)}
    stems = {os.path.splitext(one)[0]: given for one, given in whole.items()}
    if (meant := whole.get(name) or stems.get(os.path.splitext(name)[0])) is not None:
        return meant
    close = difflib.get_close_matches(name, whole, n=3, cutoff=0.85)
    return next((whole[one] for one in close if _NUMBERS.findall(one) == _NUMBERS.findall(name)), None)


_NUMBERS = re.compile("[0-9]+")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()
