"""The live page: a run watched in a browser on this machine.

    feed.py     looks at the ledger, at most once a second, while somebody watches
    web.py      the page, its events and its pictures, behind a token

Rule: it reads and never writes but thumbnails; whoever has not the token sees nothing; a run beside it is
never slowed.
"""

from __future__ import annotations

from batcher.results.dashboard.web import serve

__all__ = ["serve"]
