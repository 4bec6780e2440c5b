"""The API's JSON, both ways, without I/O: what an answer says, and what it means.

    answers.py    submit, status, result, sync, credits, upload: answers that say yes
    pictures.py   the pictures in them, wherever they are
    refusals.py   answers that say no, by their meaning
    history.py    the request history
    reading.py    JSON and headers, read with care

Law: nothing is assumed that the provider does not promise. What cannot be read raises Unreadable;
the caller knows what that means at its place (after a submit it is doubt, never "try again").
Source of the shapes: the API's documentation and the official SDK 1.3.0 (`v2.py`, `files.py`).
"""

from __future__ import annotations

from batcher.wire.answers import (
    Accepted,
    Foreign,
    Result,
    Status,
    accepted,
    credits_left,
    of_no_other,
    record_of,
    result,
    status,
    sync_result,
    uploaded_urls,
)
from batcher.wire.history import HistoryRow, history_rows
from batcher.wire.pictures import Output, outputs_of
from batcher.wire.reading import Unreadable
from batcher.wire.refusals import blames_an_input, failed, message_of, refusal

__all__ = [
    "Accepted",
    "Foreign",
    "HistoryRow",
    "Output",
    "Result",
    "Status",
    "Unreadable",
    "accepted",
    "blames_an_input",
    "credits_left",
    "failed",
    "history_rows",
    "message_of",
    "of_no_other",
    "outputs_of",
    "record_of",
    "refusal",
    "result",
    "status",
    "sync_result",
    "uploaded_urls",
]
