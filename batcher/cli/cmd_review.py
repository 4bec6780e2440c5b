"""reject, keep, review: a person's word on delivered pictures."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json, echo_sentences
from batcher.cli.shared_options import JOB, JSON, OUTPUT, SANDBOX, SHARD_OF_JOB, option

if TYPE_CHECKING:
    from batcher.results.review import Decisions, Progress, ReviewSession
    from batcher.shard import Shard

NAMES = click.argument("names", nargs=-1, metavar="[NAME|GLOB]...")
FROM = option(
    "--from",
    "listed",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Names from a file, one a line, or JSON Lines as in metadata.jsonl.",
)
SHOWN = 5
"""Tasks that cannot be moved, of which so many are named for people."""


@click.command("reject", short_help="Set delivered pictures aside, with a reason.")
@JOB
@NAMES
@FROM
@option("--reason", metavar="TEXT", help="Why; goes into rejected.jsonl and the report.")
@option("--redo", is_flag=True, help="Have another made in place of each, with other draws: it is paid for.")
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def reject_command(
    job: Path,
    names: tuple[str, ...],
    listed: Path | None,
    reason: str | None,
    redo: bool,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Set delivered pictures aside: from images/ to rejected/, out of every export.

    NAME is that of a task or a file, or its key; a GLOB as in 'rome-*' means all that fit. Works beside
    a run; `batcher keep` takes it back, and nothing is deleted. With --redo, the run that goes on, or the
    next one, makes another in its place, within max_cost. `batcher review` does all of it by looking.
    """
    from batcher.cli.job_folder import resolve_output
    from batcher.progress.summary import several
    from batcher.results import review

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    entries = _entries(names, listed)
    now = time.time  # noqa: TID251  # here the wall clock enters
    text = " ".join((reason or "").split()) or "no reason given"
    decided = review.reject(where, entries, reason=text, now=now, redo=redo)
    if as_json:
        _as_json("rejected", decided, **({"redo": decided.redo} if redo else {}))
        return 0
    _tell(decided, "set aside", str(where / "rejected"), "only what is done can be rejected")
    if decided.redo:
        whose = "the run that goes on makes" if decided.running else "the next `batcher run` makes"
        replacements = several(decided.redo, "replacement", "replacements")
        echo(f"{whose} {replacements}, which will be paid for{_about(where, decided.redo_images)}")
    return 0


