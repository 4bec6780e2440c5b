"""report.html: whole, self-contained, and harmless whatever the data says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from batcher.results import report
from batcher.results.report.page import embedded, live_page, parts, write_page
from batcher.results.report.status import Report
from batcher.sandbox import Faults, faults
from tests.support.bookkeeping import NOW, a_ledger, a_task
from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox

ROOT = Path(__file__).parents[3]
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&amp;\u2028'\"\\"


class Elements(HTMLParser):
    """A page as a browser divides it: elements with attributes, and the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        elif tag == "style":
            self.styles.append("")

    def handle_data(self, data: str) -> None:
        tag, attributes = self.found[-1] if self.found else ("", {})
        if tag == "script" and self.cdata_elem == "script":
            self.scripts[-1] = (attributes, self.scripts[-1][1] + data)
        elif tag == "style" and self.cdata_elem == "style":
            self.styles[-1] += data

    def json(self) -> list[Any]:
        return [json.loads(text) for kind, text in self.scripts if kind.get("type") == "application/json"]


def hashes(texts: list[str]) -> set[str]:
    return {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts}


async def a_hostile_report(folder: Path, tasks: int = 1) -> Report:
    with a_ledger(folder / ".batcher" / "ledger.sqlite", 0) as ledger:
        hostile = {"name": HOSTILE, "columns": {HOSTILE: HOSTILE}, "params": {"prompt": HOSTILE}}
        ledger.plan([a_task(n, **{**hostile, "name": f"{HOSTILE}{n}"}) for n in range(tasks)], "a plan")
        ledger.set_meta("job", HOSTILE)
        ledger.set_meta("model", HOSTILE)
        entry = ledger.submitting(ledger.next_planned(0, 1)[0], api="v2", reserved=1)
        ledger.failed(entry, f"REJECTED: {HOSTILE}", "refused")
    return report.of_folder(folder, now=NOW)


async def test_hostile_texts_are_told_and_run_nothing(tmp_path: Path) -> None:
    found = await a_hostile_report(tmp_path)
    page = Elements(write_page(found).read_text("utf-8"))
    head, rows, last = page.json()
    assert head["figures"]["job"] == HOSTILE
    assert rows["rows"][0]["params"] == {"prompt": HOSTILE}
    assert HOSTILE in rows["rows"][0]["reason"]
    assert (last["here"], last["beyond"]) == (1, 0)
    running = [text for kind, text in page.scripts if kind.get("type") != "application/json"]
    assert running == list(parts().scripts)
    assert not [tag for tag, attributes in page.found if any(name.startswith("on") for name in attributes)]
    assert "img" not in [tag for tag, attributes in page.found if "src" in attributes]


async def test_its_policy_names_its_own_scripts_and_nothing_else(tmp_path: Path) -> None:
    page = Elements(write_page(await a_hostile_report(tmp_path)).read_text("utf-8"))
    (policy,) = [a["content"] for tag, a in page.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = {rule.split()[0]: set(rule.split()[1:]) for rule in policy.split(";")}
    running = [text for kind, text in page.scripts if kind.get("type") != "application/json"]
    assert rules["default-src"] == {"'none'"}
    assert rules["script-src"] == hashes(running)
    assert rules["style-src"] == hashes(page.styles)
    assert "http" not in policy


async def test_it_names_no_file_and_no_host_but_the_pictures(tmp_path: Path) -> None:
    page = Elements(write_page(await a_hostile_report(tmp_path)).read_text("utf-8"))
    named = [a[key] for _, a in page.found for key in ("src", "href", "action") if a.get(key)]
    assert [name for name in named if name and not name.startswith(("#", "data:"))] == []


async def test_rows_lie_in_chunks_that_hold_every_task(tmp_path: Path) -> None:
    found = await a_hostile_report(tmp_path, tasks=1234)
    _, *chunks, last = Elements(write_page(found).read_text("utf-8")).json()
    assert [len(chunk["rows"]) for chunk in chunks] == [500, 500, 234]
    assert len({row["id"] for chunk in chunks for row in chunk["rows"]}) == 1234 == last["here"]
    assert last["states"] == {"failed": 1, "planned": 1233}


async def test_what_a_run_beside_moved_meanwhile_is_told_as_it_is(tmp_path: Path) -> None:
    found = await a_hostile_report(tmp_path, tasks=5)
    earlier = replace(found, counts={**found.counts, "planned": 1, "done": 4}, total=6)
    *_, last = Elements(write_page(earlier).read_text("utf-8")).json()
    assert (last["here"], last["beyond"], last["states"]) == (2, 4, {"failed": 1, "planned": 1})


async def test_a_run_leaves_a_report_with_its_pictures_in_it(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(
        service=5, faults=Faults([faults.Failed(error="CUDA out of memory", calls=[2])])
    ) as server:
        told = await harness.run(server, harness.manifest(12))
    page = Elements((harness.output / "report.html").read_text("utf-8"))
    head, rows, last = page.json()
    assert head["figures"]["counts"] == told.counts
    assert head["figures"]["cost"] == told.cost
    assert last["states"] == {"done": 11, "failed": 1}
    for row in rows["rows"][:11]:
        digest, link, *_ = row["after"][0]
        assert (harness.output / link).exists() or " " in row["name"]
        assert base64.b64decode(rows["thumbs"][digest])[8:12] == b"WEBP"


async def test_elsewhere_it_finds_the_pictures_too(
    harness: Harness, sandbox: MakeSandbox, tmp_path: Path
) -> None:
    async with sandbox(service=5) as server:
        told = await harness.run(server, harness.manifest(2, output={"name": "n{{ place[-1] }}"}))
    (tmp_path / "mail").mkdir()
    page = write_page(told, tmp_path / "mail" / "streets.html", thumbnails=0)
    _, rows, _ = Elements(page.read_text("utf-8")).json()
    assert rows["thumbs"] == {}
    assert all((page.parent / row["after"][0][1]).resolve().exists() for row in rows["rows"])


async def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    found = await a_hostile_report(tmp_path)
    with pytest.raises(Exception, match="No such file"):
        write_page(found, tmp_path / "nowhere" / "report.html")


def test_json_inside_a_script_cannot_leave_it() -> None:
    text = embedded({"a": HOSTILE})
    assert json.loads(text) == {"a": HOSTILE}
    assert not re.search("[<>&\u2028]", text)


def test_the_live_page_carries_no_data_and_its_policy_allows_only_its_server() -> None:
    text, policy = live_page(HOSTILE)
    page = Elements(text)
    running = [script for kind, script in page.scripts if kind.get("type") != "application/json"]
    assert "connect-src 'self'" in policy
    assert all(found in policy for found in hashes(running) | hashes(page.styles))
    assert running == list(parts().scripts)


def test_the_chart_library_lies_in_the_package_with_its_licence_and_its_version_is_told() -> None:
    static = ROOT / "batcher" / "results" / "report" / "static"
    version = re.search(r"uPlot \(v([0-9.]+)\)", (static / "uPlot.iife.min.js").read_text("utf-8"))
    assert version is not None
    assert "MIT License" in (static / "uPlot.LICENSE").read_text("utf-8")
    assert f"uPlot {version[1]}" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")
