"""What an answer's headers say about time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.pacing import ClockSkew, reset_stamp

NOW = 1_767_614_400.0
RESET = "x-rate-limit-reset-at-utc"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({RESET: "2026-01-05T12:00:30Z"}, 30),
        ({RESET: "2026-01-05T12:00:30.250Z"}, 30.25),
        ({RESET: "2026-01-05 12:00:30 UTC"}, 30),
        ({RESET: "2026-01-05T12:00:30.123456789Z"}, 30.123456),
        ({RESET: "2026-01-05T12:00:30"}, 30),
        ({RESET: "2026-01-05 12:00:30"}, 30),
        ({RESET: "2026-01-05T13:00:30+01:00"}, 30),
        ({RESET.upper(): " 2026-01-05T12:00:30+00:00 "}, 30),
        ({RESET: "1767614430"}, 30),
        ({RESET: "1767614430.5"}, 30.5),
        ({RESET: "1767614430250"}, 30.25),
        ({RESET: "30"}, 30),
        ({RESET: "Mon, 05 Jan 2026 12:00:30 GMT"}, 30),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "7.5"}, 7.5),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "Mon, 05 Jan 2026 12:00:09 GMT"}, 9),
        ({RESET: "soon", "Retry-After": "7"}, 7),
        ({RESET: "2026-01-05T12:00:30Z", "Retry-After": "7"}, 30),
    ],
)
def test_a_stamp_is_read_in_every_form(headers: dict[str, str], seconds: float) -> None:
    stamp = reset_stamp(headers, NOW, ClockSkew())
    assert stamp is not None
    assert stamp - NOW == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "nan", "inf", "-inf", "1e999", "2026-13-45", "Mon, 99 Foo", "\0"]
)
def test_what_is_no_stamp_is_none(text: str) -> None:
    assert reset_stamp({RESET: text, "Retry-After": text}, NOW, ClockSkew()) is None
    assert reset_stamp({}, NOW, ClockSkew()) is None


@given(st.text(), st.text())
def test_no_header_raises(reset: str, after: str) -> None:
    skew = ClockSkew()
    skew.observe({"Date": reset}, NOW)
    stamp = reset_stamp({RESET: reset, "Retry-After": after}, NOW, skew)
    assert stamp is None or math.isfinite(stamp)


@given(moment=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)))
def test_iso_and_epoch_mean_the_same_moment(moment: datetime) -> None:
    iso = reset_stamp({RESET: moment.isoformat()}, NOW, ClockSkew())
    epoch = reset_stamp({RESET: repr(moment.timestamp())}, NOW, ClockSkew())
    assert iso is not None
    assert iso == pytest.approx(epoch, abs=1e-3)


@given(
    ahead=st.floats(-3600, 3600),
    answers=st.lists(st.tuples(st.floats(0, 0.999), st.floats(0, 0.4)), min_size=20, max_size=60),
)
def test_skew_is_corrected_beyond_two_seconds_only(ahead: float, answers: list[tuple[float, float]]) -> None:
    skew = ClockSkew()
    for number, (fraction, travelled) in enumerate(answers):
        server = NOW + number + fraction
        date = format_datetime(datetime.fromtimestamp(math.floor(server), UTC), usegmt=True)
        skew.observe({"date": date}, server - ahead + travelled)
    if abs(ahead) <= 0.6:
        assert skew.seconds == 0
    elif abs(ahead) >= 3.5:
        assert abs(skew.seconds - ahead) <= 1.5
        assert skew.ours(NOW) == NOW - skew.seconds
    assert skew.seconds == 0 or abs(skew.seconds) > 2


def test_a_moment_is_corrected_by_the_skew_and_a_delay_is_not() -> None:
    skew = ClockSkew()
    skew.observe({"Date": "Mon, 05 Jan 2026 12:01:00 GMT"}, NOW)
    assert skew.seconds == 60
    assert reset_stamp({RESET: "2026-01-05T12:01:30Z"}, NOW, skew) == NOW + 30
    assert reset_stamp({"Retry-After": "7"}, NOW, skew) == NOW + 7
