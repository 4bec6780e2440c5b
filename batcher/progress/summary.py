"""A run in words: the figures of a moment, and the closing sentences with what to do next. Pure.

Law: every sentence is made here, once, for the terminal and for plain lines; its own words are ASCII, and
text that came from outside passes `printable` before anybody prints it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from batcher.progress import Finished, Snapshot
from batcher.task import State

API_CALLS = ("submit", "status", "result", "sync")
"""The kinds of calls that make an image; uploads and downloads go to file hosts."""
REASONS = 10
"""So many reasons of failure are told at the end; errors.jsonl has every task."""
REASON_LENGTH = 200
LABEL = 8
"""Columns of the widest label; one more stands between it and its text."""
RETRY_FLAG = "--retry-failed"
REPAIR = "batcher verify --repair --repay"
"""For whoever does not tell what stands before it."""


class Tone(StrEnum):
    """What a line is about, for whoever has colours."""

    PLAIN = "plain"
    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"
    VERBATIM = "verbatim"
    """To be copied: a command or a path, never broken over lines."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the closing summary; without a label it belongs to the one before. Where it is `listed`, it
    is a list of facts with commas between: a terminal sets them apart, and breaks between them alone."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN
    listed: bool = False


def closing(finished: Finished, *, command: str, repair: str = REPAIR, output: str = "") -> tuple[Line, ...]:
    """The summary of a run. `command` is what the user typed, `repair` what pays again for files that are
    gone, `output` the folder (or URL) of the results."""
    snapshot = finished.snapshot
    return (
        _headline(finished),
        *_causes(finished),
        *_tasks(snapshot),
        *_failures(finished, output),
        *_money(finished),
        *([_list("pace", pace(_as_a_whole(snapshot)))] if snapshot.delivered else ()),
        *_slowest(finished.slowest),
        *([Line("images", _below(output, "images"), Tone.VERBATIM)] if output and snapshot.images else ()),
        *(
            [Line("report", _below(output, "report.html"), Tone.VERBATIM)]
            if output and snapshot.total
            else ()
        ),
        *_next(finished, command, repair),
    )


def _as_a_whole(snapshot: Snapshot) -> Snapshot:
    """The pace of the whole run, in place of its last minutes."""
    return replace(snapshot, images_per_minute=60 * snapshot.delivered / max(snapshot.elapsed, 1.0))


def stages(snapshot: Snapshot) -> dict[str, int]:
    """How many tasks are at which stage, adding up to the total; `doubtful` is there while any are."""
    counts = snapshot.counts
    doubtful = counts.get(State.DOUBTFUL, 0)
    return {
        "planned": counts.get(State.PLANNED, 0),
        "in flight": counts.get(State.SUBMITTING, 0) + counts.get(State.SUBMITTED, 0),
        **({"doubtful": doubtful} if doubtful else {}),
        "fetching": counts.get(State.READY, 0),
        "done": counts.get(State.DONE, 0),
        "failed": counts.get(State.FAILED, 0),
    }


def settled(snapshot: Snapshot) -> int:
    """Tasks that are done or failed."""
    return snapshot.counts.get(State.DONE, 0) + snapshot.counts.get(State.FAILED, 0)


def share(snapshot: Snapshot) -> str:
    """How much of the plan is settled; 100 % only when all of it is."""
    return f"{settled(snapshot) * 100 // max(snapshot.total, 1)} %"


def pace(snapshot: Snapshot) -> tuple[str, ...]:
    """Images per minute against the limit, calls per image, 429s."""
    found = [f"{snapshot.images_per_minute:,.1f} images/min", _limit(snapshot)]
    # While more are in flight than delivered, most calls have no image yet to be counted for.
    if snapshot.images > stages(snapshot)["in flight"]:
        made = sum(snapshot.calls.get(kind, 0) for kind in API_CALLS)
        found.append(f"{made / snapshot.images:.1f} calls/image")
    if throttled := snapshot.calls.get("throttled", 0):
        found.append(f"{throttled:,} x 429")
    return tuple(found)


def money(snapshot: Snapshot) -> tuple[str, ...]:
    """What is spent, what it will have come to, what is reserved, doubtful and lost."""
    cost = snapshot.cost
    found = [f"{credits(cost.get('spent', 0.0))} credits spent"]
    if snapshot.projected is not None:
        found.append(f"about {credits(snapshot.projected)} in all")
    found += [f"{credits(cost[key])} {key}" for key in ("reserved", "doubtful", "lost") if cost.get(key)]
    return tuple(found)


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
    low, high = snapshot.left_low, snapshot.left_high
    if low is None or high is None or not math.isfinite(high):
        return "not known yet"
    unit, name = (1.0, "s") if high < 90 else (60.0, "min") if high < 90 * 60 else (3600.0, "h")
    digits = 1 if name == "h" else 0
    first, last = f"{low / unit:,.{digits}f}", f"{high / unit:,.{digits}f}"
    return f"about {last} {name}" if first == last else f"{first} to {last} {name}"


