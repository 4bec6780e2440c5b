"""The ledger's delivered pictures as a dataset that loads in one line.

    exporting.py    what is asked for, what came of it, and the way between
    splits.py       which split a source picture belongs to
    exclusion.py    the pictures that a person has rejected
    leaving.py      a delivered picture, and its original, as they leave: file, columns, mask
    columns.py      one type for every column
    masks.py        a mask of the source, laid where the source lies
    preparing.py    a picture is brought here and looked at before it is written
    packing.py      which pictures leave in one piece of work, on whatever machine
    imagefolder.py, webdataset.py, parquet.py    the three forms

Law: an export adds nothing, drops nothing silently, and never writes over what is there. It reads a snapshot
of the ledger, beside whatever run may go on.
"""

from __future__ import annotations

from batcher.export.exporting import Exported, Wishes, export
from batcher.export.splits import Splits

__all__ = ["Exported", "Splits", "Wishes", "export"]
