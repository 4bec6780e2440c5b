"""Pictures that a job names and no model would see: a warning, since every task of it is paid for."""

from __future__ import annotations

from collections.abc import Iterator

from batcher.job.catalog import Model
from batcher.job.manifest import Manifest
from batcher.job.plan.body import Body
from batcher.job.row import IMAGE_COLUMNS


def unused_pictures(manifest: Manifest, body: Body, model: Model | None) -> Iterator[str]:
    """One sentence for each source whose pictures, or companions, no media input of the model uses."""
    used = frozenset[str]().union(*body.pictured)
    inputs = model.media if model is not None else ()
    wanted = f"{manifest.model} takes {' and '.join(inputs)}" if inputs else f"{manifest.model} takes none"
    if model is None:
        wanted = "no parameter names them"
    for index, source in enumerate(manifest.inputs):
        if source.kind.HAS_PICTURES and not used & {*IMAGE_COLUMNS}:
            hint = f'; as `{inputs[0]}: "{{{{ image }}}}"`' if inputs else ""
            yield f"inputs.{index} has pictures that no media input of the model uses ({wanted}){hint}"