def reasons(failures: Mapping[str, int], most: int) -> Iterator[tuple[int, str]]:
    """The most frequent reasons of failure with their numbers of tasks; the rest in one, told last."""
    ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    # A rest of one takes no more room than its name.
    told = most if len(ordered) > most + 1 else most + 1
    yield from ((number, reason) for reason, number in ordered[:told])
    if rest := ordered[told:]:
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


def printable(text: str, encoding: str | None = "utf-8") -> str:
    """Foreign text on one line: no control codes, no direction marks, nothing that the encoding lacks."""
    flat = "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )
    return flat.encode(encoding or "utf-8", "replace").decode(encoding or "utf-8", "replace")


def _headline(finished: Finished) -> Line:
    snapshot, code = finished.snapshot, finished.exit_code
    at = stages(snapshot)
    open_tasks = snapshot.total - settled(snapshot)
    of_all = f"{at['done']:,} of {several(snapshot.total, 'task', 'tasks')} done"
    if code == 0 and not snapshot.total:
        said, tone = "nothing to do, the plan has no tasks", Tone.GOOD
    elif code == 0 and not open_tasks and not snapshot.delivered:
        said, tone = f"nothing new, {several(snapshot.total, 'task is', 'tasks are')} done", Tone.GOOD
    elif code == 0 and not open_tasks:
        said, tone = f"all done, {several(snapshot.total, 'task', 'tasks')}", Tone.GOOD
    elif code == 0:
        said, tone = f"{of_all}, as many as were asked for this time", Tone.GOOD
    else:
        ending = _ENDINGS.get(code)
        if code == 3 and not at["failed"]:
            held = snapshot.counts.get(State.DOUBTFUL, 0)
            ending = f"finished, some {'requests are held' if held else 'rows are left out'}"
        elif code == 5 and finished.gone == open_tasks and not finished.causes:
            ending = "finished, some paid files are gone"
        said, tone = f"{ending or 'stopped'}, {of_all}", Tone.CAUTION if code in _MILD else Tone.BAD
    return Line("", f"{snapshot.job}: {said}, after {duration(snapshot.elapsed)}", tone)


_ENDINGS = {
    1: "stopped by an internal error",
    3: "finished with failures",
    4: "stopped by the budget",
    5: "stopped, running again may help",
    10: "stopped, its time is over",
    130: "interrupted",
    143: "terminated",
}
_MILD = frozenset({3, 10, 130, 143})


def _causes(finished: Finished) -> Iterator[Line]:
    if not finished.exit_code:
        return  # it was about to stop, and came to its end
    tone = Tone.CAUTION if finished.exit_code in _MILD else Tone.BAD
    for place, cause in enumerate(finished.causes):
        yield Line("" if place else "why", cause, tone)
    yield Line("exit", f"code {finished.exit_code}")


def _tasks(snapshot: Snapshot) -> Iterator[Line]:
    """The states by their own names; they add up to the total."""
    if not snapshot.total:
        return
    order = (State.DONE, State.FAILED, *(state for state in State if state not in (State.DONE, State.FAILED)))
    parts = [f"{snapshot.counts[state]:,} {state}" for state in order if snapshot.counts.get(state)]
    delivered = several(snapshot.images, "image", "images")
    yield Line("tasks", f"{', '.join(parts)}; {delivered} delivered")


def _failures(finished: Finished, output: str) -> Iterator[Line]:
    found = list(reasons(finished.snapshot.failures, REASONS))
    width = max((len(f"{number:,}") for number, _ in found), default=0)
    for place, (number, reason) in enumerate(found):
        short = reason if len(reason) <= REASON_LENGTH else f"{reason[: REASON_LENGTH - 3]}..."
        yield Line("" if place else "failed", f"{number:>{width},} x {short}", Tone.BAD)
    if finished.left_out:
        rows = several(
            finished.left_out, "row that cannot be used as it is", "rows that cannot be used as they are"
        )
        yield Line("left out", rows, Tone.CAUTION)
    if (found or finished.left_out) and output:
        yield Line("details", _below(output, "errors.jsonl"), Tone.VERBATIM)


def _list(label: str, facts: Iterable[str]) -> Line:
    return Line(label, ", ".join(facts), listed=True)


def _slowest(slowest: Mapping[str, float]) -> Iterator[Line]:
    """The tasks that took longest at the provider."""
    if slowest:
        yield _list("slowest", (f"{name} ({duration(took)})" for name, took in slowest.items()))


