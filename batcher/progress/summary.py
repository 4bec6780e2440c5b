"""A run in words: the figures of a moment. Pure.

Rule: every sentence is made here, once, for the terminal and for plain lines; its own words are ASCII, and
text that came from outside passes `printable` before anybody prints it (`printable.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from batcher.progress import Snapshot
from batcher.task import FINAL, State

ALWAYS = ("new", "done")
API_CALLS = ("submit", "status", "result", "sync")
"""The kinds of calls that make an image; uploads and downloads go to file hosts."""


def stages(snapshot: Snapshot) -> dict[str, int]:
    """How many tasks are at which stage, adding up to the total; `doubtful` and `rejected` are there while
    any are."""
    counts = snapshot.counts
    doubtful, rejected = counts.get(State.DOUBTFUL, 0), counts.get(State.REJECTED, 0)
    return {
        "planned": counts.get(State.PLANNED, 0),
        "in flight": counts.get(State.SUBMITTING, 0) + counts.get(State.SUBMITTED, 0),
        **({"doubtful": doubtful} if doubtful else {}),
        "fetching": counts.get(State.READY, 0),
        "done": counts.get(State.DONE, 0),
        **({"rejected": rejected} if rejected else {}),
        "failed": counts.get(State.FAILED, 0),
    }


def this_time(snapshot: Snapshot) -> Snapshot:
    """Of a run that is to do a part alone, that part as if it were all; else the same."""
    counts = snapshot.this_time
    return replace(snapshot, counts=counts, total=sum(counts.values())) if counts else snapshot


def settled(snapshot: Snapshot) -> int:
    """Tasks that came to their end: done, rejected or failed."""
    return sum(snapshot.counts.get(state, 0) for state in FINAL)


def share(snapshot: Snapshot) -> str:
    """How much of the plan is settled; 100 % only when all of it is."""
    return f"{settled(snapshot) * 100 // max(snapshot.total, 1)} %"


def of_all(snapshot: Snapshot) -> str:
    """How much is settled of how many tasks, which may be those of this time alone."""
    part = this_time(snapshot)
    return f"{share(part)} of {part.total:,}{' this time' if snapshot.this_time else ''}"


def kinds(numbers: Mapping[str, int]) -> str:
    """The tasks of a plan by what a run does with them: `24 new, 16 done`; of `numbers` those two always."""
    return ", ".join(f"{number:,} {kind}" for kind, number in numbers.items() if number or kind in ALWAYS)


def pace(snapshot: Snapshot) -> tuple[str, ...]:
    """Images per minute against the limit, calls per image, 429s; and how many may be in flight, while more
    are to come."""
    parts = [f"{snapshot.images_per_minute:,.1f} images/min", _limit(snapshot)]
    # While more are in flight than delivered, most calls have no image yet to be counted for.
    if snapshot.images > stages(snapshot)["in flight"]:
        made = sum(snapshot.calls.get(kind, 0) for kind in API_CALLS)
        parts.append(f"{made / snapshot.images:.1f} calls/image")
    if throttled := snapshot.calls.get("throttled", 0):
        parts.append(f"{throttled:,} x 429")
    if snapshot.in_flight_limit and stages(snapshot)["planned"] and not snapshot.stopping:
        parts.append(_in_flight(snapshot))
    return tuple(parts)


def money(snapshot: Snapshot) -> tuple[str, ...]:
    """What is spent, what it will have come to, what is reserved, doubtful and lost."""
    cost = snapshot.cost
    parts = [f"{credits(cost.get('spent', 0.0))} credits spent"]
    if snapshot.projected is not None:
        parts.append(f"about {credits(snapshot.projected)} in all")
    for key in ("reserved", "doubtful", "lost"):
        images = snapshot.unsure.get(key, 0)
        if cost.get(key) or images:
            parts.append(f"{amount(cost.get(key, 0.0), images)} {key}")
    return tuple(parts)


def amount(value: float, images: int) -> str:
    """Credits, or how many images they would be for where no price is known: unknown is not zero."""
    if images and not value:
        return f"{several(images, 'image', 'images')} (cost not known)"
    return credits(value)


def activity(snapshot: Snapshot) -> str:
    """What the run is at: stopping, waiting for something, or working."""
    if snapshot.stopping:
        return f"stopping: {snapshot.stopping}"
    if snapshot.waiting:
        return snapshot.waiting
    at = stages(snapshot)
    if at["planned"]:
        return "submitting"
    if at["in flight"]:
        return "all submitted, waiting for results"
    return "fetching the last files" if at["fetching"] else "closing"


def left(snapshot: Snapshot) -> str:
    """The time that remains, with its spread."""
    low, high = snapshot.eta_low, snapshot.eta_high
    if low is None or high is None or not math.isfinite(high):
        return "not known while it is paused" if snapshot.paused else "not known yet"
    unit, name = (1.0, "s") if high < 90 else (60.0, "min") if high < 90 * 60 else (3600.0, "h")
    digits = 1 if name == "h" else 0
    first, last = f"{low / unit:,.{digits}f}", f"{high / unit:,.{digits}f}"
    return f"about {last} {name}" if first == last else f"{first} to {last} {name}"


def reasons(failures: Mapping[str, int], most: int) -> Iterator[tuple[int, str]]:
    """The most frequent reasons of failure with their numbers of tasks; the rest in one, told last."""
    ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    # A rest of one takes no more room than its name.
    shown = most if len(ordered) > most + 1 else most + 1
    yield from ((number, reason) for reason, number in ordered[:shown])
    if rest := ordered[shown:]:
        yield sum(number for _, number in rest), f"({len(rest):,} other reasons)"


def credits(amount: float) -> str:
    """Credits with sensible digits: cents, and below one credit three significant digits."""
    if amount == 0 or abs(amount) >= 0.9995:
        return f"{amount:,.2f}"
    digits = min(6, max(2, 2 - math.floor(math.log10(abs(amount)))))
    whole, _, fraction = f"{amount:.{digits}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def clock(seconds: float) -> str:
    """Elapsed time as a clock shows it: `0:41`, `12:05`, `3:12:05`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def duration(seconds: float) -> str:
    """A length of time in a sentence: `41 s`, `12 min 5 s`, `3 h 12 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute} min"
    return f"{minutes} min {second} s" if minutes else f"{second} s"


def sharing(rate: float | None, other_jobs: int) -> str:
    """Who runs beside whom: `shares 60 calls a minute with 2 other jobs`; empty where nobody does."""
    if rate is None or not other_jobs:
        return ""
    return f"shares {_plain(rate)} calls a minute with {several(other_jobs, 'other job', 'other jobs')}"


def _limit(snapshot: Snapshot) -> str:
    if snapshot.rate is None:
        return "no limit"
    configured = ""
    if (
        snapshot.rpm_configured is not None
        and abs(snapshot.rate - snapshot.rpm_configured) > 0.01 * snapshot.rpm_configured
    ):
        configured = f" (the manifest says {_plain(snapshot.rpm_configured)})"
    if snapshot.other_jobs:
        return f"{sharing(snapshot.rate, snapshot.other_jobs)}{configured}"
    return f"limit {_plain(snapshot.rate)} a minute{configured}"


def _in_flight(snapshot: Snapshot) -> str:
    limit = f"{snapshot.in_flight_limit:,}"
    return (
        f"at most {limit} in flight" if snapshot.in_flight_configured else f"up to {limit} in flight (auto)"
    )


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == round(number) else f"{number:.1f}"


def images(came: int, rejected: int) -> str:
    """Of all pictures that came, how many are where they belong, and how many are set aside."""
    delivered = f"{several(came - rejected, 'image', 'images')} delivered"
    return f"{delivered}, {rejected:,} rejected" if rejected else delivered


def several(number: int, one: str, many: str) -> str:
    """A number and what it counts."""
    return f"{number:,} {one if number == 1 else many}"
