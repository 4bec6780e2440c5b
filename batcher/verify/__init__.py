"""Is what the ledger says there, whole and in its place? And where it is not: mended, without paying.

    looking.py   every delivered file against its sha256, and what lies about that nothing names
    lines.py     metadata.jsonl against the ledger
    mending.py   set aside, withdraw, fetch again; pay again only when told to

Law: looking writes nothing. Mending deletes nothing, overwrites nothing and submits nothing unless told to.
"""

from __future__ import annotations

from batcher.verify.looking import Finding, Found, Kind, look
from batcher.verify.mending import Mended, mend

__all__ = ["Finding", "Found", "Kind", "Mended", "look", "mend"]
