"""Jobs in a folder of pictures that changes, planned into one ledger or several."""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from batcher import errors
from batcher.engine import planning
from batcher.job.manifest import Manifest
from batcher.ledger.kept_plans import KeptPlans
from batcher.ledger.ledger import Ledger
from batcher.storage import layout
from tests.support.manifests import parse

NOW = 1_700_000_000.0
COLOURS = ("red", "green", "blue", "black", "white", "grey")
PLAIN = 'image: "{{ image }}", prompt: x'


@cache
def png(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(data, "PNG")
    return data.getvalue()


class Job:
    """A job in a folder with pictures. Each of its ledgers is planned when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clock = 1_600_000_000
        (folder / "photos").mkdir()
        (folder / "masks").mkdir()
        (folder / "t.csv").write_text("place\nitaly\njapan\n")

    def put(self, name: str, colour: str = "red") -> Path:
        """A picture of that colour, `broken`: of no colour; each is younger than the last."""
        path = self.folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"junk" if colour == "broken" else png(colour))
        self._clock += 1
        os.utime(path, (self._clock, self._clock))
        return path

    def manifest(self, inputs: str = "{images: photos}", params: str = PLAIN, more: str = "") -> Manifest:
        text = f"model: sd1.5-outpaint\ninputs: {inputs}\nparams: {{{params}}}\n{more}\n"
        return parse(text, "job.yaml", self.folder)

    @contextmanager
    def ledger(self, name: str = "one") -> Iterator[Ledger]:
        path = self.folder / name / "ledger.sqlite"
        path.parent.mkdir(exist_ok=True)
        with closing(Ledger(path, now=lambda: NOW)) as ledger:
            yield ledger

    def plan(
        self,
        name: str = "one",
        *,
        anew: bool = False,
        inputs: str = "{images: photos}",
        params: str = PLAIN,
        more: str = "",
        check: Callable[[sqlite3.Connection, int], None] = lambda connection, number: None,
        statements: list[str] | None = None,
        kept_plans: KeptPlans | None = None,
    ) -> tuple[Any, list[str]]:
        """What planning gave (the problems where it was refused), and what it told; `anew`: everything,
        whatever is known of the last plan."""
        told: list[str] = []
        with self.ledger(name) as ledger:
            if anew:
                layout.planned_files_path(ledger.path).unlink(missing_ok=True)
            if statements is not None:
                ledger.connection.set_trace_callback(statements.append)
            try:
                found: Any = planning.plan_into(
                    ledger,
                    self.manifest(inputs, params, more),
                    warn=told.append,
                    progress=lambda n: None,
                    check=check,
                    kept_plans=kept_plans,
                )
            except errors.ManifestError as error:
                found = [str(problem) for problem in error.problems]
            ledger.connection.set_trace_callback(None)
        return found, told

    def number(self, name: str = "one") -> int:
        """Of the present plan; it stays where only something new has joined it."""
        with self.ledger(name) as ledger:
            return ledger.plan_number

    def grows(self, **job: Any) -> bool:
        """Plans once more; whether what is new has joined the plan as it was."""
        before = self.number()
        found, _ = self.plan(**job)
        assert isinstance(found, planning.PlanResult)
        return self.number() == before

    def image(self, name: str) -> dict[str, list[Any]]:
        """All of a ledger that a plan writes, but for the plan's number."""
        with self.ledger(name) as ledger:
            number = ledger.plan_number
            rows: dict[str, list[Any]] = {
                table: ledger.connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                for table in ("left_out", "passed_over", "digests", "submissions")
            }
            columns = "id, key, name, name_key, plan = ?, images, repeat, params, columns, media, state"
            rows["tasks"] = ledger.connection.execute(
                f"SELECT {columns} FROM tasks ORDER BY id", (number,)
            ).fetchall()
            rows["meta"] = ledger.connection.execute(
                "SELECT * FROM meta WHERE key NOT IN ('plan', 'planned_files') ORDER BY key"
            ).fetchall()
            rows["counts"] = sorted(ledger.counts.items())
        return rows

    def pay(self, ledgers: Sequence[str], place: int, state: str) -> None:
        """Something became of a task of each of these ledgers."""
        for name in ledgers:
            with self.ledger(name) as ledger:
                connection = ledger.connection
                found = connection.execute(
                    "SELECT id FROM tasks WHERE state = 'planned' ORDER BY id LIMIT 1 OFFSET ?", (place,)
                ).fetchone()
                if found is None:
                    continue
                if state == "failed":
                    connection.execute(
                        "UPDATE tasks SET state = 'failed', reason = 'x: y' WHERE id = ?", found
                    )
                    continue
                run = connection.execute("INSERT INTO runs (started_at) VALUES (1) RETURNING id").fetchone()
                submission = connection.execute(
                    "INSERT INTO submissions (task, run, attempt, api, submitted_at, images) "
                    "VALUES (?, ?, 1, 'v2', 1, 1) RETURNING id",
                    (*found, *run),
                ).fetchone()
                connection.execute(
                    "UPDATE tasks SET state = 'submitting', submission = ? WHERE id = ?",
                    (*submission, *found),
                )
                connection.execute("UPDATE tasks SET state = 'doubtful' WHERE id = ?", found)


NAMED = 'output: {name: "{{ stem }}-{{ place }}"}'
JOBS: tuple[dict[str, str], ...] = (
    {},
    {"params": 'image: "{{ image }}", prompt: "{{ stem }}"'},
    {"inputs": '{images: "photos/**/*.png"}', "params": 'image: "{{ image }}", prompt: "in {{ folder }}."'},
    {"inputs": "{images: [photos/sub, photos]}"},
    {"more": "seed: 7", "params": 'image: "{{ image }}", prompt: x, seed: "{{ seed }}"'},
    {"more": "seed: 7\nrepeat: 2", "params": "prompt: \"{{ choice('a', 'b') }}\", image: \"{{ image }}\""},
    {"more": "matrix: {season: [winter, summer]}", "params": 'image: "{{ image }}", prompt: "{{ season }}"'},
    {"params": 'image: "https://host.example/a.png", prompt: "{{ stem }}"'},
    {
        "inputs": "[{images: photos}, {table: t.csv}]",
        "params": 'image: "{{ image }}", prompt: "{{ place }}"',
        "more": NAMED,
    },
    {
        "inputs": "[{rows: [{place: italy}, {place: japan}]}, {images: photos}]",
        "params": 'image: "{{ image }}", prompt: "{{ place }}"',
        "more": NAMED,
    },
    {"inputs": "{images: photos, filter: \"{{ stem != 'b' }}\"}"},
    {"inputs": "{images: photos, filter: '{{ width > 4 }}', empty: allow}"},
    {"inputs": "{images: photos, order: [-stem]}"},
    {"inputs": "{images: photos, limit: 3}"},
    {"inputs": "{images: photos, sample: 3}"},
    {"inputs": "{images: photos, only: new}"},
    {"inputs": '{images: photos, companions: {mask: "masks/{{ stem }}.png"}, missing: skip}'},
    {"params": 'image: "photos/{{ folder }}/{{ name }}", prompt: x'},
    {"more": 'output: {name: "{{ stem }}"}'},
    {"more": 'output: {name: "{{ stem[:1] }}"}'},
)
MANY_COLOURS = tuple(f"#{n:06x}" for n in range(0, 0xFFFFFF, 0xABCDE))
NAMES = (
    *(f"{n}.png" for n in range(0, 40, 3)),
    "a.png",
    "b.png",
    "c.jpg",
    "a2.png",
    "a10.png",
    "sub/a.png",
    "sub/d.png",
    "B.png",
    "é.png",
    "plain",
)

changes = st.one_of(
    *[st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from(MANY_COLOURS))] * 6,
    st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from((*COLOURS, "broken"))),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just("")),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("file"), st.sampled_from(("notes.txt", "film.mp4", "thing")), st.just("")),
    st.tuples(st.just("pay"), st.sampled_from(("failed", "doubtful")), st.sampled_from("0123")),
)


def apply(job: Job, what: str, name: str, more: str) -> None:
    path = job.folder / "photos" / name
    if what == "put":
        job.put(name, more)
    elif what == "remove":
        path.unlink(missing_ok=True)
    elif what == "move" and path.exists():
        (job.folder / "photos" / more).parent.mkdir(exist_ok=True)
        path.rename(job.folder / "photos" / more)
    elif what == "file":
        path.write_bytes(b"\0\1\2")
    elif what == "pay":
        job.pay(("one", "two"), int(more), name)
