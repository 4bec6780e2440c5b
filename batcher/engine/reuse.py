"""`reuse:` what other output folders have of a task's key is taken over, and not paid for.

Rule: a picture counts when its bytes are those that were delivered there. It comes into the spool, as bytes
that came inside an answer do, and is on disk there before the ledger has it; from there every picture goes
the same way. So a crash anywhere leaves the task planned, or ready with its bytes.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from batcher import errors
from batcher.job.manifest import Manifest
from batcher.ledger import database, reusable_results
from batcher.ledger.ledger import Ledger
from batcher.ledger.reusable_results import PlannedTask, ReusableResult
from batcher.progress.summary import several
from batcher.storage import destination, layout
from batcher.storage.destination import Destination
from batcher.storage.download import OutputFolder
from batcher.storage.workers import Threads

SAID = 3
"""Files that cannot be taken over which a warning names."""


@dataclass(frozen=True, slots=True)
class ReusableFolder:
    """An output folder that a manifest's `reuse` names (or a share in it), open for reading."""

    path: Path
    named: str
    ledger: sqlite3.Connection
    pictures: Destination

    def address(self, name: str) -> str:
        """The path or URL of a picture of it."""
        return self.pictures.address(f"{destination.IMAGES}/{name}")


@dataclass(slots=True)
class Reuse:
    """What was, or would be, taken over: how many tasks by the folder as the manifest names it, and which
    (their numbers). `unusable` says of others, by their numbers, what is wrong."""

    tasks: Counter[str] = field(default_factory=Counter)
    ids: set[int] = field(default_factory=set)
    unusable: dict[int, str] = field(default_factory=dict)

    def add(self, task: PlannedTask, folder: ReusableFolder) -> None:
        """One task more, which needs nothing of another folder."""
        self.tasks[folder.named] += 1
        self.ids.add(task.id)
        self.unusable.pop(task.id, None)

    def sentences(self) -> Iterator[str]:
        """What there is to tell."""
        for named, number in self.tasks.items():
            tasks = several(number, "task is", "tasks are")
            yield f"{tasks} taken over from {named}, where they were paid for"
        if self.unusable:
            number = len(self.unusable)
            these = several(number, "task", "tasks")
            shown = "; ".join(list(self.unusable.values())[:SAID])
            more = f"; and {number - SAID:,} more" if number > SAID else ""
            yield f"{these} cannot be taken over, and will be paid for: {shown}{more}"


def open_folders(
    stack: ExitStack, manifest: Manifest, output: Path, *, origin: str | None, sandbox: bool
) -> list[ReusableFolder]:
    """The folders that `reuse` names, those of the sandbox for the sandbox, open until `stack` closes;
    `output` itself is none. `origin`: the API that is asked, where that is known.

    Raises ManifestError where one is no output folder, cannot be read, or belongs to another API.
    """
    folders: list[ReusableFolder] = []
    problems: list[errors.Problem] = []
    for index, named in enumerate(manifest.reuse):
        problem = partial(manifest.problem, ("reuse", index))
        if "://" in named:
            problems.append(problem("is a URL; name the folder of this machine that has its .batcher"))
            continue
        asked = Path(manifest.resolve(named))
        paths = [path for path in _outputs(asked, sandbox=sandbox) if path != output]
        if not paths and output not in _outputs(asked, sandbox=sandbox):
            problems.append(problem(f"{asked} is no output folder of batcher: it has no .batcher in it"))
        for path in paths:
            try:
                folder = _open_folder(stack, path, named)
            except errors.BatcherError as error:
                problems.append(problem(str(error)))
                continue
            made_at = database.meta(folder.ledger, "origin")
            if origin is not None and made_at is not None and made_at != origin:
                message = f"{path} was made against {made_at}, and this run asks {origin}"
                problems.append(problem(message))
            folders.append(folder)
    if problems:
        raise errors.ManifestError(problems)
    return folders


