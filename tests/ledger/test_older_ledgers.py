"""Ledgers that earlier versions wrote open, go on, are reported and exported as before.

`fixtures/schema-N/` holds what the code of schema N left of its jobs in `/jobs/schema-N`, to the byte but for
the lock, the thumbnails and report.html: 1 of commit 015ebe1, 2 of 5fa8ee8, 3 of 60b5b8d, 4 of 5376087, the
last one before the modules moved. A run of `streets`, one task at a time against the sandbox, was killed with
Kyiv and Oslo (two pictures) done, Lima failed, the answer about Nara lost, Pisa's file not to be had, Rome in
flight and Tula planned; from schema 3 on one row was left out. `portraits` is a job of v1 with masks: anna
and clara are done, boris is in doubt, dora was passed over. `NAME-export.jsonl` is the metadata.jsonl of an
imagefolder that the same code exported with the originals. `meadows`, of schema 5, the first that knows
rejected pictures, has four pictures done, of which heath was rejected, and fen too and taken back. 6 is
`streets` of 4 as the code of 6 went on with it: a run has told of all troubles, and Lima was acknowledged.
`ponds`, of schema 7, has a blank picture that a check rejected, and a duplicate that one marked. Of the five
pictures of `dunes`, of schema 8, a person has looked at three, and rejected one of them. `mills`, of schema
9, has another picture in place of one that a check rejected.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import RunOptions, load, run
from batcher.errors import OtherOrigin
from batcher.ledger import database
from batcher.ledger.account_file import AccountFile
from batcher.results import report
from batcher.results.export import ExportOptions, export
from batcher.results.report import Report
from batcher.sandbox import Sandbox
from batcher.storage import layout
from tests.support.caller import KEY, photo, submit
from tests.support.foreign import Foreign, answer
from tests.support.sandboxes import MakeSandbox

FIXTURES = Path(__file__).parent / "fixtures"
MADE_AT, MADE_FOR = "/jobs/", "http://127.0.0.1:18080"
"""The folder and the server that stand in the old files."""
STREETS = [f"schema-{number}/streets" for number in (1, 2, 3, 4, 6)]
JOBS = [
    *STREETS,
    "schema-4/portraits",
    "schema-5/meadows",
    "schema-7/ponds",
    "schema-8/dunes",
    "schema-9/mills",
]
PATHS = (("tasks", "params"), ("tasks", "columns"), ("digests", "path"), ("passed_over", "file"))
"""Where a ledger has absolute paths."""


class OldJobs:
    """The old folders in one of this test's own; `output` is a job's."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self.folder = shutil.copytree(FIXTURES, folder / "jobs")
        self.now = now

    def output(self, job: str) -> Path:
        return self.folder / job

    def ledger(self, job: str) -> sqlite3.Connection:
        return sqlite3.connect(layout.ledger_path(self.output(job)))

    def lines(self, path: str) -> list[dict[str, Any]]:
        """The records of a file, those of /jobs as if they had been made here."""
        text = (self.folder / path).read_text().replace(MADE_AT, f"{self.folder}/")
        return [json.loads(line) for line in text.splitlines()]

    def at_home(self, job: str) -> None:
        """Paths that lead to /jobs lead here."""
        with closing(self.ledger(job)) as connection, connection:
            for table, column in PATHS:
                exists = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
                if exists:
                    change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                    connection.execute(change, (MADE_AT, f"{self.folder}/"))

    async def at_server(self, job: str, server: Sandbox, files: str) -> None:
        """The provider of then has moved to `server`, which knows what is in flight, and its files to
        `files`."""
        with closing(self.ledger(job)) as connection, connection:
            in_flight = connection.execute(
                "SELECT s.id, t.params FROM tasks t JOIN submissions s ON s.id = t.submission "
                "WHERE t.state = 'submitted'"
            ).fetchall()
            for number, params in in_flight:
                body = json.loads(params) | {"input_image": "https://photos.example/one.png"}
                async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as http:
                    accepted = await submit(http, server.url, body, "seg-beyond")
                connection.execute(
                    "UPDATE submissions SET request_id = ?, status_url = ?, response_url = ? WHERE id = ?",
                    (accepted["request_id"], accepted["status_url"], accepted["response_url"], number),
                )
            moved = "UPDATE {} SET {} = replace({}, ?, ?)"
            for table, column in (("submissions", "status_url"), ("submissions", "response_url")):
                connection.execute(moved.format(table, column, column), (MADE_FOR, server.url))
            connection.execute("UPDATE files SET url = replace(url, ?, ?)", (MADE_FOR, files))
            connection.execute("UPDATE meta SET value = ? WHERE key = 'origin'", (server.url,))

    async def run(self, job: str, server: Sandbox, **options: Any) -> Report:
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        manifest = load(self.folder / f"{job}.yaml")
        return await run(manifest, account=account, options=RunOptions(**options), now=self.now)


@pytest.fixture
def old(tmp_path: Path, now: Callable[[], float]) -> OldJobs:
    return OldJobs(tmp_path, now)


def rebuilt(old: OldJobs, job: str) -> None:
    """Its records, written anew from the ledger."""
    report.write(report.of_folder(old.output(job), now=0.0))


