"""The end of a run in words: what became of it, what it cost, and what to do next. Pure.

Rule: what to do is told with the very command that does it; one fact is one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from batcher import errors
from batcher.progress import Finished, Snapshot
from batcher.progress.summary import credits, duration, images, pace, reasons, settled, several, stages
from batcher.task import State

REASONS = 10
"""So many reasons of failure are told at the end; errors.jsonl has every task."""
REASON_LENGTH = 200
LABEL = 8
"""Columns of the widest label; one more stands between it and its text."""


RETRY_FLAG = "--retry-failed"
JOB = "JOB"
"""For whoever does not tell how the job is called on a command line."""
REPAIR = f"batcher verify {JOB} --repair --repay"
"""The same for what stands before it."""


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
    """One line of the closing summary; without a label it belongs to the one before. Where it has `facts`,
    its text is these with commas between: a terminal sets them apart, and breaks between them alone."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN
    facts: tuple[str, ...] = ()


def closing(
    finished: Finished, *, command: str, repair: str = REPAIR, job: str = JOB, output: str = ""
) -> tuple[Line, ...]:
    """The summary of a run. `command` is what the user typed, `repair` what pays again for files that are
    gone, `job` the job as other commands take it (quoted for a shell), `output` the folder (or URL) of the
    results."""
    snapshot = finished.snapshot
    delivered = snapshot.images > finished.rejected_images
    return (
        _headline(finished),
        *_causes(finished),
        *_tasks(finished),
        *_not_needed(finished.not_needed),
        *_failures(finished, output, job),
        *_rejections(snapshot, output),
        *_by_reason("warned", finished.warnings, Tone.CAUTION),
        *_money(finished),
        *([_list("pace", pace(_as_a_whole(snapshot)))] if snapshot.delivered else ()),
        *_slowest(finished.slowest),
        *([Line("images", _below(output, "images"), Tone.VERBATIM)] if output and delivered else ()),
        *(
            [Line("report", _below(output, "report.html"), Tone.VERBATIM)]
            if output and snapshot.total
            else ()
        ),
        *_next(finished, command, repair, job),
    )


def cancelled(counts: Mapping[State, int], *, is_rehearsal: bool = False) -> str:
    """What a run leaves that was cancelled, and how to go on; `counts` are those of its ledger."""
    flying = sum(counts.get(state, 0) for state in (State.SUBMITTING, State.DOUBTFUL, State.SUBMITTED))
    waiting = counts.get(State.READY, 0)
    said = "interrupted; the ledger is whole, and running the job again goes on"
    if flying:
        said += f". {_flying(flying, is_rehearsal=is_rehearsal)}"
    elif waiting:
        said += f". The files of {several(waiting, 'paid result', 'paid results')} wait for 7 days"
    return said


def unwritten(counts: Mapping[State, int], *, is_rehearsal: bool = False) -> str:
    """What a run leaves whose ledger takes no more writes, and how to go on; `counts` as for `cancelled`."""
    flying = sum(counts.get(state, 0) for state in (State.SUBMITTING, State.DOUBTFUL, State.SUBMITTED))
    said = "see to the disk (full, or read-only?); then the same command goes on, and nothing is paid twice"
    return f"{said}. {_flying(flying, is_rehearsal=is_rehearsal)}" if flying else said


def _flying(number: int, *, is_rehearsal: bool) -> str:
    """What becomes of requests that a run leaves in flight."""
    requests = several(number, "request is", "requests are")
    if is_rehearsal:
        return f"{requests} in flight and will be made again: the sandbox ends with its run"
    return f"{requests} in flight and will be billed: go on within the hour, before the records end"


def _as_a_whole(snapshot: Snapshot) -> Snapshot:
    """The pace of the whole run, in place of its last minutes."""
    whole = replace(snapshot, in_flight_limit=0)
    return replace(whole, images_per_minute=60 * snapshot.delivered / max(snapshot.elapsed, 1.0))


def _headline(finished: Finished) -> Line:
    snapshot, code = finished.snapshot, finished.exit_code
    at = stages(snapshot)
    open_tasks = snapshot.total - settled(snapshot) - finished.not_needed
    rejected = at.get("rejected", 0)
    of_all = f"{at['done']:,} of {several(snapshot.total, 'task', 'tasks')} done"
    if code == 0 and not snapshot.total:
        said, tone = "nothing to do, the plan has no tasks", Tone.GOOD
    elif code == 0 and finished.acked and open_tasks <= at.get("doubtful", 0):
        nothing = "" if snapshot.delivered else "nothing new, "
        said, tone = f"{nothing}{of_all}, the rest is acknowledged", Tone.GOOD
    elif code == 0 and not open_tasks and finished.not_needed:
        begun = "all that `accept` asks for" if snapshot.delivered else "nothing new"
        said, tone = f"{begun}, {of_all}", Tone.GOOD
    elif code == 0 and not open_tasks and rejected:
        begun = "all done" if snapshot.delivered else "nothing new"
        said, tone = f"{begun}, {of_all} and {rejected:,} rejected", Tone.GOOD
    elif code == 0 and not open_tasks and not snapshot.delivered:
        said, tone = f"nothing new, {several(snapshot.total, 'task is', 'tasks are')} done", Tone.GOOD
    elif code == 0 and not open_tasks:
        said, tone = f"all done, {several(snapshot.total, 'task', 'tasks')}", Tone.GOOD
    elif code == 0 and open_tasks > at.get("doubtful", 0):
        said, tone = f"{of_all}, as many as were asked for this time", Tone.GOOD
    else:
        said = _ending(finished, open_tasks)
        tone = Tone.CAUTION if code in _MILD else Tone.BAD
    return Line("", f"{snapshot.job}: {said}, after {duration(snapshot.elapsed)}", tone)


