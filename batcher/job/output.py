"""Where the output of a job lies, be the job told by its manifest or by the output folder itself.

Rule: a manifest and its output folder name the same job. It reads only what it must: `batcher status` starts
at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from batcher import errors
from batcher.job.yaml_document import SUFFIXES, read_text, read_yaml
from batcher.shard import Shard
from batcher.storage import layout

NO_SUCH_JOB = ", and `batcher jobs` lists no job of that name"


def resolve_output(
    job: Path, *, output: Path | None = None, sandbox: bool = False, shard: Shard | None = None
) -> Path:
    """The output folder (absolute) of a manifest, or of the folder itself; `output` is what -o says, and
    `shard` the share that is asked for.

    Raises UsageError when `job` is neither.
    """
    if output is not None:
        return layout.output_folder(output, output=output, sandbox=sandbox)
    if job.is_dir():
        return layout.existing_output(job, shard)
    if not job.exists():
        named = "" if job.parent.name or job.suffix in SUFFIXES else NO_SUCH_JOB
        raise errors.UsageError(f"{job}: there is no such manifest or output folder{named}")
    data = _mapping(job)
    settings = data.get("output")
    folder = settings.get("dir") if isinstance(settings, dict) else None
    is_local = folder is not None and "://" not in str(folder)
    where = os.path.expanduser(str(folder) if is_local else f"out/{data.get('name', job.stem)}")
    return layout.output_folder(job.absolute().parent / where, sandbox=sandbox, shard=shard)


def _mapping(manifest: Path) -> dict[str, Any]:
    """The manifest as plain data; what it says is not checked."""
    hint = f"`batcher validate {manifest}` says why"
    try:
        document = read_yaml(read_text(manifest), str(manifest))
    except errors.ManifestError as error:
        raise errors.UsageError(f"{manifest} cannot be read as a manifest; {hint}") from error
    if document.problems or not isinstance(document.data, dict):
        raise errors.UsageError(f"{manifest} is not a manifest; {hint}")
    return document.data
