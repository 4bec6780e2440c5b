"""The key is in one place: no file that a run leaves, no text it tells, no host but ours ever sees it."""

from __future__ import annotations

import io
import traceback

import pytest

from batcher import errors
from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import run
from batcher.progress import Event
from batcher.sandbox import Faults, faults
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


async def test_nothing_that_a_run_leaves_or_tells_has_the_key_in_it(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    script = Faults(
        [faults.Cut(route="submit", rate=0.1), faults.Status(route="result", code=500, rate=0.1),
         faults.DeadLink(rate=0.1),
         faults.Failed(error="oh dear", calls=[3])], seed=1,
    )  # fmt: skip
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(30), heard.append)
        assert server.keys_seen_at_files == []
    left = [path for path in harness.folder.rglob("*") if path.is_file()]
    assert len(left) > 30
    assert not [path for path in left if KEY.encode() in path.read_bytes()]
    assert KEY not in repr(heard) + repr(report)


async def test_a_service_that_repeats_the_key_does_not_bring_it_into_any_file(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    script = Faults(
        [faults.Status(route="submit", code=400, message=f"bad request for {KEY}", calls=[1]),
         faults.Failed(error=f"not allowed to {KEY}", calls=[2]),
         faults.Status(route="submit", code=401, message=f"invalid API key {KEY}", calls=[4])],
    )  # fmt: skip
    async with sandbox(service=5, faults=script) as server:
        report = await harness.run(server, harness.manifest(4), heard.append)
    assert report.exit_code == 5
    assert report.causes == ("KEY: invalid API key (the key)",)
    assert not [
        path for path in harness.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert KEY not in repr(heard) + repr(report)


async def test_a_traceback_of_a_failing_run_does_not_show_it(harness: Harness, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        assert KEY not in repr(account)

        def broken(event: Event) -> None:
            raise RuntimeError("a listener that fails")

        with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
            await run(harness.manifest(2), account=account, listener=broken, now=harness.now)
        text = io.StringIO()
        traceback.print_exception(caught.value, file=text)
        assert KEY not in text.getvalue()


@pytest.mark.parametrize("route", ["submit", "status", "result", "upload", "credits"])
async def test_a_redirect_does_not_carry_it_to_another_host(
    harness: Harness, sandbox: MakeSandbox, route: str
) -> None:
    async with sandbox(service=5) as stranger:
        script = Faults([faults.Redirect(route=route, to=stranger.url, first=3)])
        async with sandbox(service=5, faults=script) as server:
            await harness.run(server, harness.manifest(2, result_ttl="60s"))
        assert not stranger.arrivals
        assert not stranger.jobs


async def test_a_status_url_at_a_strange_host_is_refused(harness: Harness, sandbox: MakeSandbox) -> None:
    """The answers name `localhost`, which we were not told of."""
    async with sandbox(service=5) as server:
        strange = server.url.replace("127.0.0.1", "localhost")
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        manifest = harness.manifest(1)
        await harness.run(server, manifest, limit=0)
        harness.rows("SELECT 1")
        report = await run(manifest, account=account, now=harness.now)
        assert report.exit_code == 0
        assert strange != server.url
        assert not Endpoints(server.url, server.url, server.url).may_see_the_key(f"{strange}/v2/requests/1")
        assert not Endpoints().may_see_the_key("http://api.segmind.com/v2/requests/1")
        assert not Endpoints().may_see_the_key("https://api.segmind.com.evil.example/v2")
        assert Endpoints().may_see_the_key("https://api-latest.segmind.com/v2/x")
        assert errors.Forbidden.exit_code == 5
