"""The tasks as the page shows them."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batcher.job.geometry import Geometry, as_text
from batcher.ledger import check_verdicts, database, rejections
from batcher.ledger.check_verdicts import CheckVerdict
from batcher.results.report import gallery
from batcher.results.report.gallery import LONGEST_TEXT, Facets, GalleryRow, linked_from, shares
from batcher.results.report.thumbnails import ThumbnailSource
from batcher.storage.destination import open_destination
from batcher.task import State
from tests.support.bookkeeping import ACCEPTED, a_ledger, a_result, a_task, first


def shown(number: int, **columns: Any) -> GalleryRow:
    return GalleryRow(number, f"n{number}", "done", columns, {}, None, None, None, None, None, ())


counts = st.fixed_dictionaries({state.value: st.integers(0, 30_000) for state in State})


@given(counts, st.integers(1, 20_000))
def test_shares_never_exceed_the_room_and_leave_none_unused(found: dict[str, int], most: int) -> None:
    given_out = shares(found, most)
    assert all(0 <= n <= found[state] for state, n in given_out.items())
    assert sum(given_out.values()) <= most
    calm = found["done"] + found["planned"]
    if calm >= most:
        assert sum(given_out.values()) == most
    if sum(found.values()) - calm <= most // 4 and sum(found.values()) <= most:
        assert given_out == {state: found[state] for state in given_out}


def test_failures_are_not_crowded_out_by_what_went_well() -> None:
    assert shares({"done": 1_000_000, "failed": 300, "planned": 50}, 1000)["failed"] == 250
    assert shares({"done": 1_000_000, "failed": 30, "planned": 50}, 1000) | {"done": 970} == {
        "done": 970, "failed": 30, "rejected": 0, "doubtful": 0, "ready": 0, "submitted": 0, "submitting": 0,
        "planned": 0,
    }  # fmt: skip


def facets(*rows: GalleryRow) -> dict[str, list[Any]]:
    found = Facets()
    for row in rows:
        found.notice(row)
    return found.as_json()


def test_of_columns_that_divide_the_tasks_alike_the_most_legible_is_offered() -> None:
    rows = [
        shown(
            n,
            image=f"/far/away/{n % 3}.jpg",
            stem=f"p{n % 3}",
            season="winter" if n % 2 else "summer",
            width=n % 2,
        )
        for n in range(12)
    ]
    assert facets(*rows) == {"stem": ["p0", "p1", "p2"], "season": ["summer", "winter"]}


def test_columns_with_one_value_or_hardly_a_repeat_are_not_offered() -> None:
    assert facets(*(shown(n, seed=n, folder="", kind=n % 2) for n in range(50))) == {"kind": ["0", "1"]}


def test_links_are_relative_and_quoted(tmp_path: Path) -> None:
    link = linked_from(tmp_path / "pages")
    assert (
        link(ThumbnailSource("d", tmp_path / "out" / "images" / "a b#1?.png"))
        == "../out/images/a%20b%231%3F.png"
    )
    assert (
        link(ThumbnailSource("d", tmp_path / "pages" / "javascript:alert(1).png"))
        == "javascript%3Aalert%281%29.png"
    )


async def test_a_row_tells_what_went_in_what_came_out_and_what_it_cost(tmp_path: Path) -> None:
    path = tmp_path / ".batcher" / "ledger.sqlite"
    task = a_task(
        1,
        params={"mask": "/in/m.png", "image": "/in/a.png", "prompt": "x" * 1000, "more": {"a": [1]}},
        media={"mask": "cd" * 32, "image": "ab" * 32},
    )
    with a_ledger(path, 0) as ledger:
        ledger.plan([task, a_task(2), a_task(3)], "another plan")
        entry = ledger.submitted(ledger.submitting(first(ledger), api="v2", reserved=1), ACCEPTED)
        entry = ledger.ready(entry, a_result(0.02, total_time=2.5), [(o, None) for o in a_result().outputs])
        ledger.named(entry, 0, "n1.png", "ef" * 32)
        ledger.delivered(entry, 0, size=10, width=4, height=3)
        ledger.done(entry)
        other = ledger.submitting(first(ledger), api="v2", reserved=1)
        ledger.failed(other, "REJECTED: no", "refused")
        states = {state.value: n for state, n in ledger.counts.items()}
    connection = database.open_for_reading(path)
    done, failed, planned = gallery.rows(connection, open_destination(None, tmp_path), states)
    newest = gallery.newest(connection, open_destination(None, tmp_path), 10)
    connection.close()
    assert [row.state for row in (done, failed, planned)] == ["done", "failed", "planned"]
    assert newest == [done]
    told = json.loads(json.dumps(done.as_json(linked_from(tmp_path))))
    assert told["before"][0] == "ab" * 32
    assert told["after"] == [["ef" * 32, "images/n1.png", 4, 3, None]]
    assert (told["cost"], told["seconds"]) == (0.02, 2.5)
    assert len(told["params"]["prompt"]) == LONGEST_TEXT
    assert told["params"]["more"] == '{"a": [1]}'
    assert failed.reason == "REJECTED: no"
    assert failed.as_json(linked_from(tmp_path)).keys() == {
        "id",
        "name",
        "state",
        "columns",
        "params",
        "reason",
    }


async def test_where_the_original_lies_in_the_picture_is_told(tmp_path: Path) -> None:
    path = tmp_path / ".batcher" / "ledger.sqlite"
    source = tmp_path / "in.png"
    Image.new("RGB", (30, 20)).save(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    params = {"image": str(source), "left": 5, "top": 7}
    with a_ledger(path, 0) as ledger:
        ledger.set_meta("geometry", as_text(Geometry("image", "none", x="left", y="top")))
        ledger.plan([a_task(1, params=params, media={"image": digest})], "a plan")
        entry = ledger.submitted(ledger.submitting(first(ledger), api="v2", reserved=1), ACCEPTED)
        entry = ledger.ready(entry, a_result(), [(o, None) for o in a_result().outputs])
        ledger.named(entry, 0, "n1.png", "ef" * 32)
        ledger.delivered(entry, 0, size=10, width=64, height=48)
        finished = ledger.done(entry)
        ledger.record_source_facts(finished)
        assert ledger.metadata(finished)
    connection = database.open_for_reading(path)
    (row,) = gallery.rows(connection, open_destination(None, tmp_path), {"done": 1})
    connection.close()
    assert row.after[0].placement == (5, 7, 30, 20)


async def test_a_rejected_picture_has_its_reason_and_a_warned_one_its_warnings(tmp_path: Path) -> None:
    path = tmp_path / ".batcher" / "ledger.sqlite"
    with a_ledger(path, 2) as ledger:
        for number, verdict in enumerate(
            (CheckVerdict(("blank: <b>one</b> colour", "size: small")), CheckVerdict())
        ):
            entry = ledger.submitted(ledger.submitting(first(ledger), api="v2", reserved=1), ACCEPTED)
            entry = ledger.ready(entry, a_result(), [(o, None) for o in a_result().outputs])
            row = check_verdicts.row_of(entry.id, 0, "ef" * 32, b"", verdict, is_compared=False)
            ledger.named(entry, 0, f"n{number}.png", f"{number:064x}")
            ledger.delivered(entry, 0, size=10, width=4, height=3)
            ledger.done(entry)
            ledger.group.commit()
            with closing(database.open_file(path)) as beside:
                beside.execute(check_verdicts.KEEP, row)
    with closing(database.open_file(path)) as connection:
        rejections.reject(connection, [2], reason="two tails", by="person", at=1.0)
        counts = {"done": 1, "rejected": 1}
        warned, rejected = gallery.rows(connection, open_destination(None, tmp_path), counts)
        assert check_verdicts.warned(connection) == 1
    assert warned.as_json(linked_from(tmp_path))["warnings"] == ["blank: <b>one</b> colour", "size: small"]
    assert (warned.reason, warned.rejected_by) == (None, None)
    told = rejected.as_json(linked_from(tmp_path))
    assert (told["state"], told["reason"], told["by"]) == ("rejected", "two tails", "person")
    assert "warnings" not in told


async def test_a_remote_original_is_named_and_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / ".batcher" / "ledger.sqlite"
    task = a_task(1, params={"mask": "https://a.example/m.png", "image": "https://a.example/a.png"})
    with a_ledger(path, 0) as ledger:
        ledger.plan([task], "a plan")
    connection = database.open_for_reading(path)
    (row,) = gallery.rows(connection, open_destination(None, tmp_path), {"planned": 1})
    connection.close()
    assert (row.before, row.before_url) == (None, "https://a.example/a.png")
