"""Where what outlives a job lies: `$XDG_STATE_HOME/batcher`, else `~/.local/state/batcher`; and what may be
made again at any time: `$XDG_CACHE_HOME/batcher`, else `~/.cache/batcher`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def user_state(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder, which may not be there yet. A relative XDG_STATE_HOME is ignored, as its standard says."""
    return _named(environment.get("XDG_STATE_HOME", ""), "~/.local/state")


def kept_plans(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of plans that are kept, in the same way by XDG_CACHE_HOME."""
    return _named(environment.get("XDG_CACHE_HOME", ""), "~/.cache") / "plans"


def _named(folder: str, default: str) -> Path:
    return Path(folder if os.path.isabs(folder) else os.path.expanduser(default)) / "batcher"


def unwritable(folder: Path) -> Path | None:
    """What keeps a folder that may not be there yet from being written to: itself, or the nearest above it
    that is there; None: nothing is known to."""
    there = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    return None if os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK) else there


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
