"""The API's JSON, both ways, without I/O: what an answer says, and what it means.

    answers.py       submit, status, result, sync, credits, upload: answers that say yes
    outputs.py       the pictures in them, wherever they are
    long_texts.py    base64 in an answer, decoded where it lies
    refusals.py      answers that say no, by their meaning
    bodies.py        request bodies as the history tells them, compared by value
    history.py       the request history
    json_values.py   JSON and headers, read with care

Rule: nothing is assumed that the provider does not promise. What cannot be read raises Unreadable;
the caller knows what that means at its place (after a submit it is doubt, never "try again"; a submit's
answer is yes, no, or not understood, and nothing else).
Source of the shapes: the API's documentation and the official SDK 1.3.0 (`v2.py`, `files.py`).
"""

from __future__ import annotations

from batcher.api.wire.answers import (
    Accepted,
    Result,
    Status,
    UnknownEnd,
    accepted,
    credits_left,
    id_in,
    record_of,
    result,
    status,
    sync_result,
    uploaded_urls,
)
from batcher.api.wire.bodies import parsed_body, same_value
from batcher.api.wire.history import (
    CREATED_AFTER,
    CREATED_BEFORE,
    HistoryPage,
    HistoryRow,
    history_page,
    history_row,
)
from batcher.api.wire.json_values import CutOff, Unreadable, header
from batcher.api.wire.outputs import Output, outputs_of
from batcher.api.wire.refusals import blames_an_input, failed, message_of, refusal

__all__ = [
    "CREATED_AFTER",
    "CREATED_BEFORE",
    "Accepted",
    "CutOff",
    "HistoryPage",
    "HistoryRow",
    "Output",
    "Result",
    "Status",
    "UnknownEnd",
    "Unreadable",
    "accepted",
    "blames_an_input",
    "credits_left",
    "failed",
    "header",
    "history_page",
    "history_row",
    "id_in",
    "message_of",
    "outputs_of",
    "parsed_body",
    "record_of",
    "refusal",
    "request_body",
    "result",
    "same_value",
    "status",
    "sync_result",
    "uploaded_urls",
]