def _outputs(folder: Path, *, sandbox: bool) -> list[Path]:
    """An output folder itself, or the shares in it; for the sandbox, what it made in its place."""
    candidates = [folder]
    if sandbox and not folder.name.endswith("-sandbox"):
        candidates = [layout.output_folder(folder, sandbox=True)]
    return [path for one in candidates for path in layout.outputs_in(one)]


def _open_folder(stack: ExitStack, path: Path, named: str) -> ReusableFolder:
    ledger_path = layout.ledger_path(path)
    ledger = stack.enter_context(closing(database.open_for_reading(ledger_path)))
    with database.disk_errors(ledger_path):
        where = database.meta(ledger, "destination")
    return ReusableFolder(path, named, ledger, destination.open_destination(where, path))


def preview(connection: sqlite3.Connection, plan: int, folders: Sequence[ReusableFolder]) -> Reuse:
    """What a run would take over for the planned tasks of `connection`, as far as names and sizes tell; what
    lies in a store is believed to be there."""
    found = Reuse()
    for page in reusable_results.planned(connection, plan) if folders else ():
        wanted = {task.id: task for task in page}
        for folder in folders:
            for task, result in _done_in(folder, [*wanted.values()]):
                if wrong := _missing(folder, result):
                    found.unusable[task.id] = wrong
                    continue
                found.add(wanted.pop(task.id), folder)
    return found


def _missing(folder: ReusableFolder, result: ReusableResult) -> str:
    for file in result.files:
        address = folder.address(file.name)
        if folder.pictures.remote:
            continue
        try:
            if Path(address).stat().st_size != file.size:
                return f"{address} is another picture than was delivered"
        except OSError as error:
            return f"{address}: {error.strerror}"
    return ""


def _done_in(
    folder: ReusableFolder, tasks: Sequence[PlannedTask]
) -> list[tuple[PlannedTask, ReusableResult]]:
    with database.disk_errors(layout.ledger_path(folder.path)):
        done = reusable_results.done(folder.ledger, [task.key for task in tasks])
    return [(task, done[task.key]) for task in tasks if task.key in done]


def take_over(ledger: Ledger, output: OutputFolder, folders: Sequence[ReusableFolder]) -> Reuse:
    """Makes what the folders have the results of this ledger's planned tasks: these are ready when this
    returns, or planned as before. Raises DiskError, LedgerError."""
    taken = Reuse()
    pages = reusable_results.planned(ledger.connection, ledger.plan_number) if folders else ()
    for page in pages:
        wanted = {task.id: task for task in page}
        for folder in folders:
            found = _done_in(folder, [*wanted.values()])
            ready = []
            spooled = Threads().map(partial(_into_spool, output, folder), found)
            for (task, result), outcome in zip(found, spooled, strict=True):
                if isinstance(outcome, str):
                    taken.unusable[task.id] = outcome
                    continue
                ready.append((task, result, outcome))
                taken.add(wanted.pop(task.id), folder)
            if ready:
                with destination.disk(output.spool):
                    destination.sync_folder(output.spool)
                for task, result, names in ready:
                    ledger.reused(task.id, result, names, str(folder.path))
                ledger.group.commit()
    return taken


def _into_spool(
    output: OutputFolder, folder: ReusableFolder, found: tuple[PlannedTask, ReusableResult]
) -> list[str] | str:
    """The names in the spool under which the pictures of a result lie now; or why they do not."""
    task, result = found
    names = []
    for file in result.files:
        name = f"reused-{task.id}-{file.position}.bytes"
        path = f"{destination.IMAGES}/{file.name}"
        try:
            if folder.pictures.remote:
                with folder.pictures.open(path) as opened_file:
                    same = output.copy_into_spool(opened_file, name, file.sha256)
            else:
                same = output.link_into_spool(Path(folder.address(file.name)), name, file.sha256)
        except OSError as error:
            return f"{folder.address(file.name)}: {error.strerror or error}"
        if not same:
            return f"{folder.address(file.name)} is another picture than was delivered"
        names.append(name)
    return names
