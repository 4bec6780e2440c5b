"""Plans of jobs that have no ledger yet, as `batcher plan` made them: the first run takes one over instead of
planning the same again.

    <name>/ledger.sqlite       a ledger with nothing in it but the plan; beside it the files that it knows by
                               their hashes, as they lie beside any ledger
    <name>/kept.json           the hash of all that, and when it was made
    .new-*                     a plan that is being made

Rule: a plan has the name of everything that it hangs on, and is believed only where its bytes are those that
were written. Whatever goes wrong here, the job is planned as if nothing had been kept.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from batcher.ledger.database import set_meta, transaction
from batcher.storage import layout

LEDGER = "ledger.sqlite"
NOTE = "kept.json"
UNFINISHED = ".new-"
MOST = 3
"""Plans that are kept, the newest ones."""
MOST_BYTES = 1 << 30
"""And no more of them than have so much room together: some two million tasks."""
LONGEST = 24 * 3600.0
"""Seconds for which one is kept."""
BEFORE_PLANNING = frozenset({"origin", "destination"})
"""What a ledger may note of itself before its first plan: it is noted again beside the plan."""
CHUNK = 1 << 20


def copy_of(ledger: sqlite3.Connection, path: Path, made: Path) -> Path:
    """A copy of the ledger at `path`, and of what lies beside it for its plan, in the folder `made`; where.
    Raises OSError, sqlite3.Error."""
    copy = made / LEDGER
    with closing(sqlite3.connect(copy)) as target:
        target.execute("PRAGMA synchronous=OFF")
        ledger.backup(target)
    _copy_beside(path, copy)
    return copy


def _copy_beside(path: Path, copy: Path) -> None:
    """A ledger believes these only where it knows their hash."""
    for beside in (layout.composed_files_path, layout.planned_files_path):
        with suppress(FileNotFoundError):
            shutil.copyfile(beside(path), beside(copy))


class KeptPlan(NamedTuple):
    """A plan that is kept: its ledger, open for reading, and where that lies."""

    connection: sqlite3.Connection
    path: Path


class KeptPlans:
    """The plans in `folder`, which may not be there; `now` gives Unix seconds. `once`: one that is taken over
    takes up no more room."""

    def __init__(self, folder: Path, now: Callable[[], float], *, once: bool = False) -> None:
        self._folder = folder
        self._now = now
        self._once = once

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new folder to make a plan in. What is not kept of it is gone when the block ends."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self._folder))
        except OSError:
            made = Path(tempfile.mkdtemp(prefix="batcher-plan-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
            self._leave_nothing()

    def keep(self, made: Path, name: str) -> None:
        """The plan in `made`, a `scratch` whose ledger is closed, is kept under this name."""
        if made.parent != self._folder:
            return
        with suppress(OSError):
            if _size(made) > MOST_BYTES:
                return
            note = {"digest": _digest(made), "made_at": self._now()}
            (made / NOTE).write_text(json.dumps(note), "utf-8")
            shutil.rmtree(self._folder / name, ignore_errors=True)
            made.rename(self._folder / name)
            self.tidy()

    @contextmanager
    def opened(self, name: str) -> Iterator[KeptPlan | None]:
        """The plan of this name while the block lasts; None where there is none that is whole."""
        folder = self._folder / name
        path = folder / LEDGER
        if not self._is_whole(folder):
            yield None
            return
        # Nobody writes to it, so that a folder which may only be read will do.
        with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True, isolation_level=None)) as kept:
            yield KeptPlan(kept, path)

    def has(self, name: str) -> bool:
        """Whether a plan of this name is kept."""
        return (self._folder / name / NOTE).exists()

    def taken(self, name: str) -> None:
        """The plan of this name was taken over."""
        if self._once:
            shutil.rmtree(self._folder / name, ignore_errors=True)
            self._leave_nothing()
        self.tidy()

    def tidy(self) -> None:
        """What is old goes, and what is too much."""
        with suppress(OSError):
            entries = [one for one in self._folder.iterdir() if one.is_dir()]
            finished = {one: _made_at(one) for one in entries if not one.name.startswith(UNFINISHED)}
            number, room = 0, MOST_BYTES
            for folder in sorted(finished, key=lambda one: finished[one], reverse=True):
                number, room = number + 1, room - _size(folder)
                if number > MOST or room < 0 or self._is_old(finished[folder]):
                    shutil.rmtree(folder, ignore_errors=True)
            for folder in entries:
                if folder not in finished and self._is_old(folder.stat().st_mtime):
                    shutil.rmtree(folder, ignore_errors=True)

    def _leave_nothing(self) -> None:
        """Where no plan is kept there is no folder for them either."""
        with suppress(OSError):
            self._folder.rmdir()
            self._folder.parent.rmdir()

    def _is_whole(self, folder: Path) -> bool:
        try:
            noted = json.loads((folder / NOTE).read_bytes())
            return not self._is_old(noted["made_at"]) and _digest(folder) == noted["digest"]
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _is_old(self, made_at: float) -> bool:
        return abs(self._now() - made_at) > LONGEST


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether a ledger is as it was made, so that there is nothing in it to lose."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    own = (name for (name,) in tables if name not in ("meta", "transitions"))
    if any(connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in own):
        return False
    return {key for (key,) in connection.execute("SELECT key FROM meta")} <= BEFORE_PLANNING


def take_over(connection: sqlite3.Connection, path: Path, plan: KeptPlan) -> bool:
    """The blank ledger at `path` becomes what the kept one is, page by page in one transaction, so that a
    crash leaves the one or the other; false where that did not succeed, and the ledger is as it was.

    What it had noted of itself is noted again afterwards: a crash between the two leaves a plan of which
    nothing was sent, and the next run notes the same before it sends anything.
    """
    notes = connection.execute("SELECT key, value FROM meta").fetchall()
    try:
        _copy_beside(plan.path, path)
        plan.connection.backup(connection, progress=_refuse_to_wait)
    except (OSError, sqlite3.Error):
        return False
    with transaction(connection):
        for key, value in notes:
            set_meta(connection, key, value)
    return True


def _refuse_to_wait(status: int, remaining: int, total: int) -> None:
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("somebody else writes to the ledger")


def _digest(folder: Path) -> str:
    """Of the files of a plan (hex), with their names. Raises OSError."""
    whole = blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.name == NOTE:
            continue
        whole.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                whole.update(chunk)
    return whole.hexdigest()


def _made_at(folder: Path) -> float:
    """When a plan was made; 0 where it does not say so."""
    try:
        return float(json.loads((folder / NOTE).read_bytes())["made_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _size(folder: Path) -> int:
    """The bytes of a plan. Raises OSError."""
    return sum(path.stat().st_size for path in folder.iterdir())