def test_there_is_a_ledger_of_every_schema_version() -> None:
    found = set()
    for path in FIXTURES.glob("schema-*/*/.batcher/ledger.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            found.add(connection.execute("PRAGMA user_version").fetchone()[0])
    assert found == set(range(1, database.schema_version() + 1)), (
        "a new schema version wants a ledger in tests/ledger/fixtures that the code before it has made"
    )


@pytest.mark.parametrize("job", JOBS)
def test_it_is_reported_as_before_and_stays_as_it_is(old: OldJobs, job: str) -> None:
    ledger = layout.ledger_path(old.output(job))
    before = ledger.read_bytes()
    was = json.loads((old.output(job) / "report.json").read_text())
    if "audit" in was:  # as it was called then
        was["balance"] = was.pop("audit")
    rebuilt(old, job)
    told = json.loads((old.output(job) / "report.json").read_text())
    for key in was.keys() - {"updated_at"}:
        # A state or a kind of call that is new since has a key more, and nothing in it.
        known = {name: told[key][name] for name in was[key]} if isinstance(was[key], dict) else told[key]
        assert known == was[key], key
    assert ledger.read_bytes() == before


@pytest.mark.parametrize("job", JOBS[3:])
def test_its_records_are_written_as_before_to_the_byte(old: OldJobs, job: str) -> None:
    files = [old.output(job) / name for name in ("metadata.jsonl", "errors.jsonl")]
    before = [path.read_text() for path in files]
    rebuilt(old, job)
    assert [path.read_text() for path in files] == before


@pytest.mark.parametrize("job", JOBS[:3])
def test_records_of_older_schemas_say_of_each_picture_what_they_said(old: OldJobs, job: str) -> None:
    before = old.lines(f"{job}/metadata.jsonl")
    rebuilt(old, job)
    after = old.lines(f"{job}/metadata.jsonl")
    assert len(after) == len(before) == 3
    for was, line in zip(before, after, strict=True):
        assert {key: line[key] for key in was} == was


@pytest.mark.parametrize("job", JOBS[1:])
def test_it_is_exported_as_before(old: OldJobs, job: str, tmp_path: Path) -> None:
    old.at_home(job)
    into = tmp_path / "exported"
    made = export(old.output(job), ExportOptions(to="imagefolder", into=into, originals=True))
    assert made.missing == ()
    lines = [json.loads(line) for line in (into / "train" / "metadata.jsonl").read_text().splitlines()]
    assert lines == old.lines(f"{job}-export.jsonl")
    assert all((into / "train" / line["file_name"]).is_file() for line in lines)


@pytest.mark.parametrize("job", STREETS)
async def test_the_same_command_goes_on_and_nothing_is_paid_twice(
    old: OldJobs, sandbox: MakeSandbox, job: str
) -> None:
    old.at_home(job)
    async with sandbox(service=5, price=0.01) as server, Foreign(answer("200 OK", photo((48, 32)))) as files:
        await old.at_server(job, server, files.url)
        told = await old.run(job, server)
        assert (told.total, told.images, told.exit_code) == (7, 6, 3)
        assert {state: n for state, n in told.counts.items() if n} == {"done": 5, "failed": 1, "doubtful": 1}
        # Rome was in flight, Tula was planned; the pictures of Pisa were paid for.
        assert (server.billed, files.requests) == (2, 1)
        assert told.cost["spent"] == 0.06
        failed = await old.run(job, server, retry_failed=True)
        assert (failed.counts["done"], failed.counts["doubtful"], server.billed) == (6, 1, 3)
        calls = sum(server.counts[route] for route in ("submit", "sync"))
        assert (await old.run(job, server)).counts == failed.counts
        assert sum(server.counts[route] for route in ("submit", "sync")) == calls
    with closing(old.ledger(job)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (database.schema_version(),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_job_of_v1_goes_on_as_well(old: OldJobs, sandbox: MakeSandbox) -> None:
    job = "schema-4/portraits"
    old.at_home(job)
    async with sandbox(service=5, price=0.01) as server:
        await old.at_server(job, server, server.url)
        told = await old.run(job, server)
        assert (told.total, told.counts["done"], told.counts["doubtful"], told.exit_code) == (3, 2, 1, 3)
        assert len(server.jobs) == 0


@pytest.mark.parametrize("job", JOBS)
async def test_it_belongs_to_the_server_of_then(old: OldJobs, sandbox: MakeSandbox, job: str) -> None:
    async with sandbox() as server:
        with pytest.raises(OtherOrigin, match=MADE_FOR):
            await old.run(job, server)


def test_a_ledger_that_two_processes_open_at_once_is_brought_up_to_date_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(layout.ledger_path(FIXTURES / "schema-4" / "streets"), tmp_path))
    begin = database.transaction

    @contextmanager
    def late(connection: sqlite3.Connection) -> Iterator[None]:
        monkeypatch.setattr(database, "transaction", begin)
        database.open_file(path).close()
        with begin(connection):
            yield

    monkeypatch.setattr(database, "transaction", late)
    with closing(database.open_file(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (database.schema_version(),)
        assert not connection.in_transaction


@pytest.mark.parametrize(("version", "later"), [(0, ()), (1, ("rpm", "mount")), (2, ("mount",))], ids=str)
def test_an_accounts_file_that_two_processes_open_at_once_is_brought_up_to_date_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, later: tuple[str, ...]
) -> None:
    """`later` columns a file of that version has not; 0: it is new."""
    path = tmp_path / "account.sqlite"
    if version:
        AccountFile(path).close()
        with closing(sqlite3.connect(path)) as connection:
            for column in later:
                connection.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
            connection.execute(f"PRAGMA user_version={version}")
    begin = AccountFile._transaction

    def late(file: AccountFile) -> Any:
        monkeypatch.setattr(AccountFile, "_transaction", begin)
        AccountFile(path).close()
        return begin(file)

    monkeypatch.setattr(AccountFile, "_transaction", late)
    with closing(AccountFile(path)) as file:
        file.enter("a", folder=tmp_path, name="a", manifest="", at=1.0, now=1.0)
        file.beat("a", total=1, done=0, spent=0, rpm=60.0, at=1.0, now=1.0)
        assert file.state("b", 1.0).rpm == 60.0
