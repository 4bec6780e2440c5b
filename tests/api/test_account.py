"""The key and the hosts, from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from batcher import errors
from batcher.api.account import from_environment

KEY = "SG_0123456789abcdef"


def test_without_anything_but_a_key_the_provider_is_asked() -> None:
    account = from_environment({"SEGMIND_API_KEY": f" {KEY}\n"})
    assert account.key == KEY
    assert account.endpoints.api == "https://api.segmind.com"
    assert account.endpoints.storage == "https://workflows-api.segmind.com"
    assert account.endpoints.history == "https://api.spotprod.segmind.com"


def test_another_base_url_is_storage_and_history_too_unless_told() -> None:
    told = {"SEGMIND_API_KEY": KEY, "SEGMIND_BASE_URL": "http://127.0.0.1:9000"}
    ends = from_environment(told).endpoints
    assert ends.api == ends.storage == ends.history == "http://127.0.0.1:9000"
    ends = from_environment({**told, "SEGMIND_STORAGE_URL": "http://127.0.0.1:9001/"}).endpoints
    assert (ends.storage, ends.history) == ("http://127.0.0.1:9001", "http://127.0.0.1:9000")
    ends = from_environment({**told, "SEGMIND_BASE_URL": "https://api.segmind.com/v2/"}).endpoints
    assert ends.storage == "https://workflows-api.segmind.com"


@pytest.mark.parametrize(
    "url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v2/", " http://h:1/v2 "]
)
def test_a_trailing_version_is_ignored(url: str) -> None:
    assert from_environment({"SEGMIND_API_KEY": KEY}, base_url=url).endpoints.api == "http://h:1"


def test_the_flag_goes_before_the_environment() -> None:
    told = {"SEGMIND_API_KEY": KEY, "SEGMIND_BASE_URL": "http://from.environment"}
    assert from_environment(told, base_url="http://from.flag").endpoints.api == "http://from.flag"


@pytest.mark.parametrize(
    "url",
    ["api.segmind.com", "ftp://h", "http://", "http:///x", "http://[bad", "http://h:port", "http://h:0", "x",
     "/", "http://h:99999", "https://me:secret@h", "http://h?x=1", "http://h#x"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["SEGMIND_BASE_URL", "SEGMIND_STORAGE_URL", "SEGMIND_HISTORY_URL"])
def test_a_url_that_is_none_is_told_by_its_name(name: str, url: str) -> None:
    with pytest.raises(errors.UsageError, match=name):
        from_environment({"SEGMIND_API_KEY": KEY, name: url})


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@h",
        "https://secret@h/?x",
        "me:secret@h",
        "ftp://me:sec/secret@h",
        "http://a@b:secret@h:x",
    ],
)
def test_a_password_in_a_url_is_not_told(url: str) -> None:
    with pytest.raises(errors.UsageError, match="without a user name or password") as caught:
        from_environment({"SEGMIND_API_KEY": KEY, "SEGMIND_BASE_URL": url})
    assert "secret" not in str(caught.value)


def test_a_url_that_the_flag_gave_is_told_by_the_flag() -> None:
    told = {"SEGMIND_API_KEY": KEY, "SEGMIND_BASE_URL": "http://from.environment"}
    with pytest.raises(errors.UsageError, match="--base-url is not a URL of a server"):
        from_environment(told, base_url="nowhere")


@pytest.mark.parametrize("key", [None, "", "  \n", "SG_ 01", "SG_\x00", "SG_ß"])
def test_without_a_usable_key_it_is_told_how_to_get_one(key: str | None) -> None:
    with pytest.raises(errors.MissingKey, match="SEGMIND_API_KEY") as caught:
        from_environment({} if key is None else {"SEGMIND_API_KEY": key})
    assert caught.value.exit_code == 5
    assert "SG_ 01" not in str(caught.value)


def test_a_key_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert from_environment({"SEGMIND_API_KEY_FILE": str(file)}).key == KEY
    other = {"SEGMIND_API_KEY_FILE": str(file), "SEGMIND_API_KEY": "SG_fedcba9876543210"}
    assert from_environment(other).key == "SG_fedcba9876543210"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"SG_1\nSG_2\n"])
def test_a_file_that_holds_no_key_is_told(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(errors.MissingKey) as caught:
        from_environment({"SEGMIND_API_KEY_FILE": str(file)})
    assert "SG_2" not in str(caught.value)


def test_the_key_is_in_no_text_about_the_account() -> None:
    account = from_environment({"SEGMIND_API_KEY": KEY})
    assert KEY not in f"{account!r} {account}"
