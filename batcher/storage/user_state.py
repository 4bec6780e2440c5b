"""Where what outlives a job lies: `$XDG_STATE_HOME/batcher`, else `~/.local/state/batcher`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def user_state(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder, which may not be there yet. A relative XDG_STATE_HOME is ignored, as its standard says."""
    named = environment.get("XDG_STATE_HOME", "")
    if os.path.isabs(named):
        return Path(named) / "batcher"
    return Path(os.path.expanduser("~")) / ".local" / "state" / "batcher"
