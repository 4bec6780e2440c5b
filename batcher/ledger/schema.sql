-- The ledger: what was intended, what was answered, what it cost. One file per job, read by anyone,
-- written by the one run that holds the job's lock.
-- What is checked of every row stands as a chain of OR: a long IN would build its list anew for each.
-- Money is integer micro-credits. Times are seconds of the Unix clock.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The table of task.py, copied here at creation so that the database itself refuses other moves.
CREATE TABLE transitions (
  origin TEXT NOT NULL,
  target TEXT NOT NULL,
  PRIMARY KEY (origin, target)
) STRICT, WITHOUT ROWID;

-- A run lasts until nothing is left to do; resumes continue it, and its max_cost with it.
CREATE TABLE runs (
  id              INTEGER PRIMARY KEY,
  started_at      REAL NOT NULL,
  finished_at     REAL,
  opening_balance INTEGER,
  closing_balance INTEGER
) STRICT;

CREATE TABLE tasks (
  id         INTEGER PRIMARY KEY,
  key        TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  name_key   TEXT    NOT NULL,           -- the form in which two names collide
  plan       INTEGER NOT NULL,           -- the latest plan that contains it
  images     INTEGER NOT NULL CHECK (images > 0),
  repeat     INTEGER NOT NULL,
  params     TEXT    NOT NULL,           -- JSON: the body as the manifest says it
  columns    TEXT    NOT NULL,           -- JSON: source columns and axes
  media      TEXT    NOT NULL,           -- JSON: parameter -> sha256 of the local file it names
  state      TEXT    NOT NULL DEFAULT 'planned'
             CHECK (state = 'planned' OR state = 'submitting' OR state = 'doubtful' OR state = 'submitted'
                    OR state = 'ready' OR state = 'done' OR state = 'rejected' OR state = 'failed'),
  attempts   INTEGER NOT NULL DEFAULT 0, -- submits spent since it was planned or retried
  not_before REAL    NOT NULL DEFAULT 0, -- a retry's "again at"
  submission INTEGER,                    -- the one in force
  reason     TEXT,                       -- class, colon, the provider's text; of a rejected one: why
  rejected_by TEXT,                      -- `person`, or the check that did
  rejected_at REAL,
  redo       INTEGER NOT NULL DEFAULT 0, -- which replacement of its cell it is; 0: its first task
  replaces   TEXT,                       -- the key of the task before it, which was rejected
  root       TEXT,                       -- the key of its cell's first task
  redo_wanted INTEGER NOT NULL DEFAULT 0, -- of a rejected one: a person asked for the replacement of this number
  CHECK ((state = 'planned') <= (submission IS NULL AND reason IS NULL)),
  CHECK (submission IS NOT NULL OR state = 'planned' OR state = 'failed'),
  CHECK ((state = 'failed' OR state = 'rejected') = (reason IS NOT NULL)),
  CHECK ((state = 'rejected') = (rejected_by IS NOT NULL)),
  CHECK ((rejected_by IS NULL) = (rejected_at IS NULL))
) STRICT;

-- Every POST that could cost money: the money trail. Rows are never deleted.
CREATE TABLE submissions (
  id             INTEGER PRIMARY KEY,
  task           INTEGER NOT NULL REFERENCES tasks (id),
  run            INTEGER NOT NULL REFERENCES runs (id),
  attempt        INTEGER NOT NULL,
  api            TEXT    NOT NULL CHECK (api IN ('v1', 'v2')),
  submitted_at   REAL    NOT NULL,       -- taken before the POST: the record's hour counts from here
  answered_at    REAL,
  request_id     TEXT,
  status_url     TEXT,
  response_url   TEXT,
  outcome        TEXT    NOT NULL DEFAULT 'open' CHECK (
                   outcome = 'open'            -- in the air or in flight: its price is reserved
                   OR outcome = 'refused'      -- proved not to be accepted: costs nothing
                   OR outcome = 'gateway'      -- a 5xx: perhaps paid
                   OR outcome = 'doubtful'     -- the answer was lost: perhaps paid
                   OR outcome = 'completed'    -- paid; the result is here
                   OR outcome = 'failed'       -- it ran and failed: not billed
                   OR outcome = 'lost'),       -- accepted, but its record was gone before it could be fetched
  images         INTEGER NOT NULL,       -- 0: another folder's request, whose result was taken over (`reuse`)
  reserved       INTEGER NOT NULL DEFAULT 0,
  cost           INTEGER,                -- as the provider told it
  completed_at   REAL,                   -- when the result was on disk
  queue_time     REAL,
  inference_time REAL,
  total_time     REAL,
  result_seed    TEXT,
  detail         TEXT,                   -- what was said when it did not complete
  CHECK ((outcome = 'completed') = (completed_at IS NOT NULL)),
  CHECK ((status_url IS NULL) = (response_url IS NULL)),
  CHECK (cost IS NULL OR cost >= 0)
) STRICT;

