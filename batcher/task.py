"""A task, the states of its life, and the only moves between them.

Rule: whatever a task may become stands in TRANSITIONS, and nowhere else. The ledger copies this
table into the database, which refuses every other move.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class State(StrEnum):
    """Where a task stands. The same word in the database, the command line, the JSON and the docs."""

    PLANNED = "planned"
    """Waits for its turn to be submitted; nothing of it is in flight."""
    SUBMITTING = "submitting"
    """The intent is on disk; its POST may be in the air."""
    DOUBTFUL = "doubtful"
    """The answer to its POST was lost: perhaps a paid job, perhaps nothing."""
    SUBMITTED = "submitted"
    """The request_id is on disk; the provider works on it."""
    READY = "ready"
    """The result and its URLs are on disk; the files are still to be fetched."""
    DONE = "done"
    """Every file is verified and stands under its final name."""
    REJECTED = "rejected"
    """A check or a person set its pictures aside, for a stated reason; they are kept."""
    FAILED = "failed"
    """It ended without a picture, for a stated reason."""


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PLANNED: frozenset({State.SUBMITTING, State.FAILED}),
    State.SUBMITTING: frozenset({State.SUBMITTED, State.READY, State.PLANNED, State.DOUBTFUL, State.FAILED}),
    State.DOUBTFUL: frozenset({State.SUBMITTED, State.READY, State.PLANNED, State.FAILED}),
    State.SUBMITTED: frozenset({State.READY, State.PLANNED, State.FAILED}),
    State.READY: frozenset({State.DONE, State.REJECTED, State.PLANNED, State.FAILED}),
    State.DONE: frozenset({State.READY, State.PLANNED, State.REJECTED}),
    State.REJECTED: frozenset({State.DONE}),
    State.FAILED: frozenset({State.PLANNED}),
}

IN_FLIGHT = frozenset({State.SUBMITTING, State.DOUBTFUL, State.SUBMITTED, State.READY})
FINAL = frozenset({State.DONE, State.REJECTED, State.FAILED})


class Task(NamedTuple):
    """One line of the plan: one request to be made, one or more pictures to be had.

    `params` is the request body as the manifest says it, with local files as absolute paths;
    `media` names the parameters that hold such a file and gives the sha256 (hex) of its content; an item of a
    list or mapping is named by its place, as `images.0` (see `value_at`).
    `columns` are the source columns and axes the task came from, kept for its metadata.
    `images` is how many pictures one request of it gives (the model's count parameter).
    A replacement for a rejected picture is the `redo`-th of its name (0: it is none); `replaces` is the key
    of the rejected task before it, `root` that of the first one.
    """

    key: str
    name: str
    params: Mapping[str, Any]
    columns: Mapping[str, Any]
    media: Mapping[str, str]
    repeat: int = 0
    images: int = 1
    redo: int = 0
    replaces: str | None = None
    root: str | None = None


def value_at(params: Mapping[str, Any], place: str) -> Any:
    """What stands in a body at a place that `media` names; None where nothing does."""
    if place in params:
        return params[place]
    value: Any = params
    for key in place.split("."):
        if isinstance(value, list):
            value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    return value
