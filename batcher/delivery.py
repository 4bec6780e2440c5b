"""From a result to files under their final names, each step recorded.

Law: a name is on disk in the ledger before the file has it; a file at a task's own name with the recorded
sha256 is that task's file, whoever put it there before a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from batcher import errors
from batcher.carrying import Carrier
from batcher.download import Folder, Landed, adopt, found
from batcher.ledger.entries import Entry, File
from batcher.ledger.writer import Ledger
from batcher.wire import Output

KEPT_SECONDS = 7 * 86_400.0
"""So long the provider's file hosts keep the files of a result."""


class Delivery:
    """Has the pictures of ready tasks fetched and settled, those of the oldest submissions first.

    `changed` is told when the number waiting or under way changes.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: Folder,
        carrier: Carrier,
        *,
        changed: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._carrier = carrier
        self._changed = changed
        self.under_way = 0
        self._gone: set[int] = set()

    async def spooled(self, submission: int, outputs: Sequence[Output]) -> list[tuple[Output, str | None]]:
        """Bytes that came inside an answer go to the spool, on disk before this returns."""
        kept: list[tuple[Output, str | None]] = []
        for position, output in enumerate(outputs):
            name = None
            if output.data is not None:
                name = await self._folder.keep(output.data, f"{submission}-{position}.bytes")
            kept.append((output, name))
        return kept

    def left_in_spool(self, submission: int, images: int) -> list[str]:
        """What an answer of so many pictures left in the spool before a crash, by name; none if not all."""
        names = [f"{submission}-{position}.bytes" for position in range(images)]
        return names if all((self._folder.spool / name).exists() for name in names) else []

    async def deliver(self, entry: Entry) -> Entry:
        """Brings every file of a ready task under its name; the entry, done.

        Raises DeadLink, BadDownload, StoreError, ApiError when a file cannot be had or kept now; NotAnImage
        when its bytes, which came inside the answer, are none; DiskError.
        """
        self.under_way += 1
        self._changed()
        try:
            files = self._ledger.files(entry)
            for file in files:
                if file.delivered_at is None:
                    await self._deliver_one(entry, file, many=len(files) > 1)
            await self._ledger.look_far(entry)
        finally:
            self.under_way -= 1
            self._changed()
        self._gone.discard(entry.id)
        entry = self._ledger.done(entry)
        spooled = [file.spool for file in files if file.spool is not None]
        if spooled:
            await self._ledger.committed()
            for name in spooled:
                (self._folder.spool / name).unlink(missing_ok=True)
        return entry

    @property
    def gone(self) -> int:
        """Results of the present plan whose files nobody has any more: no run brings them, only another
        submission."""
        return len(self._gone)

    async def _deliver_one(self, entry: Entry, file: File, *, many: bool) -> None:
        if file.name is not None and file.sha256 is not None and await self._holds(file.name, file.sha256):
            self._delivered(entry, file, await found(self._folder.destination, file.name))
            return
        landed = await self._landed(entry, file)
        stem = f"{entry.task.name}-{file.position}" if many else entry.task.name
        for name in (
            stem,
            f"{stem}-{entry.task.key[:8]}",
            f"{stem}-{entry.task.key[:8]}-{landed.sha256[:8]}",
        ):
            if await self._settled(entry, file, landed, name + landed.picture.suffix):
                self._delivered(entry, file, landed)
                return
        raise errors.BadDownload(f"every name that {entry.task.name} could have is taken")

    async def _landed(self, entry: Entry, file: File) -> Landed:
        if file.spool is None:
            part = self._folder.part(entry.id, file.position)
            due = entry.submission.submitted_at if entry.submission is not None else 0.0
            try:
                return await self._carrier.fetch(file.url or "", part, due)
            except errors.DeadLink:
                if self._ledger.now() - due >= KEPT_SECONDS:
                    self._is_gone(entry)
                raise
        spooled = self._folder.spool / file.spool
        if not spooled.exists():
            # Its file was lost after the delivery, as `batcher verify` found; a run goes on without it.
            self._is_gone(entry)
            raise errors.BadDownload("its bytes came inside the answer and are not kept")
        try:
            return await adopt(spooled)
        except errors.BadDownload as error:
            raise errors.NotAnImage(error.message) from error

    def _is_gone(self, entry: Entry) -> None:
        # What left the manifest is not submitted again, whoever asks.
        if self._ledger.in_present_plan(entry):
            self._gone.add(entry.id)

    async def _settled(self, entry: Entry, file: File, landed: Landed, name: str) -> bool:
        """Whether the picture stands under `name` now. Another file's name is never taken."""
        try:
            self._ledger.named(entry, file.position, name, landed.sha256)
            await self._ledger.committed()
            await self._carrier.settle(landed, self._folder.destination, name)
        except ValueError:
            return False
        except FileExistsError:
            if not await self._holds(name, landed.sha256):
                return False
            self._carrier.drop(landed)
        return True

    async def _holds(self, name: str, sha256: str) -> bool:
        return await asyncio.to_thread(self._folder.destination.holds, name, sha256)

    def _delivered(self, entry: Entry, file: File, landed: Landed) -> None:
        self._ledger.delivered(
            entry, file.position, size=landed.size, width=landed.picture.width, height=landed.picture.height
        )
