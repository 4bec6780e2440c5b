"""The live page: a run watched in a browser on this machine.

    lookout.py  looks at the ledger, at most once a second, while somebody watches
    serving.py  the page, its events and its pictures, behind a token

Law: it reads and never writes but thumbnails; whoever has not the token sees nothing; a run beside it is
never slowed.
"""

from __future__ import annotations

from batcher.dashboard.serving import serve

__all__ = ["serve"]
