"""A job, a sandbox and a folder: what the tests of the engine stand on."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import RunOptions, load, run
from batcher.job.manifest import Manifest
from batcher.progress import Listener, silent
from batcher.results.report import Report
from batcher.sandbox import Sandbox

KEY = "SG_00112233445566ff"


class Harness:
    """Runs small jobs in `folder` by the clock `now`."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self.folder = folder
        self.now = now
        self.output = folder / "out"

    def manifest(self, tasks: int = 6, **changes: Any) -> Manifest:
        """A job of so many tasks; `changes` are laid over it (`limits={"rpm": 60}`)."""
        data: dict[str, Any] = {
            "name": "job",
            "model": "sd1.5-outpaint",
            "inputs": [{"rows": [{"place": f"place {n}"} for n in range(tasks)]}],
            "params": {"image": "https://photos.example/one.png", "prompt": "a street in {{ place }}"},
            "output": {"dir": str(self.output), "name": "{{ place }}"},
            "limits": {"rpm": 6000},
            "price": 0.01,
        }
        for key, value in changes.items():
            data[key] = {**data[key], **value} if isinstance(data.get(key), dict) else value
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(data))
        return load(path)

    async def run(
        self,
        server: Sandbox,
        manifest: Manifest,
        listener: Listener = silent,
        *,
        jitter: Callable[[], float] = random.random,
        **options: Any,
    ) -> Report:
        """One run against `server`."""
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        return await run(
            manifest,
            account=account,
            listener=listener,
            options=RunOptions(**options),
            now=self.now,
            jitter=jitter,
        )

    def move_to(self, name: str) -> None:
        """Another output folder in place of the one before: a plan asks the ledgers beside it, and another
        sandbox may have had the same port."""
        shutil.rmtree(self.output, ignore_errors=True)
        self.output = self.folder / name

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Rows of the ledger."""
        with sqlite3.connect(self.output / ".batcher" / "ledger.sqlite") as connection:
            found = connection.execute(query, values).fetchall()
        connection.close()
        return found

    def states(self) -> Counter[str]:
        """How many tasks are in each state, by a count over the rows."""
        return Counter(dict(self.rows("SELECT state, count(*) FROM tasks GROUP BY state")))

    def outcomes(self) -> Counter[str]:
        """How many submissions ended in each way."""
        return Counter(dict(self.rows("SELECT outcome, count(*) FROM submissions GROUP BY outcome")))

    def pictures(self, folder: str = "images") -> list[str]:
        """The names of the delivered files, or of those that are set aside, each of which decodes."""
        there = self.output / folder
        found = sorted(there.iterdir()) if there.exists() else []
        for path in found:
            with Image.open(path) as image:
                image.load()
        return [path.name for path in found]

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The records of metadata.jsonl or errors.jsonl."""
        return [json.loads(line) for line in (self.output / name).read_text().splitlines()]

    def check(self, report: Report) -> None:
        """What holds after every run: the report is a count over the rows, done means one whole file."""
        assert {state: n for state, n in report.counts.items() if n} == dict(self.states())
        assert report.total == sum(report.counts.values())
        for folder in ("images", "rejected"):
            query = "SELECT name FROM files WHERE delivered_at IS NOT NULL AND folder = ? ORDER BY name"
            assert [name for (name,) in self.rows(query, folder)] == self.pictures(folder)
        assert len(self.pictures()) + len(self.pictures("rejected")) == report.images
        assert not self.rows("SELECT * FROM files WHERE moved_from IS NOT NULL")
        assert not self.rows(
            "SELECT t.name FROM files f JOIN tasks t ON t.id = f.task "
            "WHERE t.state IN ('done', 'rejected') AND (t.state = 'rejected') <> (f.folder = 'rejected')"
        )
        aside = self.lines("rejected.jsonl") if (self.output / "rejected.jsonl").exists() else []
        assert [line["file_name"] for line in aside] == [
            f"rejected/{name}"
            for (name,) in self.rows(
                "SELECT f.name FROM files f JOIN tasks t ON t.id = f.task "
                "WHERE t.state = 'rejected' ORDER BY f.task, f.position"
            )
        ]
        assert [line["file_name"] for line in self.lines("metadata.jsonl")] == [
            f"images/{name}"
            for (name,) in self.rows(
                "SELECT f.name FROM files f JOIN tasks t ON t.id = f.task "
                "WHERE t.state = 'done' ORDER BY f.task, f.position"
            )
        ]
        assert not list((self.output / ".batcher" / "parts").iterdir())
        assert len(self.lines("errors.jsonl")) == sum(
            n for state, n in self.states().items() if state not in ("done", "rejected", "planned")
        )


@pytest.fixture
def harness(tmp_path: Path, now: Callable[[], float]) -> Harness:
    """A folder and the virtual clock."""
    return Harness(tmp_path, now)
