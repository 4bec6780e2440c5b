"""A person's word on delivered pictures.

    decisions.py   pictures are rejected, and taken back

Rule: a decision costs nothing and deletes nothing: it can be taken back.
"""

from batcher.results.review.decisions import Decisions, keep, reject

__all__ = ["Decisions", "keep", "reject"]
