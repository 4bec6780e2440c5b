"""The provider's public list of models: one call without a key, at the history's host.

Rule: what the list means is decided by who asked for it; here it is JSON or it is not.
"""

from __future__ import annotations

import json
from typing import Any

from batcher import errors
from batcher.api.client import Endpoints
from batcher.api.http import exact, plain_session, proxy_of, read_limited, transport_errors
from batcher.api.time_limit import time_limit

PATH = "/inference-model-information/list"
LARGEST = 64 << 20
"""Bytes of the list."""
SECONDS = 30.0


async def fetch_model_list(endpoints: Endpoints) -> Any:
    """The list as plain data. Raises ModelListUnavailable with a sentence."""
    try:
        return await _fetch(f"{endpoints.history}{PATH}")
    except errors.ApiError as error:
        raise errors.ModelListUnavailable(_sentence(endpoints, error.message)) from error
    except ValueError as error:
        raise errors.ModelListUnavailable(_sentence(endpoints, "the answer is no JSON")) from error


async def _fetch(url: str) -> Any:
    target = exact(url)
    with transport_errors(), time_limit(SECONDS):
        async with (
            plain_session() as session,
            session.get(target, proxy=proxy_of(target)) as response,
        ):
            body = await read_limited(response, LARGEST)
            if response.status != 200:
                raise errors.Unreachable(f"HTTP {response.status}")
    return json.loads(body)


def _sentence(endpoints: Endpoints, why: str) -> str:
    return f"the list of models could not be had from {endpoints.history}: {why}; nothing has changed"