-- The pictures of a result: where they can be had, and where they stand.
CREATE TABLE files (
  task         INTEGER NOT NULL REFERENCES tasks (id),
  position     INTEGER NOT NULL,
  submission   INTEGER NOT NULL REFERENCES submissions (id),
  url          TEXT,                     -- lives 7 days
  spool        TEXT,                     -- bytes that came inside an answer, in .batcher/spool
  name         TEXT,                     -- final file name in its folder, taken before the rename
  sha256       TEXT,
  bytes        INTEGER,
  width        INTEGER,
  height       INTEGER,
  delivered_at REAL,
  folder       TEXT    NOT NULL DEFAULT 'images' CHECK (folder = 'images' OR folder = 'rejected'),
  moved_from   TEXT,                     -- its path before a move that may not have happened yet
  PRIMARY KEY (task, position),
  CHECK (url IS NOT NULL OR spool IS NOT NULL),
  CHECK (delivered_at IS NULL OR (name IS NOT NULL AND sha256 IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX file_names ON files (name, folder) WHERE name IS NOT NULL;
CREATE INDEX file_moves ON files (moved_from) WHERE moved_from IS NOT NULL;

-- What was known of a task's source picture when the task was done, where its model's geometry is known:
-- the picture and its labels may be gone when a line is built again.
CREATE TABLE source_pictures (
  task  INTEGER PRIMARY KEY REFERENCES tasks (id),
  facts TEXT NOT NULL                    -- JSON: width, height (upright); of a YOLO file: boxes, classes
) STRICT;

-- What the checks of the manifest said of a picture, before it got its final name.
CREATE TABLE picture_checks (
  id           INTEGER PRIMARY KEY,      -- in the order in which they came
  task         INTEGER NOT NULL REFERENCES tasks (id),
  position     INTEGER NOT NULL,
  sha256       TEXT    NOT NULL,
  is_compared  INTEGER NOT NULL,         -- whether later pictures are compared with it
  cells        BLOB,                     -- its look: 16 x 16 grey cells, 8 x 8 of colour
  band0        INTEGER,                  -- a hash of that; pictures nearly equal have one of the four in common
  band1        INTEGER,
  band2        INTEGER,
  band3        INTEGER,
  warnings     TEXT,                     -- JSON: sentences
  rejected_by  TEXT,
  reason       TEXT,
  duplicate_of TEXT,                     -- the task that has the other
  UNIQUE (task, position),
  CHECK ((rejected_by IS NULL) = (reason IS NULL))
) STRICT;
CREATE INDEX checks_by_content ON picture_checks (sha256) WHERE is_compared;
CREATE INDEX checks_by_band0 ON picture_checks (band0) WHERE is_compared;
CREATE INDEX checks_by_band1 ON picture_checks (band1) WHERE is_compared;
CREATE INDEX checks_by_band2 ON picture_checks (band2) WHERE is_compared;
CREATE INDEX checks_by_band3 ON picture_checks (band3) WHERE is_compared;
CREATE INDEX checks_with_warnings ON picture_checks (task) WHERE warnings IS NOT NULL;

-- What a person has looked at in a review: what was rejected there, and what was kept. A row goes with its
-- picture.
CREATE TABLE reviews (
  task      INTEGER PRIMARY KEY REFERENCES tasks (id),
  looked_at REAL NOT NULL,
  by        TEXT NOT NULL                -- the name of an account of the machine on which it was
) STRICT;

-- Rows that the present plan left out: where they stand, and why.
CREATE TABLE left_out (
  id     INTEGER PRIMARY KEY,
  file   TEXT    NOT NULL,
  line   INTEGER NOT NULL,               -- from 1; 0: unknown
  reason TEXT    NOT NULL,
  UNIQUE (file, line, reason)            -- a row of one source comes once for each row of the others
) STRICT;

-- Rows that the present plan passes over because its manifest allows it (`missing: skip`): no failure.
CREATE TABLE passed_over (
  id     INTEGER PRIMARY KEY,
  file   TEXT    NOT NULL,
  line   INTEGER NOT NULL,
  reason TEXT    NOT NULL,
  UNIQUE (file, line, reason)
) STRICT;

-- What a run that came to its end has said of tasks that failed, are doubtful or rejected, or came with too
-- few pictures: it is no news any more. A row goes with the state that it is about.
CREATE TABLE task_notices (
  task     INTEGER PRIMARY KEY REFERENCES tasks (id),
  acked_at REAL,                         -- when a person took it out of the exit code
  reason   TEXT                          -- in that person's words
) STRICT;

-- The same of rows that a plan left out.
CREATE TABLE row_notices (
  file     TEXT    NOT NULL,
  line     INTEGER NOT NULL,
  problem  TEXT    NOT NULL,
  acked_at REAL,
  reason   TEXT,
  PRIMARY KEY (file, line, problem)
) STRICT, WITHOUT ROWID;

CREATE TABLE calls (
  kind TEXT PRIMARY KEY,
  n    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each content is uploaded once.
CREATE TABLE uploads (
  digest      TEXT PRIMARY KEY,
  url         TEXT NOT NULL,
  uploaded_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- sha256 of local files by path, size and mtime: a nightly run does not read them again.
CREATE TABLE digests (
  path     TEXT PRIMARY KEY,
  size     INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  sha256   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The three indices of tasks are built over the rows where a plan enters an empty ledger.
CREATE UNIQUE INDEX task_keys ON tasks (key);
CREATE INDEX task_names ON tasks (name_key);
CREATE INDEX task_states ON tasks (state, plan);
CREATE INDEX task_roots ON tasks (root) WHERE root IS NOT NULL;
CREATE INDEX submissions_of_task ON submissions (task);
CREATE INDEX submissions_by_request ON submissions (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX submissions_by_outcome ON submissions (run, outcome, cost);

CREATE TRIGGER tasks_move_only_as_the_table_says
BEFORE UPDATE OF state ON tasks
WHEN NEW.state <> OLD.state
  AND NOT EXISTS (SELECT 1 FROM transitions WHERE origin = OLD.state AND target = NEW.state)
BEGIN
  SELECT RAISE(ABORT, 'a task may not move that way');
END;

CREATE TRIGGER submitted_needs_a_request_id
BEFORE UPDATE OF state ON tasks
WHEN NEW.state = 'submitted'
  AND NOT EXISTS (SELECT 1 FROM submissions WHERE id = NEW.submission AND request_id IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'a submitted task needs its request_id');
END;

CREATE TRIGGER ready_needs_its_files
BEFORE UPDATE OF state ON tasks
WHEN NEW.state = 'ready'
  AND NOT EXISTS (SELECT 1 FROM files WHERE task = NEW.id AND submission = NEW.submission)
BEGIN
  SELECT RAISE(ABORT, 'a ready task needs a result with files');
END;

CREATE TRIGGER done_needs_every_file
BEFORE UPDATE OF state ON tasks
WHEN (NEW.state = 'done' OR NEW.state = 'rejected')
  AND EXISTS (SELECT 1 FROM files WHERE task = NEW.id AND delivered_at IS NULL)
BEGIN
  SELECT RAISE(ABORT, 'a done or rejected task needs every file delivered');
END;

CREATE TRIGGER a_notice_goes_with_its_state
AFTER UPDATE OF state ON tasks
WHEN NEW.state <> OLD.state
  AND (OLD.state = 'failed' OR OLD.state = 'doubtful' OR OLD.state = 'rejected' OR OLD.state = 'done')
BEGIN
  DELETE FROM task_notices WHERE task = NEW.id;
END;

CREATE TRIGGER a_review_goes_with_its_picture
AFTER UPDATE OF state ON tasks
WHEN NEW.state = 'planned' AND OLD.state = 'done'
BEGIN
  DELETE FROM reviews WHERE task = NEW.id;
END;
