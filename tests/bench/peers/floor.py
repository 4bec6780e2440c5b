"""The least that a plan of these rows can be: the table read, the axes multiplied, each body as JSON, its
hash, all of it in a database, and three indices. `python -m tests.bench.peers.floor JOB DATABASE`
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import resource
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INSERT = "INSERT INTO tasks (key, name, plan, params, columns) VALUES (?, ?, ?, ?, ?)"
Row = tuple[str, str, int, str, str]


def rows(path: Path) -> Iterator[Row]:
    job: dict[str, Any] = json.loads(path.read_text("utf-8"))
    table, axes = path.parent / job["inputs"][0]["table"], job["matrix"]
    image = job["params"]["image"]
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for values in itertools.product(*axes.values()):
                columns = {**row, **dict(zip(axes, values, strict=True))}
                prompt = "{prompt} in {season}, {style}".format_map(columns)
                params = json.dumps({"image": image, "prompt": prompt})
                key = hashlib.sha256(params.encode()).hexdigest()
                yield key, "-".join(columns.values()), 1, params, json.dumps(columns)


def main(job: Path, database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE tasks "
        "(id INTEGER PRIMARY KEY, key TEXT, name TEXT, plan INTEGER, params TEXT, columns TEXT)"
    )
    connection.execute("BEGIN")
    found = rows(job)
    while batch := list(itertools.islice(found, 2_000)):
        connection.executemany(INSERT, batch)
    connection.execute("CREATE UNIQUE INDEX task_keys ON tasks (key)")
    connection.execute("CREATE INDEX task_names ON tasks (name)")
    connection.execute("CREATE INDEX task_plans ON tasks (plan)")
    connection.execute("COMMIT")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}))
