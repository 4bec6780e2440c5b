"""Faults by script: what goes wrong, on which route, at which call.

Law: the first fault of the list that matches a call is the one that happens, and whether it matches depends
on nothing but the route, the number of the call and the time since the start.

In Python a script reads as a story:

    Faults([
        throttle("submit", calls=[3], reset_in=7),
        cut("submit", accepted=True, rate=0.1),
        down(since=60, until=120),
        truncated(first=2),
    ])

In YAML (`Faults.load`) it is a list of entries. Each names its fault, where there is a choice its route (one,
a list, or `all`), when it strikes, and its own settings:

    - fault: throttle            # 429; reset_in: null for no stamp; retry_after: date | digits | any text
      route: submit
      calls: [1, 3]              # the first and the third call of that route
      reset_in: 7s
    - {fault: cut, route: submit, accepted: true, rate: 0.1}    # one call in ten, decided by the seed
    - {fault: down, from: 60s, until: 2m}                       # nothing answers, on any route

Routes: submit, status, result, sync, upload, download, credits, history.
When: `calls` (numbers from 1), `first` N, `every` N-th, `rate` (0 to 1), `from` / `until` (time since the
start); several must all hold; none: always. A fault of bytes is one of downloads unless told.

    fault          routes              settings (default)
    throttle       any                 reset_in (7s), retry_after (none): a 429
    status         any                 code (503), page (false: JSON), message: an error answer
    html           any                 code (200): an HTML page
    not_json       any                 a 2xx answer that is plain text
    half_json      any                 the real answer, broken off in the middle
    cut            any                 accepted (false): the line is cut, before or after the call took effect
    hang           any                 accepted (true): no answer ever, though the call took effect or not
    down           any                 (all routes unless told) the line is cut before anything took effect
    slow           any                 delay (5s): the answer comes late
    redirect       any                 to (a URL's origin): the call is sent elsewhere
    failed         submit, sync        error: the job ends FAILED with this text
    stuck          submit, sync        state (PROCESSING): the job's status never changes
    hidden         submit              delay (2s): its record answers 404 for so long after the submit
    dead_link      result              the answer names files that are not there
    truncated      download, sync      the first half of the file, as if it were whole
    short          download, sync      the line is cut in the middle of the body
    empty          download, sync      no bytes
    not_an_image   download, sync      an HTML page with status 200
    slow_body      download, sync      delay (10s): the body trickles
"""

from __future__ import annotations

from batcher.sandbox.faults.kinds import KINDS, Fault, Faults, FaultsError, Route, When
from batcher.sandbox.faults.story import (
    cut,
    dead_link,
    down,
    empty,
    failed,
    half_json,
    hang,
    hidden,
    html,
    not_an_image,
    not_json,
    redirect,
    short,
    slow,
    slow_body,
    status,
    stuck,
    throttle,
    truncated,
)

__all__ = [
    "KINDS",
    "Fault",
    "Faults",
    "FaultsError",
    "Route",
    "When",
    "cut",
    "dead_link",
    "down",
    "empty",
    "failed",
    "half_json",
    "hang",
    "hidden",
    "html",
    "not_an_image",
    "not_json",
    "redirect",
    "short",
    "slow",
    "slow_body",
    "status",
    "stuck",
    "throttle",
    "truncated",
]
