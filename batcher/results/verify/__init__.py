"""Is what the ledger says there, whole and in its place? And where it is not: mended, without paying.

    check.py            every delivered file against its sha256, and what lies about that nothing names
    metadata_check.py   metadata.jsonl against the ledger
    kept_answers.py     answers that were not understood, and the pictures in them
    repair.py           set aside, withdraw, fetch again; pay again only when told to

Rule: looking writes nothing. Mending deletes nothing, overwrites nothing and submits nothing unless told to.
"""

from __future__ import annotations

from batcher.results.verify.check import CheckResult, Finding, FindingKind, check_output
from batcher.results.verify.kept_answers import KeptAnswer
from batcher.results.verify.repair import RepairResult, repair_output

__all__ = [
    "CheckResult",
    "Finding",
    "FindingKind",
    "KeptAnswer",
    "RepairResult",
    "check_output",
    "repair_output",
]