@click.command("keep", short_help="Take rejected pictures back.")
@JOB
@NAMES
@FROM
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@JSON
def keep_command(
    job: Path,
    names: tuple[str, ...],
    listed: Path | None,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Take rejected pictures back: from rejected/ to images/; works beside a run.

    What `batcher reject`, a check of the job or a person in `batcher review` rejected.
    """
    from batcher.cli.job_folder import resolve_output
    from batcher.progress.summary import several
    from batcher.results import review

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    now = time.time  # noqa: TID251  # here the wall clock enters
    decided = review.keep(where, _entries(names, listed), now=now)
    if as_json:
        _as_json("kept", decided)
        return 0
    _tell(decided, "taken back", str(where / "images"), "only what is rejected can be taken back")
    if decided.with_another:
        theirs = "it stands" if decided.with_another == 1 else "they stand"
        echo(
            f"for {several(decided.with_another, 'task', 'tasks')} of these a replacement is delivered, or "
            f"on its way: {theirs} beside it, under a name of its own"
        )
    return 0


@click.command("review", short_help="Look through a job's pictures, and keep or reject by keys.")
@JOB
@option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="TEXT",
    help="A reason on the keys 1 to 9; repeatable. [those given before, and usual ones]",
)
@option("--port", default=0, type=click.IntRange(0, 65535), metavar="N", help="0 picks one. [0]")
@SHARD_OF_JOB
@OUTPUT
@SANDBOX
@option("--open", "opened", is_flag=True, help="Open the page in a browser.")
def review_command(
    job: Path,
    reasons: tuple[str, ...],
    port: int,
    shard: Shard | None,
    output: Path | None,
    sandbox: bool,
    opened: bool,
) -> int:
    """Look through a job's pictures in a browser. The first line on stdout is the page's address.

    K keeps, R rejects, Shift-R rejects and has another made in its place, 1 to 9 reject for the reason of
    that number, Z takes the last decision back; left and right go through.

    What was looked at is kept, so that a review goes on where it ended. Works beside a run; Ctrl-C ends it.
    `batcher reject` and `batcher keep` do the same by name.
    """
    import asyncio

    from batcher.cli.job_folder import resolve_output
    from batcher.results.review import ReviewSession

    where = resolve_output(job, output=output, sandbox=sandbox, shard=shard)
    session = ReviewSession(where, now=time.time, reasons=reasons)  # noqa: TID251  # here the wall clock enters

    def announce(address: str) -> None:
        echo(address)
        if opened:
            click.launch(address)

    written = asyncio.run(_served(session, port, announce))
    with suppress(OSError):  # a terminal that is gone hears nothing more
        _summary(session.progress(), where, reasons, written)
    return 0


async def _served(session: ReviewSession, port: int, announce: Callable[[str], None]) -> bool:
    """The review until Ctrl-C, SIGTERM or SIGHUP; then its records are written: False where a run does that.

    A second Ctrl-C or SIGTERM leaves at once. A terminal that goes may say so twice: SIGHUP is never that.
    """
    import asyncio

    import anyio

    from batcher.results.dashboard import serve

    loop = asyncio.get_running_loop()
    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it goes on without its terminal
        heard.append(signal.SIGHUP)
    with anyio.CancelScope() as scope:
        for number in heard:
            loop.add_signal_handler(number, scope.cancel)
        await serve(session.output, port=port, announce=announce, review=session)
    for number in heard[:2]:
        loop.remove_signal_handler(number)
    await loop.shutdown_default_executor()  # what a thread still writes holds the job's lock
    return session.write_records(page=True)


def _summary(progress: Progress, where: Path, reasons: Sequence[str], written: bool) -> None:
    """How far it is, and what comes next, with commands that name the output folder: it is the same job with
    whatever options it was found."""
    from shlex import join

    from batcher.storage import layout

    folder = layout.typed(where)
    offered = join([word for reason in reasons for word in ("--reason", reason)])
    looked, rejected, left = progress.looked_at, progress.rejected, progress.tasks - progress.looked_at
    echo(f"{looked:,} of {progress.tasks:,} looked at, {rejected:,} rejected")
    if not written:
        echo("the run that is going on writes the records anew at its end")
    if left:
        echo(f"{left:,} left; go on: {' '.join(filter(None, ['batcher review', folder, offered]))}")
    echo(f"next: batcher export {folder} --to imagefolder -o DIR")


def _entries(names: tuple[str, ...], listed: Path | None) -> list[str]:
    """Raises UsageError where nothing is named."""
    from batcher import errors
    from batcher.results import picture_list

    entries = [*names, *(picture_list.read(listed, "--from") if listed is not None else ())]
    if not entries:
        raise errors.UsageError("name at least one picture, or a file of names with --from")
    return entries


def _as_json(what: str, decided: Decisions, **more: int) -> None:
    skipped = [{"name": task.name, "state": task.state} for task in decided.skipped]
    echo_json(
        {
            "job": decided.job,
            what: decided.tasks,
            **more,
            "skipped": skipped,
            "lost": list(decided.lost),
            "running": decided.running,
        }
    )


def _about(where: Path, images: int) -> str:
    """What so many pictures are likely to cost, as the end of a sentence; empty: no price is known."""
    from batcher.progress.summary import credits
    from batcher.results import report

    each = report.of_folder(where, now=0.0).per_image
    return f": about {credits(round(images * each, 6))} credits" if each else ""


ALREADY = {
    "set aside, rejected": "rejected already",
    "taken back, done": "not rejected: it is among the delivered ones",
}
"""What is said of a picture that stands as it was asked for."""


def _tell(decided: Decisions, done: str, folder: str, only: str) -> None:
    from batcher.progress.summary import several

    if decided.tasks:
        echo(f"{several(decided.tasks, 'task', 'tasks')} {done}; the pictures are in {folder}")
    job = shlex.quote(str(Path(folder).parent))
    missing = f"was not there to be moved; `batcher verify {job}` tells what else is missing"
    echo_sentences([f"{path} {missing}" for path in decided.lost])
    for task in decided.told[:SHOWN]:
        state = ALREADY.get(f"{done}, {task.state}", f"{task.state}: {only}")
        echo_sentences([f"{task.name} is {state}"])
    if len(decided.told) > SHOWN:
        echo(f"and {len(decided.told) - SHOWN:,} more")
    if not decided.tasks and not decided.redo:
        echo("nothing was changed")
    elif decided.running:
        echo("the run that is going on writes the records anew at its end")
