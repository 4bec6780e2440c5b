"""Shares of one plan come together in a normal output folder.

Law: only complete, disjoint shares of one plan are merged. Nothing is overwritten; the ledger comes last, as
a whole, so a merge that was cut off is simply done again.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from batcher import destination, errors, lock, pictures, place, report
from batcher.destination import Destination, disk, sync_folder
from batcher.destination.local import Local, move
from batcher.download import CHUNK, Folder
from batcher.ledger import merging, store
from batcher.ledger.merging import Share
from batcher.report import Report

TOLD = 20
"""Pictures that are missing, or not as delivered, which a refusal names."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of it: the job as it stands in the merged folder, and the pictures (old name, new name) that
    could not keep theirs."""

    report: Report
    shares: int
    renamed: tuple[tuple[str, str], ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """3 where tasks failed, or rows were left out."""
        return 3 if self.report.failures or self.report.left_out else 0

    def as_json(self) -> dict[str, Any]:
        """The object of `merge --json`."""
        renamed = [{"from": one, "to": other} for one, other in self.renamed]
        return {
            **self.report.as_json(),
            "output": str(self.report.output),
            "shares": self.shares,
            "renamed": renamed,
        }


def merge(outputs: Sequence[Path], into: Path, *, now: Callable[[], float]) -> Merged:
    """Brings the shares in the output folders `outputs` together in `into`; again with the same shares, it
    leaves all as it is.

    Raises UsageError when they are no shares of one plan, or `into` holds something else; Incomplete when a
    share is missing or not finished, or a picture is not what was delivered; Locked when a run holds one of
    the folders; LedgerError, DiskError.
    """
    into = place.output_in(into)
    began = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
    with ExitStack() as held:
        found: dict[Path, Share] = {}
        for output in dict.fromkeys(place.output_in(one) for one in outputs):
            if not place.ledger_of(output).exists():
                raise errors.UsageError(f"nothing was run yet in {output}; it is no share")
            if output == into:
                raise errors.UsageError(f"{into} is one of the shares; merge into another folder")
            held.enter_context(lock.held(place.lock_of(output), since=began))
            found[output] = _read(output)
        shares = dict(sorted(found.items(), key=lambda one: one[1].shard.index))
        _refuse(shares)
        merged = blake2b("".join(share.digest for share in shares.values()).encode(), digest_size=16)
        folder = Folder(into)
        with disk(into):
            folder.state.mkdir(parents=True, exist_ok=True)
        held.enter_context(lock.held(place.lock_of(into), since=began))
        renamed: tuple[tuple[str, str], ...] = ()
        if not _is_there(into, merged.hexdigest()):
            renamed = _build(folder, shares, merged.hexdigest())
        told = report.of_folder(into, now=now(), running=False)
        report.write(told)
    return Merged(told, len(shares), renamed)


def _read(output: Path) -> Share:
    path = place.ledger_of(output)
    with store.disk_errors(path), closing(store.open_file(path)) as connection:
        share = merging.read(connection)
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
            what = merging.unfinished_words(share)
            lacking.append(f"share {share.shard} is not finished ({what}); run it again: {output}")
    if lacking:
        raise errors.Incomplete("\n".join(["nothing was merged", *lacking]))
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
    path = place.ledger_of(into)
    if not path.exists():
        return False
    with store.disk_errors(path), closing(store.open_for_reading(path)) as connection:
        known = store.meta(connection, "merged")
    if known != merged:
        what = "an earlier state of these shares, or others" if known else "a job of its own"
        raise errors.UsageError(
            f"{into} holds {what}, and a merge writes over nothing; choose another folder"
        )
    return True


def _build(folder: Folder, shares: dict[Path, Share], merged: str) -> tuple[tuple[str, str], ...]:
    folder.prepare()
    path = place.ledger_of(folder.path)
    renamed: list[tuple[str, str]] = []
    wrong: list[str] = []
    with store.disk_errors(path), store.created(path) as connection:
        merging.begin(connection, list(shares.values()), merged)
        for output, share in shares.items():
            where = destination.at(share.notes["destination"], output)
            pictures = _Pictures(output, where, folder, renamed, wrong)
            merging.bring(connection, place.ledger_of(output), share, pictures.settle)
        if wrong:
            raise errors.Incomplete("\n".join(["nothing was merged", *_first(wrong)]))
        first = next(iter(shares))
        with disk(first):
            resolved = (first / ".batcher" / "manifest.yaml").read_text("utf-8")
            destination.replace(folder.state / "manifest.yaml", [resolved])
            sync_folder(folder.path / "images")
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
        folder: Folder,
        renamed: list[tuple[str, str]],
        wrong: list[str],
    ) -> None:
        self._share = share
        self._pictures = pictures
        self._folder = folder
        self._images = folder.path / "images"
        self._renamed = renamed
        self._wrong = wrong

    def settle(self, name: str, names: Sequence[str], sha256: str) -> str:
        """The first of `names` under which the picture stands now. What is not as delivered is told in the
        end, and is then merged nowhere."""
        path = f"images/{name}"
        try:
            part = self._brought(path, sha256)
        except OSError as error:
            told = f"{self._pictures.address(path)}: {error.strerror or error}"
            self._wrong.append(f"{told}; `batcher verify {self._share} --repair` mends it")
            return name if name in names else names[0]
        for final in names:
            if self._stands(part, final, sha256):
                if final != name:
                    self._renamed.append((f"{self._share.name}/{name}", final))
                return final
        raise errors.UsageError(f"every name that {self._share}/{path} could have is taken in {self._images}")

    def _brought(self, path: str, sha256: str) -> Path:
        """The picture as a file of this disk that may be linked: itself, or a copy. Raises OSError when it
        is not there, or is not the one that was delivered."""
        if isinstance(self._pictures, Local):
            with self._pictures.opened(path) as file:
                _same(pictures.digest(file), sha256)
            return self._pictures.path / path
        with self._pictures.opened(path) as file:
            return self._copied(file, sha256)

    def _stands(self, source: Path, name: str, sha256: str) -> bool:
        """Whether the picture stands under `name`, by a link where one can be made, else as a copy."""
        final = self._images / name
        with disk(final):
            try:
                os.link(source, final)
                return True
            except FileExistsError:
                return self._folder.destination.holds(name, sha256)
            except OSError:
                with open(source, "rb") as file:
                    part = self._copied(file, sha256)
                return move(part, final) or self._folder.destination.holds(name, sha256)

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
