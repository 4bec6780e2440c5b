"""The output folder of a job, its shares and its sandbox's, and what lies in it.

Rule: where the pictures go to an object store, the ledger lies in `out/<name>` of this machine.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batcher import errors
from batcher.shard import Shard, names_share


def output_folder(
    folder: Path, *, output: Path | None = None, sandbox: bool = False, shard: Shard | None = None
) -> Path:
    """The output folder (absolute) where the manifest says `folder`. A share has its own in that; `output`,
    what -o says, goes before both. Raises UsageError where it would be `/` or lie in `/dev` and the like."""
    if output is None:
        output = folder if shard is None else folder / shard.folder
    plain = _plain(output.absolute())
    if is_of_the_system(Path(os.path.realpath(plain))):
        raise errors.UsageError(f"the output folder cannot be {plain}: that is the system's own")
    return _in_sandbox(plain) if sandbox else plain


def is_of_the_system(path: Path) -> bool:
    """Whether an absolute path is the root of this machine, or one of its devices and processes."""
    return path == Path("/") or (path.parts[1] in ("dev", "proc", "sys") and path.parts[2:3] != ("shm",))


def mount_point(folder: Path) -> str:
    """Where the disk is mounted on which a folder lies, or will lie."""
    place = os.path.realpath(folder)
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    return place


def before_sandbox(folder: Path) -> Path:
    """What `output_folder` took for the sandbox's `folder`."""
    if names_share(folder.name):
        return before_sandbox(folder.parent) / folder.name
    return folder.with_name(folder.name.removesuffix("-sandbox"))


def store_of(store: str | None, *, sandbox: bool = False, shard: Shard | None = None) -> str | None:
    """Where pictures go in the object store that a manifest names, those of a share in a folder of its own;
    None: it names none."""
    if store is None:
        return None
    if sandbox:
        # Beside a whole bucket there is only another bucket, which is not ours.
        _, slash, _ = store.partition("://")[2].partition("/")
        store = f"{store}-sandbox" if slash else f"{store}/sandbox"
    return store if shard is None else f"{store}/{shard.folder}"


def composed_files_path(ledger: Path) -> Path:
    """The notes beside a ledger of what parameters put together."""
    return ledger.with_name("composed-files.jsonl")


def planned_files_path(ledger: Path) -> Path:
    """The listing beside a ledger of the files that its plan is made of."""
    return ledger.with_name("planned-files")


def resolved_manifest(output: Path) -> Path:
    """The manifest of the last run, with everything that it left open said."""
    return output / ".batcher" / "manifest.yaml"


def ledger_path(output: Path) -> Path:
    """The ledger of an output folder."""
    return output / ".batcher" / "ledger.sqlite"


def has_ledger(output: Path) -> bool:
    """Whether there is one. What cannot be looked at (of another user, on a mount that is gone) has none."""
    return os.path.isfile(ledger_path(output))  # Path.is_file raises there


def ledger_is_lost(output: Path) -> bool:
    """Whether records of pictures lie in an output folder without the ledger that they were written from.

    A run writes them after its ledger is there, and a merge too: a first one that was killed leaves none.
    They are looked at first, so that a run that begins meanwhile gives no false alarm.
    """
    records = output / "metadata.jsonl"
    return records.is_file() and records.stat().st_size > 0 and not ledger_path(output).exists()


@dataclass(frozen=True, slots=True)
class OutputGroup:
    """An output folder that holds a job (`whole`), or the `outputs` in it, which hold its shares of one N."""

    folder: Path
    outputs: tuple[Path, ...]
    whole: bool


def neighbour_outputs(output: Path) -> Iterator[OutputGroup]:
    """The output folders directly beside `output`, and itself, or beside the folder whose share it is; those
    of shares by what they are shares of. Folders that may not be read are passed over."""
    whole = output.parent if names_share(output.name) else output
    for folder in (whole.parent, *_folders(whole.parent)):
        if has_ledger(folder):
            yield OutputGroup(folder, (folder,), whole=True)
        if folder == whole.parent:
            continue
        shares: dict[str, list[Path]] = {}
        for inside in _folders(folder, shares_alone=True):
            if has_ledger(inside):
                shares.setdefault(inside.name.rpartition("-")[2], []).append(inside)
        for outputs in shares.values():
            yield OutputGroup(folder, tuple(outputs), whole=False)


def outputs_in(folder: Path) -> list[Path]:
    """The folder itself where it is an output folder, else the shares in it; none where there are none."""
    if has_ledger(folder):
        return [folder]
    return [one for one in _folders(folder, shares_alone=True) if has_ledger(one)]


def _folders(folder: Path, *, shares_alone: bool = False) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(one.name for one in entries if not shares_alone or names_share(one.name))
    except OSError:
        return
    yield from (folder / name for name in names)


def lock_path(output: Path) -> Path:
    """The lock of an output folder."""
    return output / ".batcher" / "lock"


def inputs_folder(output: Path) -> Path:
    """Where what Python gave as rows and pictures is kept, by content."""
    return output / ".batcher" / INPUTS


def is_kept_input(path: str) -> bool:
    """Whether a path is that of a picture that is kept there."""
    return f"/.batcher/{INPUTS}/" in path


INPUTS = "inputs"


def existing_output(folder: Path, shard: Shard | None = None) -> Path:
    """An output folder itself (absolute); of the folder of a whole, that of a share in it.

    Raises UsageError where it is none.
    """
    if shard is not None and folder.name != shard.folder:
        folder = folder / shard.folder
    if (folder / ".batcher").is_dir():
        return folder.absolute()
    hint = ""
    if folder.is_dir() and any(names_share(inside.name) for inside in folder.iterdir()):
        hint = "; its shares have: `--shard I/N` names one, `batcher merge` brings them together"
    raise errors.UsageError(
        f"{folder} is not an output folder of batcher: it has no .batcher folder in it{hint}"
    )


def nothing_run_text(output: Path) -> str:
    """That a job has never run in its output folder; where its rehearsal has, how that is seen."""
    said = f"nothing was run yet in {output}; `batcher run` starts it"
    rehearsed = _in_sandbox(output)
    if ledger_path(rehearsed).exists():
        said += f". What the sandbox made is in {typed(rehearsed)}: add --sandbox to see it"
    return said


def typed(path: Path) -> str:
    """The path as it is typed here, ready for a shell."""
    near = os.path.relpath(path)
    return shlex.quote(str(path) if near.startswith("..") else near)


def _in_sandbox(folder: Path) -> Path:
    """What the sandbox makes never mixes with what was paid for; shares stay together."""
    if names_share(folder.name):
        return _in_sandbox(folder.parent) / folder.name
    return folder.with_name(f"{folder.name}-sandbox")


def _plain(folder: Path) -> Path:
    """The path without `.` and `..`; links are not followed."""
    kept: list[str] = []
    for part in folder.parts[1:]:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    return Path(*folder.parts[:1]).joinpath(*kept)
