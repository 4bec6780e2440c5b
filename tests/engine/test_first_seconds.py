"""What is wrong from the start is told within seconds, before anything is uploaded."""

from __future__ import annotations

import asyncio
import socket

import pytest

from batcher.api.account import Account
from batcher.api.client import Endpoints
from batcher.engine import RunOptions, run
from batcher.progress import Event, Message
from batcher.sandbox import Faults, faults
from tests.support.harness import KEY, Harness
from tests.support.sandboxes import MakeSandbox


def texts(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Message)]


async def test_no_network_is_told_at_once_and_then_waited_for_as_an_outage(harness: Harness) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        moments: list[float] = []
        heard: list[Event] = []
        began = asyncio.get_running_loop().time()

        def listen(event: Event) -> None:
            if isinstance(event, Message) and "cannot be reached" in event.text:
                moments.append(asyncio.get_running_loop().time() - began)
            heard.append(event)

        account = Account(Endpoints(url, url, url), KEY)
        report = await run(harness.manifest(2), account=account, listener=listen, now=harness.now)
    assert (report.exit_code, report.counts["planned"]) == (5, 2)
    (moment,) = moments
    assert moment < 3
    (text,) = [text for text in texts(heard) if "cannot be reached" in text]
    assert text.startswith(f"{url} cannot be reached (")
    assert "is this machine online?" in text


@pytest.mark.parametrize("key", ["SG_0011223344", "sg_00112233445566ff", "Bearer", "SG_00112233445566fff"])
async def test_a_key_of_another_form_is_told_and_refused_before_the_first_upload(
    harness: Harness, sandbox: MakeSandbox, key: str
) -> None:
    heard: list[Event] = []
    script = Faults([faults.Slow(route="credits", delay=10)])
    async with sandbox(faults=script) as server:
        account = Account(Endpoints(server.url, server.url, server.url), key)
        report = await run(
            harness.manifest(2), account=account, listener=heard.append, options=RunOptions(), now=harness.now
        )
        assert report.exit_code == 5
        assert (server.counts["submit"], server.counts["upload"]) == (0, 0)
    assert "SG_ and 16 hex digits" in texts(heard)[0]
    assert key not in "".join(texts(heard))


async def test_a_key_of_the_usual_form_is_no_word_worth(harness: Harness, sandbox: MakeSandbox) -> None:
    heard: list[Event] = []
    async with sandbox(service=1) as server:
        await harness.run(server, harness.manifest(2), heard.append)
    assert not [text for text in texts(heard) if "hex digits" in text]
