"""Shares of one plan come together in a normal output folder.

Rule: only complete, disjoint shares of one plan are merged. Nothing is overwritten; the ledger comes last, as
a whole, so a merge that was cut off is simply done again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from batcher import errors
from batcher.ledger import database, merge_rows, rejections
from batcher.ledger.merge_rows import Share
from batcher.results import report
from batcher.results.report import Report
from batcher.storage import destination, layout, lock, pictures
from batcher.storage.destination import IMAGES, REJECTED, Destination, disk, sync_folder
from batcher.storage.destination.local import Local, move
from batcher.storage.download import CHUNK, OutputFolder

TOLD = 20
"""Pictures that are missing, or not as delivered, which a refusal names."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What came of it: the job as it stands in the merged folder, and the pictures (old name, new name) that
    could not keep theirs."""

    report: Report
    shares: int
    renamed: tuple[tuple[str, str], ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """3 where tasks failed, or rows were left out, and nobody acknowledged it."""
        return 3 if self.report.unseen else 0

    def as_json(self) -> dict[str, Any]:
        """The object of `merge --json`."""
        renamed = [{"from": one, "to": other} for one, other in self.renamed]
        return {
            **self.report.as_json(),
            "output": str(self.report.output),
            "shares": self.shares,
            "renamed": renamed,
        }


def merge(outputs: Sequence[Path], into: Path, *, now: Callable[[], float]) -> MergeResult:
    """Brings the shares in the output folders `outputs` together in `into`; again with the same shares, it
    leaves all as it is.

    Raises UsageError when they are no shares of one plan, or `into` holds something else; Incomplete when a
    share is missing or not finished, or a picture is not what was delivered; Locked when a run holds one of
    the folders; LedgerError, DiskError.
    """
    into = layout.output_folder(into)
    began = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
    with ExitStack() as held:
        found: dict[Path, Share] = {}
        for output in dict.fromkeys(layout.output_folder(one) for one in outputs):
            if not layout.ledger_path(output).exists():
                raise errors.UsageError(f"nothing was run yet in {output}; it is no share")
            if output == into:
                raise errors.UsageError(f"{into} is one of the shares; merge into another folder")
            share_lock = held.enter_context(lock.hold(layout.lock_path(output), since=began))
            share_lock.cover(layout.ledger_path(output))
            found[output] = _read(output)
        shares = dict(sorted(found.items(), key=lambda one: one[1].shard.index))
        _refuse(shares)
        merged = blake2b("".join(share.digest for share in shares.values()).encode(), digest_size=16)
        folder = OutputFolder(into)
        with disk(into):
            folder.state.mkdir(parents=True, exist_ok=True)
        held.enter_context(lock.hold(layout.lock_path(into), since=began))
        renamed: tuple[tuple[str, str], ...] = ()
        if not _is_there(into, merged.hexdigest()):
            renamed = _build(folder, shares, merged.hexdigest())
        merged_report = report.of_folder(into, now=now(), running=False)
        report.write(merged_report)
    return MergeResult(merged_report, len(shares), renamed)


def _read(output: Path) -> Share:
    path = layout.ledger_path(output)
    with database.disk_errors(path), closing(database.open_file(path)) as connection:
        where = destination.open_destination(database.meta(connection, "destination"), output)
        rejections.end_moves(connection, where)
        share = merge_rows.read_share(connection)
    if share is None:
        raise errors.UsageError(f"{output} is no share of a plan: `batcher run --shard I/N` makes one")
    return share


def _refuse(shares: dict[Path, Share]) -> None:
    """Raises UsageError, Incomplete unless these are all the shares of one plan, and finished."""
    (first, one), *rest = shares.items()
    seen = {one.shard.index: first}
    for output, share in rest:
        if share.shard.of != one.shard.of:
            raise errors.UsageError(f"{first} is share {one.shard}, {output} is share {share.shard}")
        if share.shard.index in seen:
            raise errors.UsageError(f"{seen[share.shard.index]} and {output} are both share {share.shard}")
        seen[share.shard.index] = output
        if share.notes["origin"] != one.notes["origin"]:
            origins = f"{one.notes['origin']}, {output} against {share.notes['origin']}"
            raise errors.OtherOrigin(f"{first} was made against {origins}")
    lacking = [
        f"share {index}/{one.shard.of} is missing"
        for index in range(1, one.shard.of + 1)
        if index not in seen
    ]
    for output, share in shares.items():
        if share.unfinished:
            what = merge_rows.unfinished_words(share)
            lacking.append(f"share {share.shard} is not finished ({what}); run it again: {output}")
    if lacking:
        raise errors.Incomplete("nothing was merged", *lacking)
    for output, share in rest:
        if share.whole != one.whole:
            raise errors.UsageError(
                f"{first} and {output} are shares of two plans (the manifest or its sources changed); "
                "run each share again, which pays for what is new alone"
            )
    if sum(share.tasks for share in shares.values()) != one.total:
        raise errors.UsageError(f"these shares do not make up the {one.total:,} tasks of their plan")


def _is_there(into: Path, merged: str) -> bool:
    """Whether this very merge was done before. Raises UsageError when the folder holds something else."""
    path = layout.ledger_path(into)
    if not path.exists():
        return False
    with database.disk_errors(path), closing(database.open_for_reading(path)) as connection:
        known = database.meta(connection, "merged")
    if known != merged:
        what = "an earlier state of these shares, or others" if known else "a job of its own"
        raise errors.UsageError(
            f"{into} holds {what}, and a merge writes over nothing; choose another folder"
        )
    return True


def _build(folder: OutputFolder, shares: dict[Path, Share], merged: str) -> tuple[tuple[str, str], ...]:
    folder.prepare()
    path = layout.ledger_path(folder.path)
    renamed: list[tuple[str, str]] = []
    wrong: list[str] = []
    with database.disk_errors(path), database.creating(path) as connection:
        merge_rows.write_notes(connection, list(shares.values()), merged)
        for output, share in shares.items():
            where = destination.open_destination(share.notes["destination"], output)
            pictures = _Pictures(output, where, folder, renamed, wrong)
            merge_rows.copy_share(connection, layout.ledger_path(output), share, pictures.place)
        if wrong:
            raise errors.Incomplete("nothing was merged", *_first(wrong))
        first = next(iter(shares))
        with disk(first):
            resolved = (first / ".batcher" / "manifest.yaml").read_text("utf-8")
            destination.replace(folder.state / "manifest.yaml", [resolved])
            for pictures_folder in filter(Path.is_dir, (folder.path / IMAGES, folder.path / REJECTED)):
                sync_folder(pictures_folder)
            for left in folder.parts.iterdir():
                left.unlink()
    return tuple(renamed)


def _first(wrong: Sequence[str]) -> Iterable[str]:
    yield from wrong[:TOLD]
    if len(wrong) > TOLD:
        yield f"and {len(wrong) - TOLD:,} more"


class _Pictures:
    """Pictures of one share, wherever they lie, on their way into the merged folder."""

    def __init__(
        self,
        share: Path,
        pictures: Destination,
        folder: OutputFolder,
        renamed: list[tuple[str, str]],
        wrong: list[str],
    ) -> None:
        self._share = share
        self._pictures = pictures
        self._folder = folder
        self._renamed = renamed
        self._wrong = wrong

    def place(self, folder: str, name: str, names: Sequence[str], sha256: str) -> str:
        """The first of `names` under which the picture stands now. What is not as delivered is told in the
        end, and is then merged nowhere."""
        path = f"{folder}/{name}"
        try:
            part = self._brought(path, sha256)
        except OSError as error:
            problem = f"{self._pictures.address(path)}: {error.strerror or error}"
            self._wrong.append(
                f"{problem}; `batcher verify {shlex.quote(str(self._share))} --repair` mends it"
            )
            return name if name in names else names[0]
        for final in names:
            if self._stands(part, f"{folder}/{final}", sha256):
                if final != name:
                    self._renamed.append((f"{self._share.name}/{name}", final))
                return final
        raise errors.UsageError(
            f"every name that {self._share}/{path} could have is taken in {self._folder.path / folder}"
        )

    def _brought(self, path: str, sha256: str) -> Path:
        """The picture as a file of this disk that may be linked: itself, or a copy. Raises OSError when it
        is not there, or is not the one that was delivered."""
        if isinstance(self._pictures, Local):
            with self._pictures.open(path) as file:
                _same(pictures.digest(file), sha256)
            return self._pictures.path / path
        with self._pictures.open(path) as file:
            return self._copied(file, sha256)

    def _stands(self, source: Path, path: str, sha256: str) -> bool:
        """Whether the picture stands at `path`, by a link where one can be made, else as a copy."""
        final = self._folder.path / path
        with disk(final):
            final.parent.mkdir(exist_ok=True)
            try:
                os.link(source, final)
                return True
            except FileExistsError:
                return self._folder.destination.contains(path, sha256)
            except OSError:
                with open(source, "rb") as file:
                    part = self._copied(file, sha256)
                return move(part, final) or self._folder.destination.contains(path, sha256)

    def _copied(self, source: IO[bytes], sha256: str) -> Path:
        part = self._folder.parts / "merged.part"
        hashed = hashlib.sha256()
        part.unlink(missing_ok=True)
        with open(part, "wb") as file:
            while chunk := source.read(CHUNK):
                hashed.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        _same(hashed.hexdigest(), sha256)
        return part


def _same(found: str, sha256: str) -> None:
    if found != sha256:
        raise OSError(errno.EIO, "is another picture than was delivered")
