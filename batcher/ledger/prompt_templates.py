"""The templates of a job's prompts, as its latest plan has them: what a dataset's card says of its texts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from batcher.ledger.database import meta

NOTE = "prompt_templates"


def as_text(params: Mapping[str, Any]) -> str:
    """What to note of a manifest's parameters: those that are prompts by their name, and texts."""
    return json.dumps(
        {name: value for name, value in params.items() if "prompt" in name and isinstance(value, str)}
    )


def noted(connection: sqlite3.Connection) -> dict[str, str]:
    """The templates by parameter; none in a ledger that older runs wrote."""
    return dict(json.loads(meta(connection, NOTE) or "{}"))
