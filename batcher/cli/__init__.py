"""The command line: it turns words into calls, and errors into a sentence and an exit code.

    cmd_init.py        init
    cmd_run.py         run, demo
    cmd_plan.py        plan, validate
    job_folder.py      which output folder JOB means
    confirm.py         the question before a run that costs more than a little
    cmd_status.py      status
    cmd_jobs.py        jobs
    cmd_models.py      models
    model_json.py      models as JSON
    cmd_retry.py       retry
    cmd_verify.py      verify
    cmd_review.py      reject, keep, review
    cmd_audit.py       audit
    cmd_ack.py         ack
    cmd_control.py     pause, resume, set
    cmd_report.py      report, watch
    cmd_export.py      export
    cmd_merge.py       merge
    cmd_sandbox.py     sandbox
    cmd_schema.py      schema
    examples.py        the example with which each command's help begins
    shared_options.py  options that several commands have
    echo.py            lines for people, objects for programs
    text_tables.py     plan, status, jobs and models as text for people
    text_layout.py     titles, labelled facts and columns

Rule: one door for dying. Nothing below calls exit; each command imports what it needs when it is called.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from batcher import __version__
from batcher.cli.echo import echo, echo_sentences, echo_traceback, echo_usage, guard_streams
from batcher.cli.examples import with_example
from batcher.errors import BatcherError, DiskError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""How a stream refuses what is printed. Errors of files have their names, and became ours at their seams."""

COMMANDS = {
    "init": "cmd_init",
    "run": "cmd_run",
    "plan": "cmd_plan",
    "validate": "cmd_plan",
    "demo": "cmd_run",
    "status": "cmd_status",
    "jobs": "cmd_jobs",
    "retry": "cmd_retry",
    "ack": "cmd_ack",
    "pause": "cmd_control",
    "resume": "cmd_control",
    "set": "cmd_control",
    "verify": "cmd_verify",
    "reject": "cmd_review",
    "keep": "cmd_review",
    "review": "cmd_review",
    "report": "cmd_report",
    "watch": "cmd_report",
    "export": "cmd_export",
    "merge": "cmd_merge",
    "audit": "cmd_audit",
    "models": "cmd_models",
    "schema": "cmd_schema",
    "sandbox": "cmd_sandbox",
}


class Commands(click.Group):
    """Commands are imported when they are asked for; `--help` needs their first lines only."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        module = COMMANDS.get(name)
        if module is None:
            return None
        found: Any = getattr(import_module(f"batcher.cli.{module}"), f"{name}_command")
        assert isinstance(found, click.Command)
        return with_example(name, found)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a wrong name is told with the nearest right one."""
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(arguments[0], COMMANDS, 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", context) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="batcher")
def root() -> None:
    """Runs large batches of pictures through hosted image models.

    A YAML manifest expands into one task per image; each is paid for once, fetched before its result
    expires, and the same command goes on where the last one ended.
    """


def main() -> None:
    """The one door for dying: every error ends here, as a sentence and an exit code."""
    _stand_in()
    guard_streams()
    code = ended(sys.argv[1:])
    _let_go()
    sys.exit(code)


def _stand_in() -> None:
    """Opens the null device for each standard stream that whoever started us has closed (`<&-`), so that no
    file of ours gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _let_go() -> None:
    """Where whoever read our output has gone (`| head`), or its place is full, what is left to be said goes
    to the null device: as the process ends it would change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def ended(arguments: list[str]) -> int:
    """Runs the command line and gives its exit code."""
    try:
        code = root.main(arguments, prog_name="batcher", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        with suppress(OSError):
            echo_usage(error)
        return error.exit_code
    except BatcherError as error:
        return _told(error)
    except KeyboardInterrupt:
        return 130
    except (BrokenPipeError, SystemExit):
        # Not an error. Click and rich leave by SystemExit then, and for nothing else here.
        return 0
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            name = str(error.filename)
            length = f"a name in it is too long, or it is as a whole ({len(name):,} characters)"
            return _told(UsageError(f"{name[:100]}... cannot be a file: {length}"))
        if error.filename is not None or error.errno not in FULL:
            return _internal()
        return _told(DiskError(f"what is to be printed cannot be written: {error.strerror}"))
    except Exception:
        return _internal()


def _told(error: BatcherError) -> int:
    with suppress(OSError):
        first, *others = error.lines
        echo_sentences([f"batcher: {first}", *others], err=True)
    return error.exit_code


def _internal() -> int:
    with suppress(OSError):
        echo_traceback()
        echo("batcher: an internal error; the ledger is whole, the same command goes on", err=True)
    return 1
