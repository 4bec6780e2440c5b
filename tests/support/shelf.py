"""Delivered pictures to be exported: a ledger and its files, made as a run makes them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from batcher.api.wire import Accepted, Output
from batcher.ledger.ledger import Ledger
from batcher.results.export.writer import ExportFormat
from tests.support.bookkeeping import NOW, a_result, a_task, in_virtual_time

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200)]
FORMS: tuple[ExportFormat, ...] = ("imagefolder", "webdataset", "parquet", "coco", "yolo", "voc")


class Shelf:
    """A job's output folder in `folder`, and source photographs beside it."""

    def __init__(self, folder: Path, model: str = "seg-beyond") -> None:
        self.folder = folder
        self.output = folder / "out"
        self.model = model
        (self.output / "images").mkdir(parents=True)
        (folder / "photos").mkdir()

    def photo(self, name: str, size: tuple[int, int] = (64, 48)) -> Path:
        """A source photograph, each with a content of its own."""
        path = self.folder / "photos" / name
        number = len(list(path.parent.iterdir()))
        image = Image.new("RGB", size, COLOURS[number % len(COLOURS)])
        image.putpixel((0, 0), (number % 256, number // 256, 7))
        image.save(path)
        return path

    def variant(self, name: str, photo: Path | str | None, **columns: Any) -> dict[str, Any]:
        """A task that extends a photograph by 36 pixels on its left."""
        params: dict[str, Any] = {"prompt": f"a {name}", "left": 36}
        media = {}
        if photo is not None:
            params["input_image"] = str(photo)
            columns = {"image": str(photo), **columns}
        if isinstance(photo, Path):
            media = {"input_image": hashlib.sha256(photo.read_bytes()).hexdigest()}
        return {"name": name, "params": params, "media": media, "columns": columns}

    def deliver(
        self, *tasks: Mapping[str, Any], size: tuple[int, int] = (100, 48), pictures: int = 1, **meta: str
    ) -> None:
        """Every one of these tasks is planned, done, and its pictures lie in images/."""

        async def deliver() -> None:
            ledger = Ledger(self.output / ".batcher" / "ledger.sqlite", now=lambda: NOW)
            for key, value in {"model": self.model, **meta}.items():
                ledger.set_meta(key, value)
            numbered = [
                a_task(
                    int(hashlib.sha256(task["name"].encode()).hexdigest()[:8], 16), images=pictures, **task
                )
                for task in tasks
            ]
            ledger.plan(numbered, json.dumps(sorted(task.key for task in numbered)))
            ledger.start_run()
            for entry in ledger.next_planned(0, len(numbered)):
                self._done(ledger, entry, size, pictures)
            await ledger.committed()
            ledger.close()

        in_virtual_time(deliver())

    def _done(self, ledger: Ledger, entry: Any, size: tuple[int, int], pictures: int) -> None:
        accepted = Accepted(f"r-{entry.id}", "http://api/s", "http://api/r")
        entry = ledger.submitted(ledger.submitting(entry, api="v2", reserved=0), accepted)
        outputs = [Output(url=f"http://files/{n}.png") for n in range(pictures)]
        entry = ledger.ready(entry, a_result(0.01, *outputs), [(output, None) for output in outputs])
        for file in ledger.files(entry):
            name = f"{entry.task.name}.png" if pictures == 1 else f"{entry.task.name}-{file.position}.png"
            path = self.output / "images" / name
            Image.new("RGB", size, COLOURS[(entry.id + file.position) % len(COLOURS)]).save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            ledger.named(entry, file.position, name, digest)
            ledger.delivered(entry, file.position, size=path.stat().st_size, width=size[0], height=size[1])
        ledger.record_source_facts(ledger.done(entry))

    def repaint(self, name: str, image: Image.Image) -> None:
        """The delivered picture of this file name is this one."""
        path = self.output / "images" / name
        image.save(path)
        content = path.read_bytes()
        with closing(sqlite3.connect(self.output / ".batcher" / "ledger.sqlite")) as ledger, ledger:
            row = (hashlib.sha256(content).hexdigest(), len(content), name)
            ledger.execute("UPDATE files SET sha256 = ?, bytes = ? WHERE name = ?", row)


def a_street(shelf: Shelf, sources: int = 8) -> None:
    """Two variants of each photograph, with a label in boxes and a mask."""
    tasks = []
    for number in range(sources):
        photo = shelf.photo(f"p{number}.png")
        mask = shelf.folder / f"mask{number}.png"
        Image.new("L", (64, 48), number + 1).save(mask)
        labels = {"boxes": [[8, 4, 16, 12]], "box_classes": [number], "mask": str(mask)}
        label = f"l{number % 2}"
        tasks += [
            shelf.variant(f"p{number}-{season}", photo, season=season, label=label, **labels)
            for season in ("summer", "winter")
        ]
    shelf.deliver(*tasks)
