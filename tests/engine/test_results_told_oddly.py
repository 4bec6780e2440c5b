"""Results that hold other than was asked for: what came is delivered, what is missing is told and kept."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from batcher.progress import Event, Message
from tests.support.harness import Harness
from tests.support.scripted_api import PNG, Api

SEVERAL: dict[str, Any] = {"model": "sd1.5-img2img"}


class Telling(Api):
    """Each result is laid over by what `output` says of the normal URL."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def told(self, path: str) -> Any:
        told = super().told(path)
        return told | {"output": self.output(told["output"])}


ODD = {
    "relative": lambda url: "/" + url.split("/", 3)[3],
    "without a scheme": lambda url: url.partition(":")[2],
    "base64 without its padding": lambda url: b64encode(PNG).decode().rstrip("="),
    "base64 for URLs": lambda url: b64encode(PNG, b"-_").decode(),
    "base64 with blanks": lambda url: " \n".join(
        b64encode(PNG).decode()[at : at + 60] for at in range(0, 2 * len(PNG), 60)
    ),
    "JSON in a text": lambda url: f'["{url}"]',
    "under a strange key": lambda url: {"strange": [{"bytes": b64encode(PNG).decode()}]},
}


@pytest.mark.parametrize("name", ODD)
async def test_a_picture_is_found_however_it_is_told(harness: Harness, name: str) -> None:
    (report,) = await Telling(ODD[name]).serve(harness, 2)
    assert (report.exit_code, report.counts["done"]) == (0, 2)
    harness.check(report)


async def test_without_a_picture_the_whole_answer_is_kept_and_the_bill_is_told(harness: Harness) -> None:
    (report,) = await Telling(lambda url: "sorry " * 500).serve(harness, 2)
    reason = "NO_PICTURE: the result has no picture in it, and is billed"
    assert (report.exit_code, report.failures, report.cost["spent"]) == (3, {reason: 2}, 0.02)
    for line in harness.lines("errors.jsonl"):
        kept = harness.output / line["detail"].partition("(the whole answer: ")[2].rstrip(")")
        assert b"sorry " * 400 in kept.read_bytes()


async def test_base64_that_is_cut_fails_and_its_bytes_stay(harness: Harness) -> None:
    (report,) = await Telling(lambda url: b64encode(PNG).decode()[: len(PNG) // 2]).serve(harness, 1)
    assert (report.exit_code, report.counts["failed"]) == (3, 1)
    assert "spool" in harness.lines("errors.jsonl")[0]["detail"]
    assert len(list((harness.output / ".batcher" / "spool").iterdir())) == 1


async def test_fewer_pictures_than_asked_for_are_delivered_told_and_counted(harness: Harness) -> None:
    api = Telling(lambda url: [f"{url}?{n}" for n in range(3)])
    heard: list[Event] = []
    (report,) = await api.serve(
        harness, 2, listener=heard.append, params={"samples": 4}, unchecked=["samples"], **SEVERAL
    )
    assert (report.exit_code, report.counts["done"], report.images) == (3, 2, 6)
    (reason,) = report.failures
    assert reason.startswith("SHORTFALL: ")
    assert report.failures[reason] == 2
    assert [line["reason"] for line in harness.lines("errors.jsonl")] == [reason] * 2
    assert [event.text for event in heard if isinstance(event, Message) and "3 pictures came" in event.text]


async def test_fewer_pictures_than_an_unknown_model_was_asked_for_are_told(harness: Harness) -> None:
    api = Telling(lambda url: url)
    (report,) = await api.serve(harness, 2, model="of-tomorrow", params={"samples": 2})
    assert (report.exit_code, report.counts["done"], report.images) == (3, 2, 2)
    (reason,) = report.failures
    assert reason.startswith("SHORTFALL: ")


async def test_a_flood_of_pictures_is_bounded_and_told(harness: Harness) -> None:
    api = Telling(lambda url: [f"{url}?{n}" for n in range(10_000)])
    heard: list[Event] = []
    (report,) = await api.serve(harness, 1, listener=heard.append)
    assert (report.exit_code, report.images) == (0, 16)
    assert [event.text for event in heard if isinstance(event, Message) and "10,000 pictures" in event.text]


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999/a.png"])
async def test_a_link_that_leads_nowhere_is_asked_for_anew(harness: Harness, url: str) -> None:
    """By the next run too: the result may tell another one then."""

    class Healing(Telling):
        def begins(self, run: int, harness: Harness) -> None:
            if run:
                self.output = lambda right: right

    first, second = await Healing(lambda right: url).serve(harness, 2, runs=2)
    assert (first.exit_code, first.counts["ready"]) == (5, 2)
    assert (second.exit_code, second.counts["done"]) == (0, 2)
    harness.check(second)


async def test_an_id_that_repeats_is_told_apart_by_the_urls(harness: Harness) -> None:
    class Constant(Api):
        def submitted(self, number: int) -> Any:
            return super().submitted(number) | {"request_id": 7}

        def told(self, path: str) -> Any:
            return {**super().told(path), "request_id": None}

    (report,) = await Constant().serve(harness, 3)
    assert (report.exit_code, report.counts["done"]) == (0, 3)


@pytest.mark.parametrize("output", [None, 7, "file:///etc/passwd", [], {"note": "soon"}])
async def test_a_result_without_a_picture_is_had_from_the_history_where_that_names_it(
    harness: Harness, output: Any
) -> None:
    class Silent(Api):
        def told(self, path: str) -> Any:
            if "request-history" in path:
                job = path.rpartition("/")[2]
                row = {"request_id": job, "model_status": "COMPLETED", "credits_deduction": 0.01}
                return row | {"generation_url": f"{self.url}/files/{job}.png"}
            told = super().told(path)
            return told if path.endswith("/status") else told | {"output": output}

    api = Silent()
    (report,) = await api.serve(harness, 3)
    harness.check(report)
    assert (report.exit_code, report.counts["done"], api.submits) == (0, 3, 3)