def _money(finished: Finished) -> Iterator[Line]:
    snapshot, cost = finished.snapshot, finished.snapshot.cost
    spent = cost.get("spent", 0.0)
    each = f", {credits(spent / snapshot.images)} an image" if spent and snapshot.images > 1 else ""
    yield Line("money", f"{credits(spent)} credits spent{each}")
    if doubtful := cost.get("doubtful"):
        told = f"{credits(doubtful)} credits perhaps paid besides: requests whose answer was lost"
        yield Line("", told, Tone.CAUTION)
    if lost := cost.get("lost"):
        told = f"{credits(lost)} credits lost: paid, but the record was gone before it could be fetched"
        yield Line("", told, Tone.BAD)
    if reserved := cost.get("reserved"):
        yield Line("", f"{credits(reserved)} credits reserved for what is still in flight", Tone.CAUTION)
    if finished.audit is not None:
        yield Line("", f"{credits(finished.audit['closing'])} credits left in the account")


HELD_AFTER = (0, 3)
"""Exit codes of a run that came to its end: what is doubtful then is held, not left."""


def _next(finished: Finished, command: str, repair: str) -> Iterator[Line]:
    """What to do, then the very command that does it."""
    counts, code = finished.snapshot.counts, finished.exit_code
    failed = counts.get(State.FAILED, 0)
    held = counts.get(State.DOUBTFUL, 0) if code in HELD_AFTER else 0
    to_do = finished.snapshot.total - settled(finished.snapshot) - held - finished.gone
    again = " ".join(word for word in command.split(" ") if word != RETRY_FLAG)
    advice: list[tuple[str, str]] = []
    if to_do:
        advice.append((_going_on(finished, to_do), again))
    if held:
        advice.append((_holding(held), again))
    if finished.gone:
        advice.append((_paying_again(finished.gone), repair))
    if failed:
        these = "the failed task" if failed == 1 else f"the {failed:,} failed tasks"
        advice.append((f"once the cause is mended, try {these} again:", f"{again} {RETRY_FLAG}"))
    for place, (what, typed) in enumerate(advice):
        yield Line("" if place else "next", what)
        yield Line("", typed, Tone.VERBATIM)


_REMEDIES = {
    "KEY": "put a valid key into SEGMIND_API_KEY",
    "FORBIDDEN": "ask the provider what your account may do",
    "ADDRESS": "mend the way to the API (SEGMIND_BASE_URL or --base-url, a proxy, a certificate)",
    "MODEL": "correct `model` in the manifest (`batcher models` lists the known ones)",
    "DOWN": "wait until the API is back",
    "CREDITS": "top up your credits or raise the spend limit",
    "BUDGET": "raise max_cost",
}
"""By the class word with which a cause begins (errors.py)."""


def _going_on(finished: Finished, to_do: int) -> str:
    labels = (cause.partition(":")[0] for cause in finished.causes)
    remedies = [_REMEDIES[label] for label in dict.fromkeys(labels) if label in _REMEDIES]
    counts = finished.snapshot.counts
    said = f"the same command goes on with the {several(to_do, 'task', 'tasks')} left; "
    doubtful = counts.get(State.DOUBTFUL, 0) if finished.exit_code not in HELD_AFTER else 0
    if doubtful:
        were = several(doubtful, "was perhaps paid", "were perhaps paid")
        said += f"{were} already, and `retry: {{doubtful: ...}}` says whether they are sent again"
    else:
        said += "nothing is paid twice"
    if not remedies and finished.exit_code == 4:
        remedies = [f"{_REMEDIES['BUDGET']} or {_REMEDIES['CREDITS']}"]
    if remedies:
        said = f"{', '.join(remedies)}; then {said}"
    if flying := counts.get(State.SUBMITTED, 0):
        said += f". {several(flying, 'request is', 'requests are')} in flight and will be billed: "
        said += "go on within the hour, before the records end"
    elif ready := counts.get(State.READY, 0) - finished.gone:
        said += f". The files of {several(ready, 'paid result', 'paid results')} wait for 7 days"
    return f"{said}:"


def _paying_again(gone: int) -> str:
    files = "the file of 1 paid result is" if gone == 1 else f"the files of {gone:,} paid results are"
    return f"{files} gone, and no run brings them back; this submits again what is lost, and costs again:"


def _holding(held: int) -> str:
    these = "request is" if held == 1 else "requests are"
    return (
        f"{held:,} {these} held, perhaps paid: compare with the request history of your account; "
        "`retry: {doubtful: resubmit}` in the manifest sends again:"
    )


def _limit(snapshot: Snapshot) -> str:
    if snapshot.rate is None:
        return "no limit"
    told = ""
    if snapshot.told is not None and abs(snapshot.rate - snapshot.told) > 0.01 * snapshot.told:
        told = f" (told: {_plain(snapshot.told)})"
    return f"limit {_plain(snapshot.rate)} calls/min{told}"


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == round(number) else f"{number:.1f}"


def several(number: int, one: str, many: str) -> str:
    """A number and what it counts."""
    return f"{number:,} {one if number == 1 else many}"


def _below(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"
