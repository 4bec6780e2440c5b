"""A first manifest for a model and a folder of pictures: what `batcher init` writes.

    text = draft(model, surroundings(Path("photos")), Path("job.yaml"))

    surroundings.py        what lies in a folder of pictures and beside it: masks, labels, captions
    labelled_dataset.py    whether that is a dataset with labels: COCO, ultralytics, Pascal VOC
    draft.py               the manifest's text: what has to be there, and all else as a comment with its range

Rule: what is written runs as it stands. What nobody can know is filled in by the model page's example, and
said so.
"""

from __future__ import annotations

from batcher.job.starter.draft import draft, needs_mask
from batcher.job.starter.surroundings import Surroundings, surroundings

__all__ = ["Surroundings", "draft", "needs_mask", "surroundings"]
