"""Links that lead nowhere are had anew, from the result, then from the history.

Rule: a file gets the link of its own picture, known by its name or by its place in the result, or none: no
picture may come twice, and another not at all. One whose bytes are here keeps them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from batcher.api.wire import Output
from batcher.engine.delivery import Delivery
from batcher.engine.lifecycle.expired_records import ExpiredRecords
from batcher.ledger.entries import OutputFile, TaskEntry, current_submission
from batcher.ledger.ledger import Ledger

FRUITLESS_LOOKS = 3
"""After so many short results in a row of which the history names no more either, no other is looked up."""


class Relinking:
    """Gives the files of ready tasks new links."""

    def __init__(self, ledger: Ledger, delivery: Delivery, expired: ExpiredRecords) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._expired = expired
        self._completing = asyncio.Lock()
        self._fruitless = 0

    async def complete(self, entry: TaskEntry) -> None:
        """A result that tells fewer pictures than were asked for, and of which none is here yet, is what the
        history names, where that is more: an answer that is a picture has no room for others. What lies in
        the spool stays."""
        asked = current_submission(entry).images
        if asked == 1:
            return  # a ready task has a file
        files = self._ledger.files(entry)
        short = [file.position for file in files] == [*range(len(files))] and len(files) < asked
        if not short or any(file.sha256 is not None for file in files):
            return
        async with self._completing:
            if self._fruitless >= FRUITLESS_LOOKS:
                return
            outputs = (await self._expired.links(entry))[:asked]
            self._fruitless = 0 if len(outputs) > len(files) else self._fruitless + 1
        here = [file for file in files if self._delivery.is_kept(file)]
        if len(outputs) <= len(files) or len(here) not in (0, len(files)):
            return
        self._ledger.relisted(entry, outputs, keep=len(here))
        await self._ledger.committed()

    async def relink(self, entry: TaskEntry, ask: Callable[[], Awaitable[Sequence[Output]]]) -> None:
        """Links for what is not here yet: `ask` has the outputs of the result, in their order, as long as its
        record lives; where they bring nothing new, the history is asked."""
        files = self._ledger.files(entry)
        dead = {file.position: file.url for file in files if not self._delivery.is_kept(file)}
        links: Mapping[int, str] = in_result(files, await ask())
        if all(links.get(position, url) == url for position, url in dead.items()):
            outputs = await self._expired.links(entry)
            links = _in_history(entry, files, outputs)
            if self._is_relisted(files, outputs, links):
                self._ledger.relisted(entry, outputs[: max(len(files), entry.task.images)])
                await self._ledger.committed()
                return
        await self._relinked(entry, {at: url for at, url in links.items() if at in dead})

    def _is_relisted(
        self, files: Sequence[OutputFile], outputs: Sequence[Output], links: Mapping[int, str]
    ) -> bool:
        """Whether a result is what the history names, in whichever order: it names more, or nothing that is
        known again, and nothing of it was ever here."""
        if any(file.sha256 is not None or self._delivery.is_kept(file) for file in files):
            return False
        left_out = [file.position for file in files] != [*range(len(files))]
        missing = not {file.position for file in files} <= links.keys()
        return len(outputs) >= len(files) and (missing or (len(outputs) > len(files) and not left_out))

    async def link_damaged(self, entry: TaskEntry) -> bool:
        """Whether the history names files for pictures that came damaged inside the answer. They take the
        place of all that came there and is not delivered: in which order it names them is not known."""
        files = self._ledger.files(entry)
        links = _in_history(entry, files, await self._expired.links(entry))
        wanted = {file.position for file in files if file.delivered_at is None}
        if not wanted <= links.keys():
            return False
        await self._relinked(entry, {at: url for at, url in links.items() if at in wanted})
        return True

    async def _relinked(self, entry: TaskEntry, links: Mapping[int, str]) -> None:
        if links:
            self._ledger.relinked(entry, links)
            await self._ledger.committed()


def _in_history(
    entry: TaskEntry, files: Sequence[OutputFile], outputs: Sequence[Output]
) -> Mapping[int, str]:
    places = [file.position for file in files]
    if all(file.url is None for file in files):
        # All came inside the answer: they are the request's outputs, in their order, or not known.
        whole = places == [*range(len(outputs))] or len(outputs) == entry.task.images
        return in_result(files, outputs) if whole else {}
    if any(file.url is None for file in files) and (guessed := _next_guess(files, outputs)):
        return guessed
    if places == [0] and len(outputs) == 1 and outputs[0].url is not None:
        return {0: outputs[0].url}
    return by_name(files, [output.url for output in outputs if output.url is not None])


def _next_guess(files: Sequence[OutputFile], outputs: Sequence[Output]) -> dict[int, str]:
    """Where a link that was guessed by the order of the history leads to another picture: the next that no
    other file has; for the first that is not here."""
    urls = [output.url for output in outputs if output.url is not None]
    for file in files:
        if file.delivered_at is None and file.spool is None and file.url in urls:
            behind = [*urls[urls.index(file.url) + 1 :], *urls[: urls.index(file.url)]]
            used = {other.url for other in files}
            if free := next((url for url in behind if url not in used), None):
                return {file.position: free}
    return {}


def in_result(files: Sequence[OutputFile], outputs: Sequence[Output]) -> dict[int, str]:
    """The links of the files, by position, as the outputs of their result name them: by their order, but
    where a name says that it is another now."""
    told = [output.url for output in outputs]
    named = by_name(files, [url for url in told if url is not None])
    if len(told) <= max((file.position for file in files), default=0):
        return named
    ordered = {file.position: url for file in files if (url := told[file.position]) is not None}
    return ordered if all(ordered.get(at) == url for at, url in named.items()) else named


def by_name(files: Sequence[OutputFile], urls: Iterable[str]) -> dict[int, str]:
    """The links of the files, by position, that end as theirs do: in the whole path, or in a file name that
    no other has."""
    links: dict[int, str] = {}
    urls = [*dict.fromkeys(urls)]
    for name_of in (_path, _file_name):
        open_ = {file.position: file.url for file in files if file.url and file.position not in links}
        wanted = Counter(name_of(url) for url in set(open_.values()))
        there = defaultdict(list)
        for url in urls:
            if url not in links.values():
                there[name_of(url)].append(url)
        for position, url in open_.items():
            name = name_of(url)
            if name and wanted[name] == 1 and len(there[name]) == 1:
                links[position] = there[name][0]
    return links


def _path(url: str) -> str:
    """Empty where it is no URL: what an answer names may be anything."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _file_name(url: str) -> str:
    return _path(url).rpartition("/")[2]
