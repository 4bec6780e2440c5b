"""Pictures as base64 in JSON, however long: the same as before, and held once."""

from __future__ import annotations

import json
import tracemalloc
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api import wire
from batcher.api.wire import Output, Unreadable
from batcher.api.wire.long_texts import LONG, parsed_apart

HEAD = b"\x89PNG\r\n\x1a\n"
LARGE = HEAD + bytes(range(256)) * 300
STD = b64encode(LARGE).decode()


def told(output: Any) -> bytes:
    return json.dumps({"status": "COMPLETED", "output": output, "metrics": {"cost": 0.5}, "seed": 7}).encode()


@pytest.mark.parametrize("extra", range(4))
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize("before", ["", "data:image/png;base64,"])
def test_a_long_picture_is_the_same_in_every_spelling(
    extra: int, encode: Any, pads: bool, before: str
) -> None:
    data = LARGE + b"\xfb\xef\xff\xfe"[:extra]
    text = encode(data).decode()
    body = told(before + (text if pads else text.rstrip("=")))
    assert LONG.search(body)
    result = wire.result(body)
    assert result.outputs == (Output(data=data),)
    assert (result.cost, result.seed) == (0.5, 7)


def test_links_and_pictures_and_lists_of_them_keep_their_order() -> None:
    url = "https://files.example/a.png"
    body = told([STD, url, {"image": STD}, [STD]])
    assert wire.result(body).outputs == (
        Output(data=LARGE),
        Output(url=url),
        Output(data=LARGE),
        Output(data=LARGE),
    )
    odd = json.dumps({"b64": STD}).encode()
    assert wire.sync_result({"Content-Type": "application/json"}, odd).outputs == (Output(data=LARGE),)


def test_what_stands_for_a_picture_stands_for_none_where_an_answer_says_it_itself() -> None:
    assert parsed_apart(json.dumps(["\0base64:7", STD]).encode())[0] == "\0base64:7"


@given(st.integers(0, 90_000), st.sampled_from(["", '"', '"}', "]", '", "a": [']))
def test_a_long_answer_that_breaks_off_cannot_be_read(at: int, end: str) -> None:
    body = b'{"output": "' + STD.encode()[:at] + end.encode()
    try:
        whole = json.loads(body)
    except ValueError:
        with pytest.raises(Unreadable):
            parsed_apart(body)
    else:
        assert parsed_apart(body).keys() == whole.keys()


def test_beside_the_bytes_of_an_answer_there_is_only_its_picture() -> None:
    data = HEAD + bytes(12 << 20)
    body = told(b64encode(data).decode())
    tracemalloc.start()
    try:
        result = wire.result(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.outputs == (Output(data=data),)
    assert peak < 1.1 * len(data)
