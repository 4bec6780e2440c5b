"""The checks of the manifest: what is said of a picture before it gets its final name.

Rule: what is found is decided by pure functions from what was decoded anyway; only `unchanged` and `command`
open the file again. The verdict is in the ledger before the file has its name.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from batcher import errors
from batcher.engine.judge_command import Judge
from batcher.job import geometry
from batcher.job.geometry import Geometry, Size
from batcher.job.manifest import Manifest
from batcher.job.manifest.grammar import Checks
from batcher.ledger import check_verdicts, records
from batcher.ledger.check_verdicts import CheckVerdict
from batcher.ledger.entries import OutputFile, TaskEntry
from batcher.ledger.ledger import Ledger
from batcher.ledger.plan_models import present_geometry
from batcher.storage import look, stores
from batcher.storage.destination import IMAGES
from batcher.storage.download import OutputFolder, VerifiedFile
from batcher.task import Task, value_at

ROUNDED = 8
"""Pixels: models round to multiples of so many, and a picture that differs by less has the size asked for."""

BLANK = "nearly one colour"
DUPLICATE = "the same picture as another result"


def decide(findings: Mapping[str, str], checks: Checks, duplicate_of: str | None = None) -> CheckVerdict:
    """The verdict on a picture by what is to be said of it: sentences by the name of the check."""
    said = {check: f"{check}: {sentence}" for check, sentence in findings.items()}
    rejecting = next((check for check in said if getattr(checks, check) == "reject"), "")
    return CheckVerdict(
        warnings=tuple(text for check, text in said.items() if getattr(checks, check) == "warn"),
        rejected_by=rejecting,
        reason=said.get(rejecting, ""),
        duplicate_of=duplicate_of,
    )


def wrong_size(size: Size, expected: Size | None) -> str:
    """In which way a picture is not as large as was asked for, in words; empty: it is, or nobody asked."""
    if expected is None or all(abs(one - other) < ROUNDED for one, other in zip(size, expected, strict=True)):
        return ""
    return f"{size[0]} x {size[1]} pixels, asked for {expected[0]} x {expected[1]}"


class PictureChecks:
    """Judges the pictures of one job."""

    def __init__(self, job: Manifest, ledger: Ledger, folder: OutputFolder) -> None:
        self._checks = job.checks
        self._ledger = ledger
        self._folder = folder
        self._is_on = any(setting != "off" for _, setting in job.checks)
        self._judge = None if job.checks.command == "off" else Judge(job.checks.command, job.folder)

    @property
    def can_reject(self) -> bool:
        """Whether all pictures of a task are to be judged before the first of them has its name."""
        return self._checks.can_reject

    def rejection(self, entry: TaskEntry) -> tuple[str, str] | None:
        """The check that rejected a picture of this task, and why; None: none did."""
        return self._ledger.read(check_verdicts.rejection, entry.id) if self.can_reject else None

    async def judge(self, entry: TaskEntry, file: OutputFile, verified: VerifiedFile, name: str) -> None:
        """Judges a picture that is about to be called `name`; the verdict is in the ledger when this returns.

        Raises CheckFailed when the program that judges fails itself.
        """
        place = (entry.id, file.position, verified.sha256)
        if not self._is_on or self._ledger.read(check_verdicts.judged, *place) is not None:
            return
        found = await self._found(entry, verified)
        reason = None
        if self._judge is not None and not decide(found, self._checks).rejected_by:
            reason = await self._asked(self._judge, entry, file, verified, name)
        # From here to the record nothing is awaited: of two equal pictures one is the earlier.
        cells, twin = verified.picture.look, None
        is_compared = self._checks.duplicate != "off" and bool(cells)
        if is_compared and "blank" not in found:
            twin = self._ledger.read(check_verdicts.like, *place, cells)
            if twin is not None:
                found["duplicate"] = DUPLICATE
        verdict = decide(found, self._checks, twin)
        if reason is not None and not verdict.rejected_by:
            verdict = replace(verdict, rejected_by="command", reason=f"command: {reason}")
        if is_compared or self._judge is not None or verdict != CheckVerdict():
            self._ledger.judged(
                entry, file.position, verified.sha256, cells, verdict, is_compared=is_compared
            )

    async def _found(self, entry: TaskEntry, verified: VerifiedFile) -> dict[str, str]:
        """What is to be said of it by itself."""
        checks, picture = self._checks, verified.picture
        found: dict[str, str] = {}
        if checks.blank != "off" and look.is_blank(picture.look):
            found["blank"] = BLANK
        if checks.size != "off" and self._rule is not None:
            source = self._ledger.source_size(entry) if self._rule.margins else None
            asked = geometry.asked_size(self._rule, entry.task.params, source)
            if sentence := wrong_size((picture.width, picture.height), asked):
                found["size"] = sentence
        if checks.unchanged != "off" and "blank" not in found:
            sentence = await self._unchanged(entry, verified)
            if sentence:
                found["unchanged"] = sentence
        return found

    @cached_property
    def _rule(self) -> Geometry | None:
        return self._ledger.read(present_geometry)

    async def _unchanged(self, entry: TaskEntry, verified: VerifiedFile) -> str:
        source, mask = _inputs(entry.task)
        if source is None:
            return ""  # known by its URL alone
        placed = None
        size = (verified.picture.width, verified.picture.height)
        if self._rule is not None and (known := self._ledger.source_size(entry)) is not None:
            placement = geometry.place(self._rule, entry.task.params, known, size)
            if placement is not None:
                placed = (placement.x, placement.y, placement.width, placement.height)
        return await asyncio.to_thread(_compared, verified.part, source, mask, placed)

    async def _asked(
        self, judge: Judge, entry: TaskEntry, file: OutputFile, verified: VerifiedFile, name: str
    ) -> str | None:
        """What the program says against it; None: nothing."""
        picture = verified.picture
        line = self._ledger.read(
            records.coming,
            entry.id,
            file.position,
            f"{IMAGES}/{name}",
            verified.sha256,
            (picture.width, picture.height),
        )
        shown = self._folder.parts / f"{entry.id}-{file.position}-judged{picture.suffix}"
        with suppress(FileNotFoundError):
            shown.unlink()
        await asyncio.to_thread(_linked, verified.part, shown)
        try:
            return await judge.ask(shown, json.dumps(line, ensure_ascii=False))
        finally:
            shown.unlink(missing_ok=True)


def _inputs(task: Task) -> tuple[str | None, str | None]:
    """The paths of the picture that was edited, and of its mask, where they are files."""
    paths = {name: str(value_at(task.params, name)) for name in task.media}
    source = next((path for name, path in paths.items() if "mask" not in name), None)
    return source, next((path for name, path in paths.items() if "mask" in name), None)


def _compared(part: Path, source: str, mask: str | None, placement: tuple[int, int, int, int] | None) -> str:
    """Nothing is said of a source that is gone, or is no picture any more."""
    try:
        with open(part, "rb") as picture, stores.open_address(source) as before:
            if mask is None:
                return look.unchanged(picture, before, None, placement)
            with stores.open_address(mask) as white:
                return look.unchanged(picture, before, white, None)
    except Exception:  # foreign bytes: decoders raise whatever a damaged field leads to
        return ""


def _linked(part: Path, target: Path) -> None:
    """The same file under a name that ends as its bytes do: a program may go by that."""
    import shutil

    try:
        os.link(part, target)
    except OSError:
        try:
            shutil.copyfile(part, target)
        except OSError as error:
            raise errors.DiskError(f"{target}: {error.strerror or error}") from error
