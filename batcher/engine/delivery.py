"""From a result to files under their final names, each step recorded.

Rule: a name is on disk in the ledger before the file has it; a file at a task's own name with the recorded
sha256 is that task's file, whoever put it there before a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from batcher import errors
from batcher.api.signal import Signal
from batcher.api.wire import Output
from batcher.engine.picture_checks import PictureChecks
from batcher.engine.submission_ages import FILES_END, SubmissionAges
from batcher.ledger import repairs
from batcher.ledger.entries import OutputFile, TaskEntry, current_submission
from batcher.ledger.ledger import Ledger
from batcher.storage.destination import IMAGES, REJECTED
from batcher.storage.download import OutputFolder, VerifiedFile, verify_delivered, verify_spooled
from batcher.storage.workers import Transfers


class Delivery:
    """Has the pictures of ready tasks fetched and published, those of the oldest submissions first.

    `changed` is notified when the number under way changes.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: OutputFolder,
        transfers: Transfers,
        checks: PictureChecks,
        *,
        ages: SubmissionAges,
        changed: Signal,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._transfers = transfers
        self._checks = checks
        self._ages = ages
        self._changed = changed
        self.under_way = 0
        self._gone: set[int] = set()
        self._never_had: dict[int, set[int]] = {}

    async def spool(self, submission: int, outputs: Sequence[Output]) -> list[tuple[Output, str | None]]:
        """Bytes that came inside an answer go to the spool, on disk before this returns, the first one last:
        where it is, all are. Raises DiskError."""
        named = self.spool_names(submission, outputs)
        for output, name in reversed(named):
            if output.data is not None and name is not None:
                await self._folder.keep(output.data, name)
        return named

    def spool_names(self, submission: int, outputs: Sequence[Output]) -> list[tuple[Output, str | None]]:
        """The outputs of an answer, each with the name in the spool of the bytes that came inside it."""
        return [
            (output, None if output.data is None else _spool_name(submission, position))
            for position, output in enumerate(outputs)
        ]

    async def keep_answer(self, submission: int, answer: bytes) -> str:
        """An answer that is not understood, for people to read: its path below the output folder."""
        return await self._folder.keep_answer(answer, submission)

    def left_in_spool(self, submission: int) -> list[str]:
        """What an answer left in the spool before a crash, by name: all of it, however many pictures were
        asked for, or none."""
        names: list[str] = []
        while (self._folder.spool / (name := _spool_name(submission, len(names)))).exists():
            names.append(name)
        return names

    async def deliver(self, entry: TaskEntry) -> TaskEntry:
        """Brings every file of a ready task under its name; the entry, done, or rejected by a check.

        Raises DeadLink, BadDownload, StoreError, ApiError when a file cannot be had or kept now, CheckFailed
        when it cannot be judged; NotAnImage when its bytes, which came inside the answer, are none;
        DiskError.
        """
        self.under_way += 1
        self._changed.notify()
        try:
            files = self._ledger.files(entry)
            # Where a check may reject, all pictures of a task go to one folder.
            together = [files] if self._checks.can_reject else [[file] for file in files]
            failures: list[errors.TaskError] = []
            for some in together:
                try:
                    await self._deliver_some(
                        entry, [file for file in some if file.delivered_at is None], files
                    )
                except errors.TaskError as error:
                    failures.append(error)  # the others are had all the same
            if failures:
                raise _foremost(failures)
            await self._ledger.prefetch_source_facts(entry)
        finally:
            self.under_way -= 1
            self._changed.notify()
        self._gone.discard(entry.id)
        rejection = self._checks.rejection(entry)
        if rejection is None:
            entry = self._ledger.done(entry)
        else:
            by, reason = rejection
            entry = self._ledger.rejected(entry, reason, by)
            if any(file.delivered_at is not None and file.folder == IMAGES for file in files):
                self._ledger.end_moves(self._folder.destination)
        spooled = [file.spool for file in files if file.spool is not None]
        submission = entry.submission
        if submission is not None and submission.api == "v1":
            spooled += [_spool_name(submission.id, file.position) for file in files]
        if spooled:
            await self._ledger.committed()
            for name in spooled:
                (self._folder.spool / name).unlink(missing_ok=True)
        return entry

    async def leave_out_damaged(self, entry: TaskEntry) -> bool:
        """Where some pictures of a ready task came damaged inside the answer, its result is one of the others
        alone: they are delivered, and the task is told as short of these. Whether that was so."""
        files = self._ledger.files(entry)
        damaged = [file.position for file in files if await self._is_damaged(file)]
        if not 0 < len(damaged) < len(files):
            return False
        self._ledger.without(entry, damaged)
        self._ledger.note_detail(
            entry,
            f"{len(damaged)} of {len(files)} pictures came damaged: their bytes, as they came, lie in "
            ".batcher/spool",
        )
        return True

    async def _is_damaged(self, file: OutputFile) -> bool:
        if file.delivered_at is not None or file.spool is None:
            return False
        spooled = self._folder.spool / file.spool
        if not spooled.exists():
            return False
        try:
            await verify_spooled(spooled)
        except errors.BadDownload:
            return True
        return False

    def leave_out_gone(self, entry: TaskEntry) -> bool:
        """Where the end of the links took some pictures of a ready task before they were had once, its result
        is one of the others alone. Whether that was so. One that was here before can be put back by hand, or
        paid for again."""
        files = self._ledger.files(entry)
        gone = self._never_had.pop(entry.id, set()) & {file.position for file in files}
        if not 0 < len(gone) < len(files):
            return False
        self._ledger.without(entry, sorted(gone))
        self._gone.discard(entry.id)
        self._ledger.note_detail(
            entry,
            f"{len(gone)} of {len(files)} pictures are gone: no link led to them for as long as links live",
        )
        return True

    @property
    def gone(self) -> int:
        """Results of the present plan whose files nobody has any more: no run brings them, only another
        submission."""
        return len(self._gone)

    async def _deliver_some(
        self, entry: TaskEntry, wanted: Sequence[OutputFile], files: Sequence[OutputFile]
    ) -> None:
        """Fetches these files, has them judged, and gives them their names; all, or none of them."""
        found: list[tuple[OutputFile, VerifiedFile, bool]] = []
        failures: list[errors.TaskError] = []
        for file in wanted:
            try:
                found.append((file, *await self._found(entry, file, files, found)))
            except errors.TaskError as error:
                failures.append(error)
        left = [*found]
        try:
            if failures:
                raise _foremost(failures)
            for file, verified, _ in found:
                name = f"{_stem(entry, file, files)}{verified.picture.suffix}"
                await self._checks.judge(entry, file, verified, name)
            folder = IMAGES if self._checks.rejection(entry) is None else REJECTED
            while left:
                file, verified, stands = left[0]
                if not stands:
                    await self._deliver_one(entry, file, verified, folder, _stem(entry, file, files))
                self._delivered(entry, file, verified)
                del left[0]
        except errors.TaskError:
            await self._keep_found(
                entry,
                [
                    (file.position, verified)
                    for file, verified, stands in left
                    if not stands and file.spool is None
                ],
            )
            raise

    async def _keep_found(self, entry: TaskEntry, found: Sequence[tuple[int, VerifiedFile]]) -> None:
        """Whole pictures, by position, that wait for others of their result, to be judged, or for the store
        that they go to: they lie in the spool meanwhile, for the file host keeps them for 7 days alone."""
        for position, verified in found:
            if not verified.part.exists():  # another machine has it
                self._transfers.discard(verified)
                continue
            name = _spool_name(current_submission(entry).id, position)
            await self._folder.move_into_spool(verified.part, name)
            self._ledger.spooled(entry, position, name)

    def is_kept(self, file: OutputFile) -> bool:
        """Whether its bytes are here, delivered or in the spool, and no link needs to lead to them."""
        if file.delivered_at is not None:
            return True
        return file.spool is not None and (self._folder.spool / file.spool).exists()

    async def _found(
        self,
        entry: TaskEntry,
        file: OutputFile,
        files: Sequence[OutputFile],
        found: Sequence[tuple[OutputFile, VerifiedFile, bool]],
    ) -> tuple[VerifiedFile, bool]:
        """The file, verified, and whether it stands under its name already; `found`: those of its result that
        wait for it."""
        if file.name is not None and file.sha256 is not None:
            path = f"{file.folder}/{file.name}"
            if await self._contains(path, file.sha256):
                return await verify_delivered(self._folder.destination, path), True
        verified = await self._verified_file(entry, file)
        # Where bytes came inside the answer, the order of the links that the history has for them is a guess.
        guessed = file.spool is None and any(other.url is None for other in files)
        if guessed and verified.sha256 in self._inside(entry, found):
            self._transfers.discard(verified)
            raise errors.DeadLink("the link leads to another picture of its result")
        return verified, False

    def _inside(
        self, entry: TaskEntry, found: Sequence[tuple[OutputFile, VerifiedFile, bool]]
    ) -> set[str | None]:
        """The digests of those pictures of a result that came inside the answer, as far as they are known."""
        known = {file.sha256 for file in self._ledger.files(entry) if file.url is None}
        return known | {verified.sha256 for file, verified, _ in found if file.url is None}

    async def _deliver_one(
        self, entry: TaskEntry, file: OutputFile, verified: VerifiedFile, folder: str, stem: str
    ) -> None:
        for name in (
            stem,
            f"{stem}-{entry.task.key[:8]}",
            f"{stem}-{entry.task.key[:8]}-{verified.sha256[:8]}",
        ):
            if await self._publish(entry, file, verified, folder, name + verified.picture.suffix):
                return
        raise errors.BadDownload(f"every name that {entry.task.name} could have is taken")

    async def _verified_file(self, entry: TaskEntry, file: OutputFile) -> VerifiedFile:
        if file.spool is None:
            part = self._folder.part(entry.id, file.position)
            due = entry.submission.submitted_at if entry.submission is not None else 0.0
            try:
                return await self._transfers.fetch(file.url or "", part, due)
            except errors.Undecodable as error:
                raise errors.Undecodable(error.message, error.sha256, file.position) from error
            except (errors.ApiError, errors.DeadLink, errors.BadDownload) as error:
                # By now there is nothing left to be had, whatever the host answers, or does not.
                if self._ages.of(entry) >= FILES_END:
                    self._note_gone(entry)
                    if file.sha256 is None and not isinstance(error, errors.ApiError):
                        self._never_had.setdefault(entry.id, set()).add(file.position)
                raise
        spooled = self._folder.spool / file.spool
        if not spooled.exists():
            # Its file was lost after the delivery, as `batcher verify` found; a run goes on without it.
            self._note_gone(entry)
            raise errors.DeadLink("its bytes came inside the answer and are not kept")
        try:
            return await verify_spooled(spooled)
        except errors.BadDownload as error:
            raise errors.NotAnImage(error.message) from error

    def _note_gone(self, entry: TaskEntry) -> None:
        # What left the manifest is not submitted again, whoever asks.
        if self._ledger.read(repairs.in_present_plan, entry.id):
            self._gone.add(entry.id)

    async def _publish(
        self, entry: TaskEntry, file: OutputFile, verified: VerifiedFile, folder: str, name: str
    ) -> bool:
        """Whether the picture stands under `name` now. Another file's name is never taken."""
        path = f"{folder}/{name}"
        try:
            self._ledger.named(entry, file.position, name, verified.sha256, folder=folder)
            await self._ledger.committed()
            await self._transfers.publish(verified, self._folder.destination, path)
        except ValueError:
            return False
        except FileExistsError:
            if not await self._contains(path, verified.sha256):
                return False
            self._transfers.discard(verified)
        return True

    async def _contains(self, path: str, sha256: str) -> bool:
        return await asyncio.to_thread(self._folder.destination.contains, path, sha256)

    def _delivered(self, entry: TaskEntry, file: OutputFile, verified: VerifiedFile) -> None:
        self._ledger.delivered(
            entry,
            file.position,
            size=verified.size,
            width=verified.picture.width,
            height=verified.picture.height,
        )


def _stem(entry: TaskEntry, file: OutputFile, files: Sequence[OutputFile]) -> str:
    several = len(files) > 1 or file.position > 0
    return f"{entry.task.name}-{file.position}" if several else entry.task.name


def _foremost(failures: Sequence[errors.TaskError]) -> errors.TaskError:
    """The one after which something else than another try can be done."""
    for kind in (errors.NotAnImage, errors.DeadLink):
        for failure in failures:
            if isinstance(failure, kind):
                return failure
    return failures[0]


def _spool_name(submission: int, position: int) -> str:
    return f"{submission}-{position}.bytes"
