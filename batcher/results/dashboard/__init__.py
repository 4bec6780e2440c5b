"""The live page: a run watched in a browser on this machine, and its pictures reviewed there.

    feed.py             looks at the ledger, at most once a second, while somebody watches
    web.py              the page, its events and its pictures
    review_pages.py     the page of a review, and the decisions that it sends
    control_pages.py    what its buttons send: pause, resume, other limits
    picture_answers.py  pictures as they are handed out
    guard.py            who may ask, and who may change something

Rule: whoever has not the token sees nothing; only a POST of the page itself changes anything; a run beside it
is never slowed.
"""

from __future__ import annotations

from batcher.results.dashboard.web import serve

__all__ = ["serve"]
