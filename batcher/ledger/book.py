"""The open ledger: notes about itself, plans and runs, and all that is read from it.

Law: running totals are kept beside the rows and equal a count over them at every moment.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from batcher import errors
from batcher.ledger import groups, mending, models, originals, planning, records, store, totals
from batcher.ledger.entries import SELECT, Entry, File, entries
from batcher.ledger.planning import Planned
from batcher.ledger.seen import Digests, Occurrences
from batcher.ledger.totals import Money, micro
from batcher.shard import Shard
from batcher.task import IN_FLIGHT, State, Task

CALLS_FLUSH_SECONDS = 0.5


class Book:
    """One job's ledger, open: its notes, plans and runs, and what can be read from it.

    `counts`, `calls`, `images` and `money` are running totals, equal to what a count over the rows gives.
    `moved` is told every move of a task: the entry before and after it, and why.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float],
        moved: Callable[[Entry, Entry, str], None] = lambda before, after, detail: None,
    ) -> None:
        self.path = path
        self.now = now
        self._moved = moved
        self._connection = store.open_file(path)
        self._version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        self._group = groups.GroupCommit(self._connection, path)
        self._originals = originals.Originals(self._connection)
        self._calls_unwritten: Counter[str] = Counter()
        self._calls_timer: asyncio.TimerHandle | None = None
        self.run = 0
        self._money_before = Money()
        try:
            self._load()
        except BaseException:
            self._connection.close()
            raise

    def _load(self) -> None:
        with store.disk_errors(self.path):
            self.plan_number = int(self.meta("plan") or 0)
            self.counts = totals.counts(self._connection)
            self.calls = totals.calls(self._connection) + self._calls_unwritten
            self.images = totals.images(self._connection)
            self.money = totals.money(self._connection)

    def close(self) -> None:
        """Writes what is still in memory and closes. Raises DiskError if the disk refuses."""
        try:
            if self._calls_unwritten:
                self._flush_calls()
            self._group.commit()
        finally:
            if self._calls_timer is not None:
                self._calls_timer.cancel()
            self._connection.close()

    def __repr__(self) -> str:
        counts = " ".join(f"{state}={n}" for state, n in self.counts.items() if n)
        return f"<Ledger {self.path} plan {self.plan_number}: {counts or 'empty'}>"

    # --- notes about itself

    def meta(self, key: str) -> str | None:
        """A note, or None."""
        with store.disk_errors(self.path):
            return store.meta(self._connection, key)

    def note(self, key: str, value: str) -> None:
        """Keeps a note; on disk with the group's commit."""
        self._group.write(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    def made_with(self, model: str, rule: str) -> None:
        """The present plan's model, and its geometry; on disk when this returns."""
        with self._at_once() as connection:
            models.note(connection, self.plan_number, model, rule)

    def called(self, kind: str) -> None:
        """Counts one API call; on disk within half a second."""
        self.calls[kind] += 1
        self._calls_unwritten[kind] += 1
        if self._calls_timer is None:
            self._calls_timer = asyncio.get_running_loop().call_later(
                CALLS_FLUSH_SECONDS, self._flush_quietly
            )

    def _flush_quietly(self) -> None:
        try:
            self._flush_calls()
        except errors.BatcherError:
            # Every later write or wait raises it to someone who can act on it.
            return

    def _flush_calls(self) -> None:
        unwritten, self._calls_unwritten = self._calls_unwritten, Counter()
        self._calls_timer = None
        for kind, n in unwritten.items():
            self._group.write(
                "INSERT INTO calls VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (kind, n)
            )

    # --- planning and runs

    def claim_origin(self, origin: str) -> None:
        """Binds the ledger to one API. Raises OtherOrigin when it belongs to another."""
        known = self.meta("origin")
        if known is None:
            with self._at_once() as connection:
                store.set_meta(connection, "origin", origin)
        elif known != origin:
            raise errors.OtherOrigin(
                f"{self.path.parent.parent} was made against {known}, this run asks {origin}; "
                "choose another output folder with -o"
            )

    def claim_share(self, shard: Shard | None) -> None:
        """Binds the ledger to one share of the plan, or to the whole of it (None). Raises UsageError when it
        was planned otherwise: it would pay for what other shares pay for."""
        asked, known = str(shard or ""), self.meta("shard") or ""
        if known == asked:
            return
        if self.plan_number:
            holds = f"holds share {known}" if known else "holds the whole plan"
            asks = f"share {asked}" if asked else "the whole"
            raise errors.UsageError(
                f"{self.path.parent.parent} {holds}, this run asks for {asks}; "
                "choose another output folder with -o"
            )
        with self._at_once() as connection:
            store.set_meta(connection, "shard", asked)

    def claim_destination(self, where: str | None) -> None:
        """Notes where pictures go (None: the output folder). Raises OtherDestination when some lie, or are
        about to lie, elsewhere."""
        known = self.meta("destination")
        if known == where:
            return
        if self._rows("SELECT 1 FROM files WHERE name IS NOT NULL LIMIT 1"):
            folder = self.path.parent.parent
            raise errors.OtherDestination(
                f"the pictures of {folder} lie in {known or 'that folder'}, this run would put them in "
                f"{where or 'that folder'}; leave output.dir as it was, or give the job another name"
            )
        with self._at_once() as connection:
            if where is None:
                connection.execute("DELETE FROM meta WHERE key = 'destination'")
            else:
                store.set_meta(connection, "destination", where)

    def plan(
        self,
        tasks: Iterable[Task],
        fingerprint: str,
        *,
        shard: Shard | None = None,
        noticed: Callable[[int], None] = lambda total: None,
    ) -> Planned:
        """Makes `tasks`, or that share of them, the present plan, in one transaction. Raises ManifestError:
        nothing is changed."""
        self._group.commit()
        with store.disk_errors(self.path):
            planned = planning.plan(self._connection, tasks, fingerprint, shard=shard, noticed=noticed)
        self._load()
        return planned

    def leaving_out(self) -> planning.LeftOut:
        """Takes the rows that the plan under way leaves out."""
        return planning.LeftOut(self._connection)

    def left_out(self) -> tuple[int, errors.Problem | None]:
        """How many rows the present plan left out, and the first of them."""
        with store.disk_errors(self.path):
            number, first = planning.left_out(self._connection, 1)
        return number, first[0] if first else None

    def digests(self, examine: Callable[[IO[bytes], int], object]) -> Digests:
        """The content digests of local files, remembered here; `examine` looks at each new one."""
        return Digests(self._connection, examine)

    def occurrences(self) -> Occurrences:
        """A fresh count of identical tasks, for one planning."""
        return Occurrences(self._connection)

    def start_run(self) -> int:
        """Continues the run that still had something to do, or starts a new one; its number."""
        rows = self._rows("SELECT id FROM runs WHERE finished_at IS NULL ORDER BY id DESC LIMIT 1")
        if not rows:
            cursor = self._group.write("INSERT INTO runs (started_at) VALUES (?)", (self.now(),))
            self.run = int(cursor.lastrowid or 0)
        else:
            self.run = int(rows[0][0])
        self._money_before = totals.money(self._connection, before_run=self.run)
        return self.run

    def end_run(self, *, held: bool = False) -> None:
        """Closes the run for good when nothing is left to do; else the next start continues it. Also asked
        before planning: the last process may have died between its last picture and this.

        `held`: what is doubtful waits for a person, and keeps no run open."""
        waiting = IN_FLIGHT - {State.DOUBTFUL} if held else IN_FLIGHT
        if not any(self.counts[state] for state in (State.PLANNED, *waiting)):
            self._group.write("UPDATE runs SET finished_at = ? WHERE finished_at IS NULL", (self.now(),))

    def audit(self) -> tuple[int, int, int] | None:
        """Opening balance, what this run was told it spent, closing balance (micro-credits); or None."""
        rows = self._rows("SELECT opening_balance, closing_balance FROM runs WHERE id = ?", (self.run,))
        if not rows or None in rows[0]:
            return None
        return rows[0][0], self.money_of_run().spent, rows[0][1]

    def balance(self, which: str, credits_left: float) -> None:
        """Keeps the account's balance at the run's opening (the first one told stays) or closing."""
        if which == "opening":
            statement = "UPDATE runs SET opening_balance = coalesce(opening_balance, ?) WHERE id = ?"
        else:
            statement = "UPDATE runs SET closing_balance = ? WHERE id = ?"
        self._group.write(statement, (micro(credits_left), self.run))

    # --- reading

    async def committed(self) -> None:
        """Waits until everything written so far is on disk."""
        await self._group.committed()

    def money_of_run(self) -> Money:
        """The money of the run that is going on, which `max_cost` bounds."""
        return self.money.since(self._money_before)

    def planned_images(self) -> int:
        """Pictures that the planned tasks of the present plan would give."""
        query = "SELECT total(images) FROM tasks WHERE state = 'planned' AND plan = ?"
        return int(self._rows(query, (self.plan_number,))[0][0])

    def failures(self) -> dict[str, int]:
        """Failed tasks of the present plan by reason."""
        with store.disk_errors(self.path):
            return totals.failures(self._connection)

    def slowest(self, most: int) -> dict[str, float]:
        """The tasks of this run that took longest, in seconds, the slowest first."""
        with store.disk_errors(self.path):
            return totals.slowest(self._connection, self.run, most)

    def claim(self, after: int, most: int) -> list[Entry]:
        """The next planned tasks of the present plan behind id `after`, in the plan's order."""
        return self._entries(
            "WHERE t.state = 'planned' AND t.plan = ? AND t.id > ? ORDER BY t.id LIMIT ?",
            (self.plan_number, after, most),
        )

    def entry(self, number: int) -> Entry:
        """The task with this id."""
        return self._entries("WHERE t.id = ?", (number,))[0]

    def in_present_plan(self, entry: Entry) -> bool:
        """Whether the present plan has this task."""
        with store.disk_errors(self.path):
            return mending.in_present_plan(self._connection, entry.id)

    def last_submission(self) -> int:
        """The newest submission's id, 0 when there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM submissions")[0][0])

    def in_flight(self, after: tuple[float, int], up_to: int, most: int) -> list[Entry]:
        """Tasks that something is owed to, of any plan, the most urgent (the earliest submitted) first,
        behind (submitted_at, task id) `after`, none whose submission is newer than `up_to`."""
        return self._entries(
            "WHERE t.state IN ('doubtful', 'submitted', 'ready') AND s.id <= ? "
            "AND (s.submitted_at, t.id) > (?, ?) ORDER BY s.submitted_at, t.id LIMIT ?",
            (up_to, *after, most),
        )

    def in_the_air(self) -> list[Entry]:
        """Tasks whose POST is on its way."""
        return self._entries("WHERE t.state = 'submitting'", ())

    def files(self, entry: Entry) -> list[File]:
        """The pictures of the entry's result."""
        rows = self._rows(
            "SELECT position, url, spool, name, sha256, delivered_at FROM files "
            "WHERE task = ? ORDER BY position",
            (entry.id,),
        )
        return [File(*row) for row in rows]

    async def look_far(self, entry: Entry) -> None:
        """Reads what `observe` will need from a store, if it lies in one."""
        if self._originals.lies_far(entry.task):
            await asyncio.to_thread(self._originals.fetch, entry.task)

    def observe(self, entry: Entry) -> None:
        """Keeps what the metadata of a task that is done needs to know of its source picture."""
        with store.disk_errors(self.path):
            facts = self._originals.observed(entry.task)
            if facts:
                self._group.write(originals.KEEP, (entry.id, facts))

    def metadata(self, *entries: Entry) -> list[dict[str, Any]]:
        """The metadata lines of tasks that are done and observed."""
        return list(records.delivered(self._connection, [entry.id for entry in entries]))

    def missed(self, entry: Entry) -> list[dict[str, Any]]:
        """The errors line of a task that is not delivered."""
        with store.disk_errors(self.path):
            each = self.money.per_image(totals.price(self._connection))
            return list(records.missed(self._connection, each, entry.id))

    def knows(self, request_id: str) -> bool:
        """Whether a submission has this request_id already."""
        return bool(self._rows("SELECT 1 FROM submissions WHERE request_id = ? LIMIT 1", (request_id,)))

    def failed_before(self, entry: Entry) -> int:
        """How many submissions of this task ran and failed in this run."""
        rows = self._rows(
            "SELECT count(*) FROM submissions WHERE task = ? AND run = ? AND outcome = 'failed'",
            (entry.id, self.run),
        )
        return int(rows[0][0])

    def uploaded(self, digest: str) -> tuple[str, float] | None:
        """The URL under which this content was last uploaded, and when."""
        rows = self._rows("SELECT url, uploaded_at FROM uploads WHERE digest = ?", (digest,))
        return (str(rows[0][0]), float(rows[0][1])) if rows else None

    def changed_outside(self) -> bool:
        """Whether another process (`batcher retry`) wrote since the last look; the counts are right then."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        changed: bool = version != self._version
        self._version = version
        if changed:
            self.counts = totals.counts(self._connection)
        return changed

    def keep_upload(self, digest: str, url: str) -> None:
        """This content can be had by the API at `url`."""
        self._group.write("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (digest, url, self.now()))

    def forget_upload(self, digest: str) -> None:
        """The URL of this content is dead: it is to be uploaded again."""
        self._group.write("DELETE FROM uploads WHERE digest = ?", (digest,))

    @contextmanager
    def _at_once(self) -> Iterator[sqlite3.Connection]:
        """A transaction of its own, on disk when the block ends."""
        self._group.commit()
        with store.disk_errors(self.path), store.transaction(self._connection):
            yield self._connection

    def _entries(self, where: str, values: tuple[Any, ...]) -> list[Entry]:
        with store.disk_errors(self.path):
            return list(entries(self._connection.execute(SELECT + where, values)))

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with store.disk_errors(self.path):
            return self._connection.execute(query, values).fetchall()
