"""A person's word on delivered pictures.

    decisions.py   pictures are rejected, and taken back, by name
    session.py     a review: one decision after another, as `batcher review` has it
    who.py         who looks

Rule: a decision costs nothing and deletes nothing: it can be taken back.
"""

from batcher.results.review.decisions import Decisions, keep, reject
from batcher.results.review.session import Decision, Progress, ReviewSession, Verdict

__all__ = ["Decision", "Decisions", "Progress", "ReviewSession", "Verdict", "keep", "reject"]
