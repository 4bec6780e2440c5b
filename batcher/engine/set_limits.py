"""What `batcher set` said, laid over a manifest: by a run, and by a plan that is only looked at.

Rule: a limit that was set holds until the manifest says another than it said then. What the command line says
holds for that run, whatever was set before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from batcher.job.manifest import Manifest
from batcher.ledger.controls import SETTABLE, SetLimit, limit_text, limit_value, still_held


class SetLimits(NamedTuple):
    """What was set, by its key in `limits`: those that hold, and those that the command line lays aside."""

    held: Mapping[str, SetLimit]
    laid_aside: Mapping[str, SetLimit]


def of_manifest(manifest: Manifest, set_limits: Mapping[str, SetLimit]) -> SetLimits:
    """What becomes of these; what the manifest has overruled since is in neither."""
    aside = {key: one for key, one in set_limits.items() if _is_typed(manifest, key)}
    rest = {key: one for key, one in set_limits.items() if key not in aside}
    return SetLimits(still_held(manifest.limits, rest), aside)


def sentences(manifest: Manifest, set_limits: Mapping[str, SetLimit]) -> list[str]:
    """What holds of each limit that `batcher set` said otherwise than the manifest, or the command line."""
    texts = []
    for key, one in set_limits.items():
        value = limit_value(manifest.limits, key)
        says, told = limit_text(key, value), limit_text(key, one.value)
        if _is_typed(manifest, key):
            if value != one.value:
                texts.append(
                    f"limits.{key} is {says} this time, as the command line says; without that it is {told}, "
                    "as `batcher set` said"
                )
        elif one.value == one.manifest:
            continue
        elif still_held(manifest.limits, {key: one}):
            texts.append(f"limits.{key} is {told}, as `batcher set` said; the manifest says {says}")
        else:
            texts.append(f"limits.{key} is {says}: the manifest was changed since `batcher set` said {told}")
    return texts


def typed(manifest: Manifest) -> list[str]:
    """The keys of `limits` that the command line says."""
    return [key for key in SETTABLE if _is_typed(manifest, key)]


def _is_typed(manifest: Manifest, key: str) -> bool:
    return manifest.is_overridden(("limits", *key.split(".")))


def with_held(job: Manifest, set_limits: Mapping[str, SetLimit]) -> Manifest:
    """The job with these of `limits` in place of its own."""
    limits = job.limits
    for key, one in set_limits.items():
        value = one.value
        section, _, name = key.rpartition(".")
        if section:
            value, name = getattr(limits, section).model_copy(update={name: value}), section
        limits = limits.model_copy(update={name: value})
    return job.model_copy(update={"limits": limits})
