"""Whose account, and where: the key and the hosts, from the environment.

Rule: the key is in one place, in memory, and never in anything that is written or shown.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from batcher import errors
from batcher.api.client import Endpoints

HOW_TO_GET_A_KEY = (
    "get one at https://cloud.segmind.com (Console, API keys), then `export SEGMIND_API_KEY=SG_...`, "
    "or name a file that holds it in SEGMIND_API_KEY_FILE; `--sandbox` needs none"
)


@dataclass(frozen=True, slots=True)
class Account:
    """A key and the hosts that may see it."""

    endpoints: Endpoints
    key: str = field(repr=False)

    @property
    def has_usual_key(self) -> bool:
        """Whether the key has the documented form: SG_ and 16 hex digits."""
        return re.fullmatch(r"SG_[0-9A-Fa-f]{16}", self.key) is not None

    @property
    def name(self) -> str:
        """16 hex digits, the same for every run of this account: a hash of the API's address, keyed by the
        key. Neither can be had from it."""
        return hmac.new(self.key.encode(), self.endpoints.api.encode(), hashlib.sha256).hexdigest()[:16]


def from_environment(environment: Mapping[str, str] = os.environ, *, base_url: str | None = None) -> Account:
    """The account that SEGMIND_API_KEY (or SEGMIND_API_KEY_FILE) and SEGMIND_*_URL name.

    `base_url` goes before SEGMIND_BASE_URL. Raises MissingKey, or UsageError for a URL that is none.
    """
    return Account(_endpoints(environment, base_url), _key(environment))


def origin(environment: Mapping[str, str] = os.environ, *, base_url: str | None = None) -> str:
    """The API that such an account asks, whatever its key. Raises UsageError as `from_environment`."""
    return _endpoints(environment, base_url).api


def endpoints(environment: Mapping[str, str] = os.environ, *, base_url: str | None = None) -> Endpoints:
    """The hosts alone, for calls that need no key. Raises UsageError for a URL that is none."""
    return _endpoints(environment, base_url)


def _endpoints(environment: Mapping[str, str], base_url: str | None) -> Endpoints:
    """With another base URL, storage and history default to it."""
    asked = base_url or environment.get("SEGMIND_BASE_URL")
    named = "--base-url" if base_url else "SEGMIND_BASE_URL"
    storage = environment.get("SEGMIND_STORAGE_URL")
    history = environment.get("SEGMIND_HISTORY_URL")
    standard = Endpoints()
    api = _origin(asked, named) if asked else standard.api
    elsewhere = api != standard.api
    return Endpoints(
        api=api,
        storage=_origin(storage, "SEGMIND_STORAGE_URL")
        if storage
        else api
        if elsewhere
        else standard.storage,
        history=_origin(history, "SEGMIND_HISTORY_URL")
        if history
        else api
        if elsewhere
        else standard.history,
    )


def _origin(url: str, name: str) -> str:
    """The URL without a trailing slash, /v1 or /v2."""
    try:
        parts = urlsplit(url.strip())
        plain = parts.hostname and parts.port != 0 and not (parts.username or parts.password)
    except ValueError:
        plain = False
    if not plain or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise errors.UsageError(
            f"{name} is not a URL of a server: {_without_password(url)!r}; it looks like "
            "https://api.segmind.com, without a user name or password"
        )
    return re.sub(r"/v[12]$", "", url.strip().rstrip("/"))


def _without_password(url: str) -> str:
    """What stands before the last @ may be a user's name and password."""
    scheme, slashes, rest = url.strip().rpartition("://")
    hidden = rest.rpartition("@")[2] if "@" in rest else rest
    return scheme + slashes + ("...@" if hidden != rest else "") + hidden


def _key(environment: Mapping[str, str]) -> str:
    key = environment.get("SEGMIND_API_KEY", "").strip()
    file = environment.get("SEGMIND_API_KEY_FILE", "").strip()
    if not key and file:
        try:
            key = Path(file).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise errors.MissingKey(f"SEGMIND_API_KEY_FILE names {file}: {reason}") from error
    if not key:
        raise errors.MissingKey(f"no API key: {HOW_TO_GET_A_KEY}")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise errors.MissingKey(f"the API key has characters that no key has; {HOW_TO_GET_A_KEY}")
    return key
