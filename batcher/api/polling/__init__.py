"""When to ask next: learned service times -> next poll.

    poll_timing.py  PollTiming: what was learned of a model, and the polls that follow from it
    times.py        how long jobs take: a mixture of a few lognormals
    schedule.py     the schedule of polls that this makes best

Rule: no clock, no I/O; all ages are seconds since submission. What is learned comes from the server's own
times or from the middle of the last poll interval, never from the moment of detection, which runs away.

Thirty lines would do where much is known: to poll at the quantiles of the completions seen. Simulated beside
it, polls per job at the same wanted delay:

    completions known    jobs                  these files    quantiles of what was seen
    128                  15 s                  4.89           4.91
    128                  half of them cached   4.87           4.50
    12                   60 s                  1.0 s late     6.3 s late: the wanted delay is lost

What it lacks is the first dozen jobs of a model, and a price for calls where every call counts.
"""

from __future__ import annotations

from batcher.api.polling.poll_timing import (
    DEFAULT_TYPICAL,
    EAGER,
    IGNORANT_SIGMA,
    SCOUTS,
    PollTiming,
    price_of_call,
)

__all__ = ["DEFAULT_TYPICAL", "EAGER", "IGNORANT_SIGMA", "SCOUTS", "PollTiming", "price_of_call"]
