"""The call budget: every API call passes one gate, by urgency, at the rate the account allows.

Promise 3: the limit is kept, and used up. Waiting is not failing.

    gate.py           Pacing: the gate, as a run sees it; put together from the next three
    account_limit.py  AccountLimit: what is known of the limit: which calls count, the rate, the pauses (pure)
    other_runs.py     OtherRuns: what the account's other runs tell of it, and are told
    dispatcher.py     Dispatcher: who waits, and who goes next
    shared_slots.py   SharedSlots: where the gates of several runs of one account meet
    call_queue.py     CallKind, CallQueue: who goes first
    token_spacing.py  TokenSpacing: calls leave one by one, without bursts
    pause.py          Pause: until when calls wait after a 429 (pure)
    rate.py           Rate: from resets and counts to calls per second (pure)
    probe.py          Probe: when a higher rate is tried (pure)
    unmetered.py      UnmeteredEvidence: whether the calls that are thought not to count have proved it (pure)
    outliers.py       Outliers: 429s that no limit explains teach no rate (pure)
    events.py         PacingEvent, PacingStatistics, LearnedRate: what the gate tells
    reset_header.py   reset_stamp, ClockSkew: what an answer's headers say about time (pure)

Theory of operation
-------------------

What is known and who waits are kept apart. `AccountLimit` decides, as functions of the moment `at`, what
429s, resets and counts say of the limit; it holds no call and never waits. `OtherRuns` brings it what the
account's other runs have seen: there is one limit, and one count. `Dispatcher` holds the calls, and asks the
limit whenever one might go; what a change of the limit means for its queues, a `QueueAction` says. Time alone
ends a pause, and only its end teaches: the dispatcher ends what is over before it asks.

The limit is the account's and is published in tables that disagree; which calls count against it is not
published at all, nor whether it is a window or a bucket, nor when a window begins. The only thing that the
API ever says is the 429, whose one header names the moment from which calls pass again. Everything here
answers to a behaviour of a server; each line names it, how the mechanism meets it, and what shows that the
behaviour exists. No limit of the real service was ever measured by us: "documented" means in its pages or
its SDK, "standard" in an RFC or in other services of this kind, "possible" that the documents leave it open
and being wrong costs money or hours. What answers to none of these has no place here.

The rate is kept.
  A limit per minute exists (documented). Calls that count leave one by one at the rate that the user said:
  a token that drips (`aiolimiter`), not a burst per minute, since `AsyncLimiter(60, 60)` lets 119 calls
  into its worst minute. JITTER keeps a minute from holding one too many when calls travel unevenly;
  CATCH_UP makes good what a busy machine loses by waking late (measured on two cores: 1 to 4 ms).

The rate is found out.
  The user's number may be ten times too high: published tables disagree (documented). Between two resets,
  both met by a 429, exactly as many calls passed as the server allows in that time: fixed window, sliding
  window and dripping bucket alike (rate.py). The first reset alone says less: the window may have begun
  before us. Stamps cut to whole seconds (standard: Retry-After) are why short spans are joined and MARGIN
  is kept. A limit may rise again, by another plan or by the end of another run (possible; credits are
  topped up in mid-run, documented): a trial upwards costs one 429 and no throughput (probe.py), seldom and
  in growing steps. 429s may come at any rate, by chance or from another limit than ours (standard: limits
  of concurrency): lessons that refute each other three times are forgotten (outliers.py); the 429s still
  pause.

The limit is the account's.
  Several runs on one machine share it (documented: limits are an account's). A gate beside others takes each
  slot from a row that all share (GCRA), so that they go round in turn; it counts what the others sent as its
  own, and hears their pauses, so that all learn the same of the limit. Measured in simulated time, three runs
  of 200 calls at 60 a minute, told right: fixed windows 1.000 of the ideal and no 429, a bucket of ten 1.000
  and none; each for itself 0.98 with 6 and 1.54 with 306, the last of the three after 2.5 times the first.

Which calls count is found out.
  Whether status calls count is not published. A stamped 429 on a status or result call proves that they do,
  and makes the rate that was judged without them void. Until they have proved the contrary by their number
  (unmetered.py), they leave with caution: all of them could be refused at once by the first 429.

A 429 pauses.
  Its header `x-rate-limit-reset-at-utc` (documented) or Retry-After names the reset: nothing that counts
  leaves before it, and where submits alone count, their 429 holds nobody else. Retry-After as a date, as a
  fraction, epochs in seconds and milliseconds (standard in other services) are read by reset_header.py. The
  server's clock may differ from ours (possible): Date headers tell by how much, beyond 2 s; within them a
  stamp that is past when its call leaves shows it (`_behind`); where nothing passes after the reset all the
  same, waits double (`_disagreed`); where stamps say "now" and still nothing passes (possible: a stamp
  rounded down), too (`_said_now`). 429s without any stamp (standard: RFC 6585 makes it optional) share one
  growing pause. A reset further away than `limits.patience`, or nothing let through for as long, is told as
  `exhausted`.

Who goes first.
  A result's record dies (documented: one hour): results go by their deadline, even within a pause that they
  would not survive; then questions and submits in turns, since a question put later is more likely put
  once.
"""

from __future__ import annotations

from batcher.api.pacing.call_queue import CallKind
from batcher.api.pacing.events import Metered, PacingEvent, PacingStatistics
from batcher.api.pacing.gate import Pacing
from batcher.api.pacing.rate import Rate
from batcher.api.pacing.reset_header import ClockSkew, reset_stamp
from batcher.api.pacing.shared_slots import SharedSlots, SharedState, Slot, next_slot

__all__ = [
    "CallKind",
    "ClockSkew",
    "Metered",
    "Pacing",
    "PacingEvent",
    "PacingStatistics",
    "Rate",
    "SharedSlots",
    "SharedState",
    "Slot",
    "next_slot",
    "reset_stamp",
]
