"""New links in the place of dead ones: each picture of a result comes once, and under its own name, whatever
of it was left out before, came inside the answer, or is gone for good."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.api.wire import Output
from batcher.engine import RunOptions, repair, run
from batcher.engine.lifecycle.relinking import by_name, in_result
from batcher.ledger.entries import OutputFile
from tests.support.foreign import Foreign
from tests.support.harness import KEY, Harness
from tests.support.linked_results import GONE, GOOD, REJECTS, WARNS, Links, asked, spooled
from tests.support.scripted_api import Whole

CHECKS = pytest.mark.parametrize("checks", [WARNS, REJECTS], ids=["warned", "rejected"])


class LinkedByHistory(Links):
    """The history names fresh links, in another order, with the file names of the old ones."""

    def begins(self, run: int, harness: Harness) -> None:
        self.created = datetime.fromtimestamp(harness.now(), UTC).isoformat()

    def told(self, path: str) -> Any:
        _, history, asked = path.partition("/request-history")
        if not history:
            return super().told(path)
        if asked.startswith("/"):
            return self.row(asked[1:], 0)
        return {"data": [self.row("1", n) for n in (1, 2, 0)] if "page=1&" in f"{asked}&" else []}

    def row(self, job: str, n: int) -> dict[str, Any]:
        return {
            "request_id": job,
            "model_name": "sd1.5-img2img",
            "model_status": "COMPLETED",
            "credits_deduction": 0.03,
            "generation_url": f"{self.url}/files/fresh/{job}-{n}.png",
            "model_created": self.created,
        }

    def file(self, path: str) -> Any:
        return _good(path) if "/fresh/" in path else super().file(path)


class Mixed(Links):
    """Some pictures come inside the result; the links of the others lead somewhere from its second on."""

    def __init__(self, inside: tuple[int, ...]) -> None:
        super().__init__(gone=(0, 1, 2))
        self.inside = inside
        self.results = 0

    def told(self, path: str) -> Any:
        self.results += not path.endswith("status")
        fresh = "fresh-" if self.results > 1 else ""
        outputs = [
            b64encode(GOOD[n]).decode() if n in self.inside else f"{self.url}/files/{fresh}1-{n}.png"
            for n in range(3)
        ]
        return super().told(path) | {"output": outputs}

    def file(self, path: str) -> Any:
        return _good(path) if "/fresh-" in path else super().file(path)


def _good(path: str) -> bytes:
    return GOOD[int(path.removesuffix(".png").rpartition("-")[2])]


def delivered(harness: Harness) -> dict[str, bytes]:
    return {
        line["file_name"]: (harness.output / line["file_name"]).read_bytes()
        for line in harness.lines("metadata.jsonl")
    }


def named(*positions: int) -> dict[str, bytes]:
    return {f"images/place 0-{n}.png": GOOD[n] for n in positions}


@CHECKS
@pytest.mark.parametrize(
    ("damaged", "gone"), [((0,), (1, 2)), ((0,), (2,)), ((1,), (0,)), ((0, 1), (2,))], ids=str
)
async def test_a_picture_that_was_left_out_shifts_no_link_of_the_others(
    harness: Harness, damaged: tuple[int, ...], gone: tuple[int, ...], checks: dict[str, Any]
) -> None:
    served = LinkedByHistory(gone=gone)
    served.damaged = damaged
    await served.serve(harness, 1, **asked(**checks))
    others = [n for n in range(3) if n not in damaged]
    found = delivered(harness)
    assert {name: found.get(name) for name in named(*others)} == named(*others)
    assert served.submits == 1


@CHECKS
@pytest.mark.parametrize("inside", [(0,), (1,), (2,), (0, 1)], ids=str)
async def test_what_came_inside_the_result_shifts_no_link_of_the_others(
    harness: Harness, inside: tuple[int, ...], checks: dict[str, Any]
) -> None:
    served = Mixed(inside)
    (report,) = await served.serve(harness, 1, **asked(**checks))
    assert (report.exit_code, report.images, served.submits) == (0, 3, 1)
    assert delivered(harness) == named(0, 1, 2)


@CHECKS
async def test_where_a_result_names_none_of_what_the_history_does_it_is_what_the_history_names(
    harness: Harness, checks: dict[str, Any]
) -> None:
    class Joined(LinkedByHistory):
        def told(self, path: str) -> Any:
            links = "\n".join(f"{self.url}/files/1-{n}.png" for n in range(3))
            answer = super().told(path)
            return answer | {"output": links} if "output" in answer else answer

        def file(self, path: str) -> Any:
            return super().file(path) if path.count(".png") == 1 else GONE

    served = Joined()
    (report,) = await served.serve(harness, 1, **asked(**checks))
    assert (report.exit_code, report.images, served.submits) == (0, 3, 1)
    assert sorted(delivered(harness).values()) == sorted(GOOD)


@CHECKS
async def test_where_one_is_gone_for_good_the_others_are_the_result(
    harness: Harness, checks: dict[str, Any]
) -> None:
    """Before, they lay in the spool for ever, or beside a task that was never done: all that was left was to
    put them aside and to pay for all three again."""
    served = Links(gone=(1,))
    *_, before, last = await served.serve(harness, 1, runs=20, **asked(**checks))
    assert before.counts["done"] == last.counts["done"] == 1
    assert [reason.partition(":")[0] for reason in last.failures] == ["SHORTFALL"]
    assert delivered(harness) == named(0, 2)
    assert (served.submits, spooled(harness)) == (1, [])
    assert harness.lines("errors.jsonl")[0]["detail"].startswith("1 of 3 pictures are gone: ")


@CHECKS
async def test_a_host_that_fails_for_one_keeps_no_dead_link_of_another_from_being_had_anew(
    harness: Harness, checks: dict[str, Any]
) -> None:
    class Failing(LinkedByHistory):
        def file(self, path: str) -> Any:
            return Whole(b"HTTP/1.1 503 Busy\r\n") if path.endswith("-0.png") else super().file(path)

    (report,) = await Failing(gone=(1,)).serve(harness, 1, **asked(**checks))
    assert report.counts["ready"] == 1
    kept = harness.rows("SELECT position FROM files WHERE coalesce(name, spool) IS NOT NULL")
    assert kept == [(1,), (2,)]


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_a_picture_of_an_answer_that_is_lost_on_disk_is_not_another_one_of_it_had_again(
    harness: Harness, lost: int
) -> None:
    """In which order the history names them is not known."""

    class Inside(LinkedByHistory):
        def told(self, path: str) -> Any:
            answer = super().told(path)
            return (
                answer | {"output": [b64encode(one).decode() for one in GOOD]}
                if "output" in answer
                else answer
            )

    served = Inside()
    async with Foreign(served) as served.server:
        served.url = served.server.url
        served.begins(0, harness)
        account = Account(Endpoints(served.url, served.url, served.url), KEY)
        job = harness.manifest(1, **asked(retry={"attempts": 4}))
        await run(job, account=account, options=RunOptions(), now=harness.now)
        (harness.output / f"images/place 0-{lost}.png").unlink()
        mended = await repair(harness.output, job, warn=print, account=account, now=harness.now)
    assert (mended.exit_code, mended.fetched) == (0, 1)
    assert delivered(harness) == named(0, 1, 2)


@CHECKS
@pytest.mark.parametrize("first", [0, 1, 2])
async def test_an_answer_that_is_one_picture_of_several_has_the_others_from_the_history(
    harness: Harness, first: int, checks: dict[str, Any]
) -> None:
    """A v1 answer is the bytes of a picture; three were asked for, and are paid."""

    class Raw(LinkedByHistory):
        def submitted(self, number: int) -> Any:
            return Whole(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nx-request-id: 1\r\n", GOOD[first])

    served = Raw()
    (report,) = await served.serve(harness, 1, **asked(api="v1", **checks))
    harness.check(report)
    assert (report.exit_code, report.images, served.submits) == (0, 3, 1)
    assert sorted(delivered(harness).values()) == sorted(GOOD)
    assert spooled(harness) == []


@CHECKS
async def test_a_result_that_tells_one_link_of_several_has_the_others_from_the_history(
    harness: Harness, checks: dict[str, Any]
) -> None:
    class Short(LinkedByHistory):
        def told(self, path: str) -> Any:
            answer = super().told(path)
            return answer | {"output": answer["output"][:1]} if "output" in answer else answer

    served = Short()
    (report,) = await served.serve(harness, 1, **asked(**checks))
    harness.check(report)
    assert (report.exit_code, report.images, served.submits) == (0, 3, 1)
    assert sorted(delivered(harness).values()) == sorted(GOOD)


async def test_where_the_history_names_no_more_either_it_is_asked_three_times_alone(harness: Harness) -> None:
    class Filtered(Links):
        def told(self, path: str) -> Any:
            if "/request-history" in path:
                return {"data": []} if "page=" in path else {"error": "Request not found"}
            return super().told(path) | {"output": f"{self.url}/files/1-0.png"}

    served = Filtered()
    (report,) = await served.serve(harness, 8, **asked(limits={"in_flight": 4}))
    assert (report.exit_code, report.counts["done"], report.images) == (3, 8, 8)
    assert len({path for path in served.asked if "/request-history/" in path}) == 3


def files(*urls: str | None) -> list[OutputFile]:
    return [OutputFile(n, url, None, None, None, None) for n, url in enumerate(urls) if url != ""]


@pytest.mark.parametrize(
    ("urls", "told", "links"),
    [
        # The name that all have tells nothing; their paths do.
        (
            ("h/a/o.png?1", "h/b/o.png?1"),
            ("h/b/o.png?2", "h/a/o.png?2"),
            {0: "h/a/o.png?2", 1: "h/b/o.png?2"},
        ),
        (("h/a/o.png", "h/b/o.png"), ("n/c/o.png", "n/d/o.png"), {}),
        (("h/a/o.png", "h/b/o.png"), ("h/a/o.png", "n/d/o.png"), {0: "h/a/o.png", 1: "n/d/o.png"}),
        (("h/1.png", "h/2.png"), ("n/2.png",), {1: "n/2.png"}),
        (("h/1.png", "h/1.png"), ("n/1.png",), {0: "n/1.png", 1: "n/1.png"}),
        (("h/1.png", None), ("n/1.png", "n/2.png"), {0: "n/1.png"}),
        (("h/get?1", "h/get?2"), ("n/get?1", "n/get?2"), {}),
        (("[h/1.png", "h/2.png"), ("[n/1.png", "n/2.png"), {1: "n/2.png"}),
        ((), ("n/1.png",), {}),
    ],
)
def test_a_link_is_known_by_a_name_that_no_other_has(
    urls: tuple[str | None, ...], told: tuple[str, ...], links: dict[int, str]
) -> None:
    ours = files(*(url and f"http://{url}" for url in urls))
    found = by_name(ours, [f"http://{url}" for url in told])
    assert found == {at: f"http://{url}" for at, url in links.items()}


@pytest.mark.parametrize(
    ("urls", "told", "links"),
    [
        (("1.png", "2.png"), ("a.png", "b.png"), {0: "a.png", 1: "b.png"}),
        (("1.png", "2.png"), ("1.png", "b.png"), {0: "1.png", 1: "b.png"}),
        (("1.png", "2.png"), ("2.png", "1.png"), {0: "1.png", 1: "2.png"}),
        (("1.png", "2.png"), ("2.png", "b.png"), {1: "2.png"}),
        (("1.png", "2.png"), ("b.png",), {}),
        (("", "2.png"), ("a.png", "b.png"), {1: "b.png"}),
        ((None, "2.png"), (None, "b.png"), {1: "b.png"}),
    ],
)
def test_a_result_names_its_links_in_its_order_but_where_a_name_contradicts(
    urls: tuple[str | None, ...], told: tuple[str | None, ...], links: dict[int, str]
) -> None:
    ours = files(*(url and f"http://h/{url}" for url in urls))
    found = in_result(ours, [Output(url=url and f"http://h/{url}") for url in told])
    assert found == {at: f"http://h/{url}" for at, url in links.items()}
