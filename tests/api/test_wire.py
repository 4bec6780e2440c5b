"""What answers say and mean: every shape, every status, and every kind of nonsense."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batcher import errors
from batcher.api import wire
from batcher.api.wire import Output, Unreadable

BASE = "https://api.segmind.com"
URL = "https://images.segmind.com/a.png"
OTHER = "https://images.segmind.com/b.png"
DATA = bytes(range(256))
B64 = base64.b64encode(DATA).decode()


def spoken(value: Any) -> bytes:
    return json.dumps(value).encode()


ACCEPTED = {"request_id": "r-1", "status": "QUEUED", "status_url": f"{BASE}/s", "response_url": f"{BASE}/r"}


# --- a submit's yes


def test_a_submit_gives_its_id_and_the_urls_to_follow() -> None:
    assert wire.accepted(spoken(ACCEPTED), BASE) == ("r-1", f"{BASE}/s", f"{BASE}/r")


def test_relative_urls_are_the_apis_own_and_poll_url_stands_in_for_status_url() -> None:
    answer = {"request_id": "r-1", "poll_url": "/v2/requests/r-1/status", "response_url": "/v2/requests/r-1"}
    told = wire.accepted(spoken(answer), BASE)
    assert told.status_url == f"{BASE}/v2/requests/r-1/status"
    assert told.response_url == f"{BASE}/v2/requests/r-1"


@pytest.mark.parametrize("value", [None, "", [], {}, True, 7.5, " ", "a\nb", "\0", "\x1b[31m", "x" * 10_000])
def test_a_submit_without_its_id_cannot_be_read(value: Any) -> None:
    with pytest.raises(Unreadable):
        wire.accepted(spoken({**ACCEPTED, "request_id": value}), BASE)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        7,
        [],
        {},
        True,
        "http://[x",
        "http:///x",
        "ftp://host/x",
        "javascript:alert(1)",
        "https://ℂ／x",
    ],
)
def test_a_job_whose_urls_are_not_told_is_not_paid_again_but_asked_for_by_its_id(url: Any) -> None:
    record = f"{BASE}/v2/requests/r-1"
    told = wire.accepted(spoken({**ACCEPTED, "status_url": url}), BASE)
    assert told == ("r-1", f"{record}/status", f"{BASE}/r")
    told = wire.accepted(spoken({**ACCEPTED, "response_url": url}), BASE)
    assert told == ("r-1", f"{BASE}/s", record)
    assert wire.accepted(b'{"request_id": "a/b"}', BASE).response_url == f"{BASE}/v2/requests/a%2Fb"


@pytest.mark.parametrize(
    "answer",
    [
        {"request_id": 7},
        {"request_id": " 7 "},
        {"request_id": ["7"]},
        {"request_id": {"id": 7}},
        {"requestId": "7"},
        {"id": 7, "status": "QUEUED"},
        {"data": {"request_id": "7"}},
        {"result": {"id": "7"}},
        {"request_id": None, "status_url": f"{BASE}/v2/requests/7/status"},
        {"request_id": "x" * 10_000, "response_url": "/v2/requests/7"},
        [{"request_id": "7"}],
        json.dumps({"request_id": "7"}),
    ],
)
def test_an_id_in_any_sane_form_is_taken(answer: Any) -> None:
    record = f"{BASE}/v2/requests/7"
    assert wire.accepted(json.dumps(answer).encode(), BASE) == ("7", f"{record}/status", record)


def test_the_encoding_of_an_answer_decides_nothing() -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        assert wire.accepted('{"request_id": "ü"}'.encode(encoding), BASE).request_id == "ü"


@pytest.mark.parametrize(
    "answer", [{"error": "no", "id": "e-1"}, {"error": {"id": "e-1"}}, {"error": 1, "data": {"id": 7}}]
)
def test_the_id_of_an_error_is_no_jobs(answer: Any) -> None:
    with pytest.raises(Unreadable):
        wire.accepted(spoken(answer), BASE)


def test_what_breaks_off_is_told_apart_from_what_is_not_understood() -> None:
    whole = spoken(ACCEPTED).rstrip()
    told = whole.index(b"r-1") + len(b'r-1"')
    for end in range(1, told):
        with pytest.raises(wire.CutOff):
            wire.accepted(whole[:end], BASE)
    for end in range(told, len(whole)):
        assert wire.accepted(whole[:end], BASE).request_id == "r-1"
    for body in (b"", b"<r>7</r>", b"null", b'{"a": 1,}', b"upstream connect: ok", b"{'a': 1}"):
        with pytest.raises(Unreadable) as caught:
            wire.accepted(body, BASE)
        assert type(caught.value) is Unreadable


def test_urls_that_may_not_be_followed_give_way_to_the_record() -> None:
    record = f"{BASE}/v2/requests/r-1"
    told = wire.accepted(spoken(ACCEPTED), BASE, may_follow=lambda url: url.endswith("/r"))
    assert told == ("r-1", f"{record}/status", f"{BASE}/r")


# --- status


@pytest.mark.parametrize("word", ["QUEUED", "PROCESSING", "SOMETHING_NEW", ""])
def test_only_completed_is_finished(word: str) -> None:
    assert not wire.status(spoken({"status": word})).finished
    assert wire.status(spoken({"status": "COMPLETED"})).finished


def test_the_case_of_a_word_decides_nothing() -> None:
    assert wire.status(spoken({"status": "completed"})).finished
    assert wire.result(spoken({"status": "Completed", "output": URL})).outputs == (Output(url=URL),)
    with pytest.raises(Unreadable, match="still"):
        wire.result(spoken({"status": "processing", "output": URL}))
    for read in (wire.status, wire.result):
        with pytest.raises(errors.InferenceFailed, match="boom"):
            read(spoken({"status": "failed", "error": "boom"}))
    with pytest.raises(errors.InferenceFailed, match="boom"):
        wire.sync_result({"Content-Type": "application/json"}, spoken({"status": "failed", "error": "boom"}))


def test_the_total_time_is_told_or_added_up() -> None:
    def time(metrics: Any) -> float | None:
        return wire.result(spoken({"status": "COMPLETED", "output": URL, "metrics": metrics})).total_time

    assert time({"total_time": 3, "queue_time": 9, "inference_time": 9}) == 3
    assert time({"queue_time": 1, "inference_time": "2.5"}) == 3.5
    assert time({"inference_time": 2}) == 2
    assert time({"queue_time": 1}) is None
    assert time([1]) is None


@pytest.mark.parametrize("reading", [wire.status, wire.result])
def test_failed_is_an_error_with_the_providers_words(reading: Any) -> None:
    body = spoken({"status": "FAILED", "error": {"message": "CUDA out\nof memory"}, "metrics": {}})
    with pytest.raises(errors.InferenceFailed) as caught:
        reading(body, code=422)
    assert caught.value.reason == "FAILED: CUDA out of memory"
    assert not isinstance(caught.value, errors.ContentBlocked)


@pytest.mark.parametrize("reading", [wire.status, wire.result])
@pytest.mark.parametrize(
    "answer", [{"error": "no such field"}, {"detail": [{"msg": "no such field", "loc": []}]}, {"output": URL}]
)
def test_a_422_that_does_not_say_failed_fails_no_job_that_is_paid_for(reading: Any, answer: Any) -> None:
    with pytest.raises(Unreadable, match=r"HTTP 422.*(no such field|status)"):
        reading(spoken(answer), code=422)


@pytest.mark.parametrize(
    "text", ["NSFW content detected", "Blocked by RAI policy", "safety checker", "moderation: violence"]
)
def test_content_rules_are_told_apart_from_machine_faults(text: str) -> None:
    assert isinstance(wire.failed({"error": text}), errors.ContentBlocked)


@pytest.mark.parametrize("text", ["trail ended", "insensitive", "CUDA error", ""])
def test_machine_faults_are_no_content_blocks(text: str) -> None:
    assert not isinstance(wire.failed({"error": text}), errors.ContentBlocked)


# --- results: the shapes in which pictures come


@pytest.mark.parametrize(
    ("answer", "outputs"),
    [
        ({"output": URL}, [Output(url=URL)]),
        ({"output": f" {URL}\n"}, [Output(url=URL)]),
        ({"output": "HTTPS://images.segmind.com/a.png"}, [Output(url="HTTPS://images.segmind.com/a.png")]),
        ({"output": [URL, OTHER]}, [Output(url=URL), Output(url=OTHER)]),
        ({"output": B64}, [Output(data=DATA)]),
        ({"output": [B64, B64]}, [Output(data=DATA)] * 2),
        ({"output": f"data:image/png;base64,{B64}"}, [Output(data=DATA)]),
        ({"output": f"DATA:image/png;BASE64,{B64}"}, [Output(data=DATA)]),
        ({"output": [f"data:image/png;base64,{B64}", URL]}, [Output(data=DATA), Output(url=URL)]),
        ({"output": base64.encodebytes(DATA).decode()}, [Output(data=DATA)]),
        ({"images": [{"url": URL, "content_type": "image/png", "file_size": 3}]}, [Output(url=URL)]),
        ({"output": URL, "images": [{"url": URL}]}, [Output(url=URL)]),
        ({"output": [], "images": [{"url": URL}]}, [Output(url=URL)]),
        ({"output": "done", "images": [{"url": URL}, {"url": OTHER}]}, [Output(url=URL), Output(url=OTHER)]),
        ({"output": {"image_url": URL, "text": "x"}}, [Output(url=URL)]),
        ({"output": {"url": URL, "urls": [URL, OTHER]}}, [Output(url=URL), Output(url=OTHER)]),
        ({"image_url": URL, "image_urls": [URL, OTHER]}, [Output(url=URL), Output(url=OTHER)]),
        ({"image": URL, "urls": [URL, OTHER]}, [Output(url=URL)]),
        ({"output": {"images": [{"url": URL}, {"url": OTHER}]}}, [Output(url=URL), Output(url=OTHER)]),
        ({"image": B64}, [Output(data=DATA)]),
        ({"data": [{"url": URL}]}, [Output(url=URL)]),
        ({"output": None}, []),
        ({"output": "slept 3 s"}, []),
        ({"output": {"text": URL}}, []),
        ({"output": [1, True, None, {}]}, []),
        ({"output": "data:image/png;base64,"}, []),
        ({"output": "data:image/png;base64,%%%"}, []),
        ({"output": "data:image/png,abc"}, []),
    ],
)
def test_every_output_shape_is_understood(answer: Any, outputs: list[Output]) -> None:
    assert list(wire.result(spoken({"status": "COMPLETED", **answer})).outputs) == outputs


def test_where_output_and_images_differ_every_paid_picture_is_taken() -> None:
    answer = {"status": "COMPLETED", "output": URL, "images": [{"url": URL}, {"url": OTHER}]}
    assert [output.url for output in wire.result(spoken(answer)).outputs] == [URL, OTHER]


def test_a_result_tells_its_accounting() -> None:
    metrics = {
        "cost": 0.0105,
        "remaining_credits": 9,
        "queue_time": 1,
        "inference_time": 2,
        "total_time": 3.5,
    }
    told = wire.result(
        spoken({"status": "COMPLETED", "output": URL, "seed": 42, "request_id": "r", "metrics": metrics})
    )
    assert (told.cost, told.seed, told.request_id) == (0.0105, 42, "r")
    assert (told.queue_time, told.inference_time, told.total_time) == (1, 2, 3.5)


@pytest.mark.parametrize("cost", [-1, float("nan"), float("inf"), 10**400, 1e300, True, [], {}, "x", None])
def test_a_cost_that_no_bill_has_is_not_told(cost: Any) -> None:
    answer = {"status": "COMPLETED", "output": URL, "metrics": {"cost": cost}}
    assert wire.result(spoken(answer)).cost is None


@pytest.mark.parametrize("seed", [True, 1.5, [], {}])
def test_a_seed_is_a_whole_number_or_a_text(seed: Any) -> None:
    assert wire.result(spoken({"status": "COMPLETED", "output": URL, "seed": seed})).seed is None


@pytest.mark.parametrize("word", ["QUEUED", "PROCESSING", "PENDING"])
def test_what_is_not_completed_is_no_result(word: str) -> None:
    with pytest.raises(Unreadable, match="still"):
        wire.result(spoken({"status": word, "output": URL}))


@pytest.mark.parametrize(
    "answer", [{}, {"error": "try later"}, {"status": None}, {"status": 3, "output": "x"}]
)
def test_a_paid_picture_is_not_given_up_for_an_answer_that_says_nothing(answer: Any) -> None:
    with pytest.raises(Unreadable):
        wire.result(spoken(answer))


def test_a_result_may_lack_its_status_but_not_its_picture() -> None:
    assert wire.result(spoken({"output": URL})).outputs == (Output(url=URL),)
    told = wire.result(spoken({"status": "COMPLETED", "output": "only words"}))
    assert told.outputs == ()
    assert b"only words" in told.answer


# --- v1: the answer is the result

HEADERS = {
    "Content-Type": "image/png",
    "x-cost": "0.01",
    "x-remaining-credits": "5",
    "x-generation-time": "2.5",
    "x-seed-value": "7",
    "x-request-id": "r",
}


def test_raw_bytes_are_the_picture_and_headers_the_bill() -> None:
    told = wire.sync_result(HEADERS, b"\x89PNG...")
    assert told.outputs == (Output(data=b"\x89PNG..."),)
    assert (told.cost, told.total_time, told.seed, told.request_id) == (0.01, 2.5, "7", "r")


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json", "", "image/png"])
def test_a_blocking_answer_may_be_json(kind: str) -> None:
    assert wire.sync_result({"Content-Type": kind}, spoken({"image": B64})).outputs == (Output(data=DATA),)
    assert wire.sync_result({"Content-Type": kind}, spoken([B64, URL])).outputs == (
        Output(data=DATA),
        Output(url=URL),
    )


@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=utf-8", "application/json", ""])
@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x10\n\0\0WEBPVP8 "])
def test_a_picture_is_paid_for_whatever_the_answer_calls_it(kind: str, start: bytes) -> None:
    body = start + DATA
    assert wire.sync_result({"Content-Type": kind}, body).outputs == (Output(data=body),)


@pytest.mark.parametrize("before", [b" \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_blocking_answer_is_json_by_its_begin_whatever_it_is_called(before: bytes) -> None:
    body = before + b'{"image": "https://files.example/a.png"}'
    told = wire.sync_result({"Content-Type": "application/octet-stream"}, body)
    assert told.outputs == (Output(url="https://files.example/a.png"),)


def test_a_blocking_answer_may_be_bare_text() -> None:
    assert wire.sync_result({"Content-Type": "text/plain"}, B64.encode()).outputs == (Output(data=DATA),)
    assert wire.sync_result({"Content-Type": "text/plain"}, URL.encode()).outputs == (Output(url=URL),)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("image/png", b""),
        ("text/html", b"<html>502</html>"),
        ("text/plain; charset=utf-8", b"ok"),
        ("application/json", b'{"image": "abc'),
        ("application/json", b"[" * 100_000),
        ("application/json", b"\xff\xfe"),
    ],
)
def test_a_blocking_answer_that_shows_no_picture_cannot_be_read(kind: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        wire.sync_result({"Content-Type": kind}, body)


def test_a_blocking_answer_that_says_failed_is_failed() -> None:
    with pytest.raises(errors.InferenceFailed, match="boom"):
        wire.sync_result({"Content-Type": "application/json"}, spoken({"status": "FAILED", "error": "boom"}))


def test_headers_that_are_no_text_can_be_stored_all_the_same() -> None:
    foreign = b"r\xff".decode("utf-8", "surrogateescape")
    told = wire.sync_result({**HEADERS, "x-request-id": foreign, "x-seed-value": foreign}, b"\x89PNG")
    assert str(told.request_id).encode() == b"r?"
    assert str(told.seed).encode() == b"r?"


# --- uploads and credits


def test_both_names_of_uploaded_urls_are_understood() -> None:
    assert wire.uploaded_urls(spoken({"file_urls": [URL]})) == [URL]
    assert wire.uploaded_urls(spoken({"urls": [URL], "message": "ok"})) == [URL]


@pytest.mark.parametrize("urls", [None, [], URL, [None], [""], ["error: too large"], [URL, 3], {}])
def test_an_upload_without_a_url_cannot_be_read(urls: Any) -> None:
    with pytest.raises(Unreadable):
        wire.uploaded_urls(spoken({"file_urls": urls}))


def test_credits_are_the_paid_and_the_free_ones() -> None:
    assert wire.credits_left(spoken({"credits": 2.5, "free-credits": 1})) == 3.5
    assert wire.credits_left(spoken({"credits": "2.5", "free-credits": None})) == 2.5
    with pytest.raises(Unreadable):
        wire.credits_left(spoken({"free-credits": 1}))


# --- refusals


@pytest.mark.parametrize(
    ("status", "call", "text", "kind"),
    [
        (400, "submit", "bad request", errors.Rejected),
        (401, "submit", "Missing API key", errors.BadKey),
        (401, "status", "Invalid API key", errors.BadKey),
        (402, "submit", "Payment required", errors.OutOfCredits),
        (403, "submit", "not permitted", errors.Forbidden),
        (403, "result", "not permitted", errors.Forbidden),
        (404, "submit", "Model x not found", errors.ModelGone),
        (404, "sync", "Model x not found", errors.ModelGone),
        (404, "status", "Request x not found", errors.RecordGone),
        (404, "result", "Request x not found", errors.RecordGone),
        (405, "submit", "method", errors.Rejected),
        (406, "submit", "Invalid content type", errors.Rejected),
        (403, "upload", "Storage quota exceeded", errors.StorageFull),
        (413, "upload", "your storage is full", errors.StorageFull),
        (413, "upload", "file too large", errors.Rejected),
        (406, "submit", "Insufficient credits", errors.OutOfCredits),
        (406, "sync", "You have insufficient balance", errors.OutOfCredits),
        (406, "submit", "Team spend limit reached", errors.OutOfCredits),
        (406, "submit", "Spending limit exceeded", errors.OutOfCredits),
        (406, "submit", "Invalid value for parameter 'steps'", errors.Rejected),
        (406, "submit", "Invalid value for parameter 'white_balance'", errors.Rejected),
        (410, "submit", "retired", errors.ModelGone),
        (410, "result", "gone", errors.RecordGone),
        (413, "submit", "too large", errors.Rejected),
        (422, "submit", "no prompt", errors.Rejected),
        (422, "sync", "CUDA", errors.InferenceFailed),
        (422, "sync", "NSFW", errors.ContentBlocked),
        (500, "submit", "oops", errors.ServerError),
        (501, "submit", "oops", errors.ServerError),
        (502, "submit", "bad gateway", errors.Gateway),
        (503, "submit", "unavailable", errors.Gateway),
        (504, "status", "timed out", errors.Gateway),
        (520, "submit", "web server returns an unknown error", errors.Gateway),
        (524, "submit", "a timeout occurred", errors.Gateway),
        (530, "submit", "origin has no name", errors.Gateway),
        (599, "status", "network connect timeout", errors.Gateway),
    ],
)
def test_every_status_has_its_meaning(status: int, call: str, text: str, kind: type[errors.ApiError]) -> None:
    for body in (spoken({"error": text}), spoken({"detail": [{"msg": text}]}), spoken({"code": text})):
        error = wire.refusal(status, body, call=call)
        assert type(error) is kind
        assert error.status == min(status, 504), "52x is a proxy's word for 504"
        if kind is not errors.Gateway:
            assert text in error.message


@pytest.mark.parametrize("status", [400, 405, 406, 500, 503])
def test_a_page_is_told_by_its_title_and_never_by_its_markup(status: int) -> None:
    page = b"<!DOCTYPE html><html><head><TITLE>\n 405 Method  Not Allowed </TITLE></head><body>credit</body>"
    error = wire.refusal(status, page, call="submit")
    assert "<" not in error.message
    assert not isinstance(error, errors.OutOfCredits)
    assert wire.message_of(page) == "405 Method Not Allowed"
    assert wire.message_of(b"<html>" + b"x" * 10**6) == ""
    assert wire.message_of(b"upstream connect error") == "upstream connect error"


@pytest.mark.parametrize(
    ("message", "blames"),
    [
        ("could not fetch https://storage.example/a.png: HTTP 404", True),
        ("Failed to download image", True),
        ("Unable to load the mask from the given URL", True),
        ("cannot identify image file from https://x.example/a.png: 403 Forbidden", True),
        ("https://x.example/a.png is no longer there", True),
        ("CUDA out of memory", False),
        ("Invalid value for num_inference_steps", False),
        ("the image is too large", False),
        ("", False),
    ],
)
def test_words_that_blame_a_pictures_url_are_told_apart(message: str, blames: bool) -> None:
    assert wire.blames_an_input(message) is blames


def test_an_empty_refusal_is_told_by_its_number() -> None:
    assert wire.refusal(400, b"", call="submit").message == "HTTP 400"


def test_words_are_found_in_time_however_deep_a_body_nests() -> None:
    for opening, closing in (("[", "]"), ('{"error":', "}"), ('[{"message":', "}]")):
        for depth in (50, 400, 100_000):
            wire.message_of((opening * depth + '"x"' + closing * depth).encode())


# --- hostile answers

texts = st.text(st.characters(), max_size=20) | st.sampled_from(
    [URL, B64, "http://[", "data:,", "COMPLETED", "FAILED", "QUEUED", "²", "NaN", "1e999", "\ud800"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, -(10**400)]) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "request_id", "status", "status_url", "poll_url", "response_url", "output", "images", "image", "url",
    "seed", "metrics", "cost", "total_time", "queue_time", "inference_time", "error", "message", "detail",
    "credits", "free-credits", "file_urls", "urls", "data",
]  # fmt: skip
answers = st.dictionaries(st.sampled_from(KEYS), values, max_size=6) | values
bodies = answers.map(spoken) | st.binary(max_size=40) | answers.map(spoken).map(lambda body: body[:-1])


@given(bodies, st.sampled_from([200, 422]))
@example(b"[" * 100_000, 200)
@example(b'{"status":' * 5000 + b"1" + b"}" * 5000, 422)
@example(b'{"status":"COMPLETED","output":' + b"[" * 900 + b"]" * 900 + b"}", 200)
@example(b'{"status":"COMPLETED","metrics":{"cost":' + b"9" * 5000 + b"}}", 200)
@example(b'{"status":"\\ud800"}', 200)
@example(b"\xed\xa0\x80", 200)
def test_nonsense_is_unreadable_or_failed_and_nothing_else(body: bytes, code: int) -> None:
    for read in (
        lambda: wire.accepted(body, BASE),
        lambda: wire.status(body, code=code),
        lambda: wire.result(body, code=code),
        lambda: wire.sync_result({"Content-Type": "application/json"}, body),
        lambda: wire.credits_left(body),
        lambda: wire.uploaded_urls(body),
    ):
        try:
            told = read()
        except (Unreadable, errors.InferenceFailed) as error:
            str(error).encode()
        else:
            repr(told).encode()
            storable(told)


@given(
    bodies,
    st.integers(300, 599),
    st.sampled_from(["submit", "sync", "status", "result", "upload", "credits"]),
)
def test_every_refusal_is_an_error_of_ours_whose_words_can_be_stored(
    body: bytes, status: int, call: str
) -> None:
    error = wire.refusal(status, body, call=call)
    assert error.status == status or isinstance(error, errors.InferenceFailed | errors.Gateway)
    assert error.reason.encode().decode() == error.reason
    assert len(error.message) <= 500


def storable(told: Any) -> None:
    """Every text in it can go into a database, every number into money."""
    if isinstance(told, wire.Accepted):
        for text in told:
            text.encode()
    if isinstance(told, wire.Result):
        for text in (told.request_id, *(output.url for output in told.outputs)):
            (text or "").encode()
        str(told.seed).encode()
        for number in (told.cost, told.queue_time, told.inference_time, told.total_time):
            assert number is None or 0 <= number < 1e13
        assert all((output.url is None) != (output.data is None) for output in told.outputs)