def _ending(finished: Finished, open_tasks: int) -> str:
    """Why a run ended that did not do everything, and how many tasks are done."""
    snapshot, code = finished.snapshot, finished.exit_code
    of_all = f"{stages(snapshot)['done']:,} of {several(snapshot.total, 'task', 'tasks')} done"
    held = snapshot.counts.get(State.DOUBTFUL, 0)
    ending = _ENDINGS.get(code, "stopped")
    if code == 3 and not snapshot.counts.get(State.FAILED, 0):
        ending = f"finished, some {'requests are held' if held else 'rows are left out'}"
        if not held and not finished.left_out and not open_tasks:
            ending = "finished, fewer pictures are accepted than were asked for"
    elif code == 5 and finished.results_gone == open_tasks and not finished.causes:
        ending = "finished, some paid files are gone"
    elif code == 5 and finished.remedies:
        ending = "stopped, there is something to do first"
    if code == 3 and open_tasks > held:
        some = ending.removeprefix("finished, ").replace("finished with failures", "some failed")
        return f"{of_all}, as many as were asked for this time; {some}"
    return f"{ending}, {of_all}"


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


def _tasks(finished: Finished) -> Iterator[Line]:
    """The states by their own names; they add up to the total."""
    snapshot, reused = finished.snapshot, finished.reused
    if not snapshot.total:
        return
    ends = (State.DONE, State.REJECTED, State.FAILED)
    order = (*ends, *(state for state in State if state not in ends))
    parts = [f"{snapshot.counts[state]:,} {state}" for state in order if snapshot.counts.get(state)]
    others = f", {reused:,} of them taken over from other folders" if reused else ""
    yield Line("tasks", f"{', '.join(parts)}; {images(snapshot.images, finished.rejected_images)}{others}")


def _not_needed(spare: int) -> Iterator[Line]:
    if spare:
        yield Line("", f"{several(spare, 'candidate is', 'candidates are')} not needed, and not paid for")


def _failures(finished: Finished, output: str, job: str) -> Iterator[Line]:
    failures = finished.snapshot.failures
    yield from _by_reason("failed", failures, Tone.BAD)
    if finished.left_out:
        rows = several(
            finished.left_out, "row that cannot be used as it is", "rows that cannot be used as they are"
        )
        yield Line("left out", rows, Tone.CAUTION)
    if (failures or finished.left_out) and output:
        yield Line("details", _below(output, "errors.jsonl"), Tone.VERBATIM)
    yield from _news(finished, job)


def news_words(news: Mapping[str, int]) -> str:
    """What is news, by kind: `1 failed, 2 left out`; empty where nothing is."""
    return ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in news.items() if number)


def _news(finished: Finished, job: str) -> Iterator[Line]:
    """What came up in this start, beside what an earlier one told of already."""
    if not (finished.known_failures or finished.acked):
        return
    new = news_words(finished.news)
    text = f"in this run: {new}" if new else "nothing of this came up in this run"
    if known := finished.known_failures:
        text += f"; {known:,} {'was' if known == 1 else 'were'} told of before"
        text += f", and `batcher ack {job}` takes what you have seen out of the exit code"
    if finished.acked:
        text += f"; {finished.acked:,} acknowledged"
    yield Line("news", text, Tone.CAUTION if new else Tone.PLAIN)


def _rejections(snapshot: Snapshot, output: str) -> Iterator[Line]:
    yield from _by_reason("rejected", snapshot.rejections, Tone.CAUTION)
    if snapshot.rejections and output:
        yield Line("", _below(output, "rejected.jsonl"), Tone.VERBATIM)


def _by_reason(label: str, numbers: Mapping[str, int], tone: Tone) -> Iterator[Line]:
    lines = list(reasons(numbers, REASONS))
    width = max((len(f"{number:,}") for number, _ in lines), default=0)
    for place, (number, reason) in enumerate(lines):
        short = reason if len(reason) <= REASON_LENGTH else f"{reason[: REASON_LENGTH - 3]}..."
        yield Line("" if place else label, f"{number:>{width},} x {short}", tone)


def _list(label: str, facts: Iterable[str]) -> Line:
    told = tuple(facts)
    return Line(label, ", ".join(told), facts=told)


def _slowest(slowest: Mapping[str, float]) -> Iterator[Line]:
    """The tasks that took longest at the provider."""
    if slowest:
        yield _list("slowest", (f"{name} ({duration(took)})" for name, took in slowest.items()))


