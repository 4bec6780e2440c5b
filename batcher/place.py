"""Where a job's output lies. Reads only what it must: `batcher status` starts at once.

Law: a manifest and its output folder name the same job. Where the pictures go to an object store, the
ledger lies in `out/<name>` of this machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from batcher import errors

YAML_RAISES = (ValueError, AttributeError, LookupError, TypeError)
"""What a safe loader raises besides YAMLError, on impossible dates, empty numbers and the like."""


def output_of(job: Path, *, output: Path | None = None, sandbox: bool = False) -> Path:
    """The output folder (absolute) of a manifest, or of the folder itself; `output` is what -o says.

    Raises UsageError when `job` is neither.
    """
    if output is not None:
        return _sandboxed(output.absolute(), sandbox)
    if job.is_dir():
        if not (job / ".batcher").is_dir():
            raise errors.UsageError(
                f"{job} is not an output folder of batcher: it has no .batcher folder in it"
            )
        return job.absolute()
    if not job.exists():
        raise errors.UsageError(f"{job}: there is no such manifest or output folder")
    data = _read(job)
    named = data.get("output")
    folder = named.get("dir") if isinstance(named, dict) else None
    name = data.get("name", job.stem)
    local = folder is not None and "://" not in str(folder)
    where = os.path.expanduser(str(folder) if local else f"out/{name}")
    return _sandboxed(job.absolute().parent / where, sandbox)


def store_of(store: str | None, *, sandbox: bool = False) -> str | None:
    """Where pictures go in the object store that a manifest names; None: it names none."""
    if store is None or not sandbox:
        return store
    # Beside a whole bucket there is only another bucket, which is not ours.
    _, slash, _ = store.partition("://")[2].partition("/")
    return f"{store}-sandbox" if slash else f"{store}/sandbox"


def ledger_of(output: Path) -> Path:
    """The ledger of an output folder."""
    return output / ".batcher" / "ledger.sqlite"


def lock_of(output: Path) -> Path:
    """The lock of an output folder."""
    return output / ".batcher" / "lock"


def _sandboxed(folder: Path, sandbox: bool) -> Path:
    """What the sandbox makes never mixes with what was paid for."""
    plain = Path(*folder.parts[:1]).joinpath(*_without_dots(folder.parts[1:]))
    return plain.with_name(f"{plain.name}-sandbox") if sandbox else plain


def _without_dots(parts: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    return kept


def _read(manifest: Path) -> dict[str, Any]:
    import yaml

    class Words(yaml.SafeLoader):
        """Every scalar is its text, as the manifest's own reader takes a name: `yes`, `1_000`, `12:30`."""

        yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile(r"<<\Z"))]}  # noqa: RUF012  # PyYAML's shape

    try:
        data = yaml.load(manifest.read_text("utf-8-sig"), Words)
    except (OSError, yaml.YAMLError, RecursionError, *YAML_RAISES) as error:
        raise errors.UsageError(
            f"{manifest} cannot be read as a manifest; `batcher validate {manifest}` says why"
        ) from error
    if not isinstance(data, dict):
        raise errors.UsageError(f"{manifest} is not a manifest; `batcher validate {manifest}` says why")
    return data
