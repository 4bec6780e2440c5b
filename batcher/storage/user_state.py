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


def account_path(name: str) -> Path:
    """The file of the account of this name (`Account.name`), which may not be there yet."""
    return user_state() / "accounts" / f"{name}.sqlite"


def account_paths() -> list[Path]:
    """The files of all accounts that have run on this machine; none where they cannot be looked at."""
    folder = user_state() / "accounts"
    try:
        with os.scandir(folder) as entries:
            names = sorted(one.name for one in entries if one.name.endswith(".sqlite"))
    except OSError:
        return []
    return [folder / name for name in names]
