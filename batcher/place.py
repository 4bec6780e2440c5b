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
from batcher.shard import Shard, names_share

YAML_RAISES = (ValueError, AttributeError, LookupError, TypeError)
"""What a safe loader raises besides YAMLError, on impossible dates, empty numbers and the like."""


def output_of(
    job: Path, *, output: Path | None = None, sandbox: bool = False, shard: Shard | None = None
) -> Path:
    """The output folder (absolute) of a manifest, or of the folder itself; `output` is what -o says, and
    `shard` the share that is asked for.

    Raises UsageError when `job` is neither.
    """
    if output is not None:
        return output_in(output, output=output, sandbox=sandbox)
    if job.is_dir():
        return _output_at(job, shard)
    if not job.exists():
        raise errors.UsageError(f"{job}: there is no such manifest or output folder")
    data = _read(job)
    named = data.get("output")
    folder = named.get("dir") if isinstance(named, dict) else None
    name = data.get("name", job.stem)
    local = folder is not None and "://" not in str(folder)
    where = os.path.expanduser(str(folder) if local else f"out/{name}")
    return output_in(job.absolute().parent / where, sandbox=sandbox, shard=shard)


def output_in(
    folder: Path, *, output: Path | None = None, sandbox: bool = False, shard: Shard | None = None
) -> Path:
    """The output folder (absolute) where the manifest says `folder`. A share has its own in that; `output`,
    what -o says, goes before both."""
    if output is None:
        output = folder if shard is None else folder / shard.folder
    plain = _plain(output.absolute())
    return _in_sandbox(plain) if sandbox else plain


def before_sandbox(folder: Path) -> Path:
    """What `output_in` took for the sandbox's `folder`."""
    if names_share(folder.name):
        return before_sandbox(folder.parent) / folder.name
    return folder.with_name(folder.name.removesuffix("-sandbox"))


def store_of(store: str | None, *, sandbox: bool = False, shard: Shard | None = None) -> str | None:
    """Where pictures go in the object store that a manifest names, those of a share in a folder of its own;
    None: it names none."""
    if store is None:
        return None
    if sandbox:
        # Beside a whole bucket there is only another bucket, which is not ours.
        _, slash, _ = store.partition("://")[2].partition("/")
        store = f"{store}-sandbox" if slash else f"{store}/sandbox"
    return store if shard is None else f"{store}/{shard.folder}"


def ledger_of(output: Path) -> Path:
    """The ledger of an output folder."""
    return output / ".batcher" / "ledger.sqlite"


def lost_ledger(output: Path) -> bool:
    """Whether records of pictures lie in an output folder without the ledger that they were written from.

    A run writes them after its ledger is there, and a merge too: a first one that was killed leaves none.
    They are looked at first, so that a run that begins meanwhile gives no false alarm.
    """
    records = output / "metadata.jsonl"
    return records.is_file() and records.stat().st_size > 0 and not ledger_of(output).exists()


def lock_of(output: Path) -> Path:
    """The lock of an output folder."""
    return output / ".batcher" / "lock"


def _output_at(folder: Path, shard: Shard | None) -> Path:
    """An output folder itself; of the folder of a whole, that of a share in it."""
    if shard is not None and folder.name != shard.folder:
        folder = folder / shard.folder
    if (folder / ".batcher").is_dir():
        return folder.absolute()
    hint = ""
    if folder.is_dir() and any(names_share(inside.name) for inside in folder.iterdir()):
        hint = "; its shares have: `--shard I/N` names one, `batcher merge` brings them together"
    raise errors.UsageError(
        f"{folder} is not an output folder of batcher: it has no .batcher folder in it{hint}"
    )


def _in_sandbox(folder: Path) -> Path:
    """What the sandbox makes never mixes with what was paid for; shares stay together."""
    if names_share(folder.name):
        return _in_sandbox(folder.parent) / folder.name
    return folder.with_name(f"{folder.name}-sandbox")


def _plain(folder: Path) -> Path:
    """The path without `.` and `..`; links are not followed."""
    kept: list[str] = []
    for part in folder.parts[1:]:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    return Path(*folder.parts[:1]).joinpath(*kept)


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
