"""The call budget: every API call passes one gate, by urgency, at the rate the account allows.

Law 3: the limit is kept, and used up. Waiting is not failing.

    gate.py    Pacing: who may call next, and when; pauses; what a 429 means
    order.py   Kind and the queue: who goes first
    pause.py   Pause: until when all calls wait after a 429 (pure)
    rate.py    Rate: from resets and counts to calls per second (pure)
    probe.py   Probe: when a higher rate is tried (pure)
    free.py    Free: whether the calls that are thought not to count have proved it (pure)
    strays.py  Strays: 429s that no limit explains teach no rate (pure)
    news.py    what the gate tells: events, statistics, the lesson for the next run
    stamp.py   reset_stamp, Skew: what an answer's headers say about time (pure)
"""

from __future__ import annotations

from batcher.pacing.gate import Pacing
from batcher.pacing.news import Metered, PacingEvent, Statistics
from batcher.pacing.order import Kind
from batcher.pacing.rate import Rate
from batcher.pacing.stamp import Skew, reset_stamp

__all__ = ["Kind", "Metered", "Pacing", "PacingEvent", "Rate", "Skew", "Statistics", "reset_stamp"]
