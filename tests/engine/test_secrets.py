"""The key is in one place: no file that a run leaves, no text it tells, no host but ours ever sees it."""

from __future__ import annotations

import io
import traceback

import pytest

from batcher import errors
from batcher.account import Account
from batcher.client import Endpoints
from batcher.progress import Event
from batcher.run import run
from batcher.sandbox import Faults, faults
from conftest import MakeSandbox
from engine.bench import KEY, Bench


async def test_nothing_that_a_run_leaves_or_tells_has_the_key_in_it(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    script = Faults(
        [faults.cut("submit", rate=0.1), faults.status("result", 500, rate=0.1), faults.dead_link(rate=0.1),
         faults.failed("oh dear", calls=[3])], seed=1,
    )  # fmt: skip
    async with sandbox(service=5, faults=script) as server:
        report = await bench.run(server, bench.manifest(30), heard.append)
        assert server.keys_seen_at_files == []
    left = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert len(left) > 30
    assert not [path for path in left if KEY.encode() in path.read_bytes()]
    assert KEY not in repr(heard) + repr(report)


async def test_a_service_that_repeats_the_key_does_not_bring_it_into_any_file(
    bench: Bench, sandbox: MakeSandbox
) -> None:
    heard: list[Event] = []
    script = Faults(
        [faults.status("submit", 400, message=f"bad request for {KEY}", calls=[1]),
         faults.failed(f"not allowed to {KEY}", calls=[2]),
         faults.status("submit", 401, message=f"invalid API key {KEY}", calls=[4])],
    )  # fmt: skip
    async with sandbox(service=5, faults=script) as server:
        report = await bench.run(server, bench.manifest(4), heard.append)
    assert report.exit_code == 5
    assert report.causes == ("KEY: invalid API key (the key)",)
    assert not [
        path for path in bench.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert KEY not in repr(heard) + repr(report)


async def test_a_traceback_of_a_failing_run_does_not_show_it(bench: Bench, sandbox: MakeSandbox) -> None:
    async with sandbox(service=5) as server:
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        assert KEY not in repr(account)

        def broken(event: Event) -> None:
            raise RuntimeError("a listener that fails")

        with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
            await run(bench.manifest(2), account=account, listener=broken, now=bench.now)
        text = io.StringIO()
        traceback.print_exception(caught.value, file=text)
        assert KEY not in text.getvalue()


@pytest.mark.parametrize("route", ["submit", "status", "result", "upload", "credits"])
async def test_a_redirect_does_not_carry_it_to_another_host(
    bench: Bench, sandbox: MakeSandbox, route: str
) -> None:
    async with sandbox(service=5) as stranger:
        script = Faults([faults.redirect(route, stranger.url, first=3)])
        async with sandbox(service=5, faults=script) as server:
            await bench.run(server, bench.manifest(2, result_ttl="60s"))
        assert not stranger.arrivals
        assert not stranger.jobs


async def test_a_status_url_at_a_strange_host_is_refused(bench: Bench, sandbox: MakeSandbox) -> None:
    """The answers name `localhost`, which we were not told of."""
    async with sandbox(service=5) as server:
        strange = server.url.replace("127.0.0.1", "localhost")
        account = Account(Endpoints(server.url, server.url, server.url), KEY)
        manifest = bench.manifest(1)
        await bench.run(server, manifest, most=0)
        bench.rows("SELECT 1")
        report = await run(manifest, account=account, now=bench.now)
        assert report.exit_code == 0
        assert strange != server.url
        assert not Endpoints(server.url, server.url, server.url).may_see_the_key(f"{strange}/v2/requests/1")
        assert not Endpoints().may_see_the_key("http://api.segmind.com/v2/requests/1")
        assert not Endpoints().may_see_the_key("https://api.segmind.com.evil.example/v2")
        assert Endpoints().may_see_the_key("https://api-latest.segmind.com/v2/x")
        assert errors.Forbidden.exit_code == 5
