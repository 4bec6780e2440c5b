"""How a ledger of an older schema becomes one of the newest, a version at a time.

Rule: a migration says in its own words what it makes, for `schema.sql` goes on: it is never changed again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

Migration = Callable[[sqlite3.Connection], None]


def _source_pictures(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE source_pictures "
        "(task INTEGER PRIMARY KEY REFERENCES tasks (id), facts TEXT NOT NULL) STRICT"
    )


def _left_out(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE left_out (id INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL, "
        "reason TEXT NOT NULL, UNIQUE (file, line, reason)) STRICT"
    )


def _passed_over(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE passed_over (id INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL, "
        "reason TEXT NOT NULL, UNIQUE (file, line, reason)) STRICT"
    )


# Of the version before, with `rejected`; a CHECK is changed by building its table anew.
TASKS_WITH_REJECTED = """
CREATE TABLE tasks_new (
  id         INTEGER PRIMARY KEY,
  key        TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  name_key   TEXT    NOT NULL,
  plan       INTEGER NOT NULL,
  images     INTEGER NOT NULL CHECK (images > 0),
  repeat     INTEGER NOT NULL,
  params     TEXT    NOT NULL,
  columns    TEXT    NOT NULL,
  media      TEXT    NOT NULL,
  state      TEXT    NOT NULL DEFAULT 'planned'
             CHECK (state = 'planned' OR state = 'submitting' OR state = 'doubtful' OR state = 'submitted'
                    OR state = 'ready' OR state = 'done' OR state = 'rejected' OR state = 'failed'),
  attempts   INTEGER NOT NULL DEFAULT 0,
  not_before REAL    NOT NULL DEFAULT 0,
  submission INTEGER,
  reason     TEXT,
  rejected_by TEXT,
  rejected_at REAL,
  CHECK ((state = 'planned') <= (submission IS NULL AND reason IS NULL)),
  CHECK (submission IS NOT NULL OR state = 'planned' OR state = 'failed'),
  CHECK ((state = 'failed' OR state = 'rejected') = (reason IS NOT NULL)),
  CHECK ((state = 'rejected') = (rejected_by IS NOT NULL)),
  CHECK ((rejected_by IS NULL) = (rejected_at IS NULL))
) STRICT
"""
EVERY_FILE_WITH_REJECTED = """
CREATE TRIGGER done_needs_every_file
BEFORE UPDATE OF state ON tasks
WHEN (NEW.state = 'done' OR NEW.state = 'rejected')
  AND EXISTS (SELECT 1 FROM files WHERE task = NEW.id AND delivered_at IS NULL)
BEGIN
  SELECT RAISE(ABORT, 'a done or rejected task needs every file delivered');
END
"""


def _rejected(connection: sqlite3.Connection) -> None:
    kept = "id, key, name, name_key, plan, images, repeat, params, columns, media, state, attempts, "
    kept += "not_before, submission, reason"
    beside = connection.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = 'tasks' AND type IN ('index', 'trigger') "
        "AND sql IS NOT NULL AND name <> 'done_needs_every_file'"
    ).fetchall()
    connection.execute(TASKS_WITH_REJECTED)
    connection.execute(f"INSERT INTO tasks_new ({kept}) SELECT {kept} FROM tasks")
    connection.execute("DROP TABLE tasks")
    connection.execute("ALTER TABLE tasks_new RENAME TO tasks")
    for (statement,) in (*beside, (EVERY_FILE_WITH_REJECTED,)):
        connection.execute(statement)
    connection.execute(
        "ALTER TABLE files ADD COLUMN folder TEXT NOT NULL DEFAULT 'images' "
        "CHECK (folder = 'images' OR folder = 'rejected')"
    )
    connection.execute("ALTER TABLE files ADD COLUMN moved_from TEXT")
    connection.execute("DROP INDEX file_names")
    connection.execute("CREATE UNIQUE INDEX file_names ON files (name, folder) WHERE name IS NOT NULL")
    connection.execute("CREATE INDEX file_moves ON files (moved_from) WHERE moved_from IS NOT NULL")


def _notices(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE task_notices (task INTEGER PRIMARY KEY REFERENCES tasks (id), acked_at REAL, "
        "reason TEXT) STRICT"
    )
    connection.execute(
        "CREATE TABLE row_notices (file TEXT NOT NULL, line INTEGER NOT NULL, problem TEXT NOT NULL, "
        "acked_at REAL, reason TEXT, PRIMARY KEY (file, line, problem)) STRICT, WITHOUT ROWID"
    )
    connection.execute(
        "CREATE TRIGGER a_notice_goes_with_its_state AFTER UPDATE OF state ON tasks "
        "WHEN NEW.state <> OLD.state AND (OLD.state = 'failed' OR OLD.state = 'doubtful' "
        "OR OLD.state = 'rejected' OR OLD.state = 'done') "
        "BEGIN DELETE FROM task_notices WHERE task = NEW.id; END"
    )


PICTURE_CHECKS = """
CREATE TABLE picture_checks (
  id           INTEGER PRIMARY KEY,
  task         INTEGER NOT NULL REFERENCES tasks (id),
  position     INTEGER NOT NULL,
  sha256       TEXT    NOT NULL,
  is_compared  INTEGER NOT NULL,
  cells        BLOB,
  band0        INTEGER,
  band1        INTEGER,
  band2        INTEGER,
  band3        INTEGER,
  warnings     TEXT,
  rejected_by  TEXT,
  reason       TEXT,
  duplicate_of TEXT,
  UNIQUE (task, position),
  CHECK ((rejected_by IS NULL) = (reason IS NULL))
) STRICT;
CREATE INDEX checks_by_content ON picture_checks (sha256) WHERE is_compared;
CREATE INDEX checks_by_band0 ON picture_checks (band0) WHERE is_compared;
CREATE INDEX checks_by_band1 ON picture_checks (band1) WHERE is_compared;
CREATE INDEX checks_by_band2 ON picture_checks (band2) WHERE is_compared;
CREATE INDEX checks_by_band3 ON picture_checks (band3) WHERE is_compared;
CREATE INDEX checks_with_warnings ON picture_checks (task) WHERE warnings IS NOT NULL;
"""


def _picture_checks(connection: sqlite3.Connection) -> None:
    for statement in PICTURE_CHECKS.split(";"):
        connection.execute(statement)


REVIEWS_GO = """
CREATE TRIGGER a_review_goes_with_its_picture
AFTER UPDATE OF state ON tasks
WHEN NEW.state = 'planned' AND OLD.state = 'done'
BEGIN
  DELETE FROM reviews WHERE task = NEW.id;
END;
"""


def _reviews(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE reviews (task INTEGER PRIMARY KEY REFERENCES tasks (id), looked_at REAL NOT NULL, "
        "by TEXT NOT NULL) STRICT"
    )
    connection.execute(REVIEWS_GO)


def _replacements(connection: sqlite3.Connection) -> None:
    for column in (
        "redo INTEGER NOT NULL DEFAULT 0",
        "replaces TEXT",
        "root TEXT",
        "redo_wanted INTEGER NOT NULL DEFAULT 0",
    ):
        connection.execute(f"ALTER TABLE tasks ADD COLUMN {column}")
    connection.execute("CREATE INDEX task_roots ON tasks (root) WHERE root IS NOT NULL")


MIGRATIONS: tuple[Migration, ...] = (
    _source_pictures,
    _left_out,
    _passed_over,
    _rejected,
    _notices,
    _picture_checks,
    _reviews,
    _replacements,
)
"""MIGRATIONS[n] brings schema n+1 to n+2; `schema.sql` is always the newest."""