UNSURE = (
    ("doubtful", "perhaps paid besides: requests whose answer was lost", Tone.CAUTION),
    ("lost", "lost: paid, but the record was gone before it could be fetched", Tone.BAD),
)
"""What may be gone, as it is told behind its amount."""


def _money(finished: Finished) -> Iterator[Line]:
    snapshot, cost = finished.snapshot, finished.snapshot.cost
    spent = cost.get("spent", 0.0)
    paid = snapshot.images - finished.reused
    each = f", {credits(spent / paid)} an image" if spent and paid > 1 else ""
    if finished.is_rehearsal:
        yield Line("money", f"{credits(spent)} credits in the sandbox{each}; nothing was paid for")
    else:
        yield Line("money", f"{credits(spent)} credits spent{each}")
    for kind, words, tone in UNSURE:
        value, images = cost.get(kind, 0.0), snapshot.unsure.get(kind, 0)
        if value:
            yield Line("", f"{credits(value)} credits {words}", tone)
        elif images:
            yield Line("", f"{several(images, 'image', 'images')}, cost not known, {words}", tone)
    if reserved := cost.get("reserved"):
        yield Line("", f"{credits(reserved)} credits reserved for what is still in flight", Tone.CAUTION)
    if finished.balance is not None and not finished.is_rehearsal:
        yield Line("", f"{credits(finished.balance['closing'])} credits left in the account")


HELD_AFTER = (0, 3)
"""Exit codes of a run that came to its end: what is doubtful then is held, not left."""


def _next(finished: Finished, command: str, repair: str, job: str) -> Iterator[Line]:
    """What to do, then the very command that does it."""
    counts, code = finished.snapshot.counts, finished.exit_code
    failed = counts.get(State.FAILED, 0)
    held = counts.get(State.DOUBTFUL, 0) if code in HELD_AFTER else 0
    acked = code == 0 and finished.acked
    unsettled = finished.snapshot.total - settled(finished.snapshot)
    to_do = unsettled - held - finished.results_gone - finished.not_needed
    again = " ".join(word for word in command.split(" ") if word != RETRY_FLAG)
    part = _PART.search(again) if code in HELD_AFTER else None
    unlimited = _PART.sub("", again) if part else again
    advice: list[tuple[str, str]] = []
    if to_do:
        advice.append((_going_on(finished, to_do, part=part[1] if part else ""), unlimited))
    if held and not acked:
        advice.append((_holding(held, job), again))
    if finished.results_gone:
        advice.append((_paying_again(finished.results_gone), repair))
    if failed and not acked:
        these = "the failed task" if failed == 1 else f"the {failed:,} failed tasks"
        advice.append((f"once the cause is mended, try {these} again:", f"{again} {RETRY_FLAG}"))
    if not advice and finished.news.get("left_out"):
        advice.append(("once what is left out can be used, the same command takes it in:", again))
    for place, (what, typed) in enumerate(advice):
        yield Line("" if place else "next", what)
        yield Line("", typed, Tone.VERBATIM)


_PART = re.compile(r" (--limit|--sample)[ =][0-9]+")
"""What makes a command stop early; the next one is to go on."""


def _going_on(finished: Finished, to_do: int, *, part: str) -> str:
    remedies = finished.remedies
    counts = finished.snapshot.counts
    if not remedies and finished.exit_code == 4:
        remedies = (f"{errors.BudgetSpent.remedy} or {errors.OutOfCredits.remedy}",)
    first = f"{', '.join(remedies)}; then " if remedies else ""
    command = f"the same command without {part}" if part else "the same command"
    them = "it" if to_do == 1 else "them"
    text = f"{several(to_do, 'task is', 'tasks are')} left: {first}{command} goes on with {them}, and "
    doubtful = counts.get(State.DOUBTFUL, 0) if finished.exit_code not in HELD_AFTER else 0
    if doubtful:
        were = several(doubtful, "request that was", "requests that were")
        text += f"`retry: {{doubtful: ...}}` says what becomes of {were} perhaps paid already"
    else:
        text += "nothing is paid twice"
    if flying := counts.get(State.SUBMITTED, 0):
        text += f". {_flying(flying, is_rehearsal=finished.is_rehearsal)}"
    elif ready := counts.get(State.READY, 0) - finished.results_gone:
        text += f". The files of {several(ready, 'paid result', 'paid results')} wait for 7 days"
    return f"{text}:"


def _paying_again(gone: int) -> str:
    files = "the file of 1 paid result is" if gone == 1 else f"the files of {gone:,} paid results are"
    return f"{files} gone, and no run brings them back; this submits again what is lost, and costs again:"


def _holding(held: int, job: str) -> str:
    lost = "the answer to 1 request was" if held == 1 else f"the answers to {held:,} requests were"
    return (
        f"{lost} lost: perhaps paid, and not sent again unless you say so. `batcher audit {job}` shows what "
        f"your account was charged for; `batcher retry {job} --doubtful`, and then this, sends what never "
        "came again:"
    )


def _below(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"
