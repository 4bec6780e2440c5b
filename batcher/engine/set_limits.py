"""What `batcher set` said, laid over a manifest: by a run, and by a plan that is only looked at.

Rule: a limit that was set holds until the manifest, or the command line, says another than it said then.
"""

from __future__ import annotations

from collections.abc import Mapping

from batcher.job.manifest import Manifest
from batcher.ledger.controls import SetLimit, limit_text, limit_value


def sentences(manifest: Manifest, noted: Mapping[str, SetLimit]) -> list[str]:
    """What holds of each limit that `batcher set` said otherwise than the manifest, or the command line."""
    texts = []
    for key, one in noted.items():
        if one.value == one.manifest:
            continue
        value = limit_value(manifest.limits, key)
        says, told = limit_text(key, value), limit_text(key, one.value)
        typed = manifest.is_overridden(("limits", *key.split(".")))
        if value == one.manifest:
            who = "the command line" if typed else "the manifest"
            texts.append(f"limits.{key} is {told}, as `batcher set` said; {who} says {says}")
        elif typed:
            texts.append(
                f"limits.{key} is {says}, as the command line says; what `batcher set` said, {told}, is over"
            )
        else:
            texts.append(f"limits.{key} is {says}: the manifest was changed since `batcher set` said {told}")
    return texts


def with_held(job: Manifest, held: Mapping[str, SetLimit]) -> Manifest:
    """The job with these of `limits` in place of its own."""
    limits = job.limits
    for key, one in held.items():
        value = one.value
        section, _, name = key.rpartition(".")
        if section:
            value, name = getattr(limits, section).model_copy(update={name: value}), section
        limits = limits.model_copy(update={name: value})
    return job.model_copy(update={"limits": limits})
