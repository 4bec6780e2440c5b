"""Every way it can go wrong: one class for each that somebody must treat differently.

    BatcherError
    ├── UsageError                    2   the command line or the manifest
    │   ├── ManifestError             2   every problem of a manifest at once
    │   ├── OtherOrigin               2   the ledger belongs to another API
    │   ├── OtherDestination          2   the job's pictures lie elsewhere
    │   └── PaidElsewhere             2   another output folder has what the plan would pay for
    ├── LedgerError                   1   the ledger is corrupt, foreign or too new
    │   └── StaleTask                     somebody else moved the task
    ├── Locked                       11   another run holds this job
    ├── DiskError                     5   full, read-only: stop cleanly, run again later
    │   ├── LockLost                  5   the job's lock or its ledger was taken away
    │   ├── SourceGone                5   the folder, mount or store of the input pictures is gone
    │   ├── TooManyOpenFiles          5   no file descriptor is left
    │   └── AccountFileError          5   the account's file cannot be used: costs a run the sharing alone
    │       └── AccountFileBusy       5   not at this moment
    ├── MissingKey                    5   no API key to be found
    ├── ModelListUnavailable          5   the provider's list of models cannot be had
    ├── Incomplete                    3   shares that are not all there, or not finished
    └── TaskError                         what happened to one task
        ├── ApiError                      what an answer of the API, or its absence, means
        │   ├── Throttled        retry    429: everybody waits, no attempt is spent
        │   ├── Unreachable      retry    no connection, or 408, 421, 425: nothing was accepted
        │   ├── Gateway          retry    502, 503, 504, 52x, 53x: perhaps paid; `retry.statuses` decides
        │   ├── ServerError               500: often a parameter the model choked on; perhaps paid
        │   ├── AnswerLost       retry    cut, timeout: perhaps accepted, perhaps not
        │   ├── NotUnderstood             a whole answer to a submit that proves neither yes nor no
        │   ├── Rejected                  400, 406 by its text, 413, 422 on submit, ...
        │   ├── InferenceFailed           FAILED: it ran and failed; `retry.failed` decides
        │   │   └── ContentBlocked        FAILED by a content rule
        │   ├── RecordGone       retry    404 on status or result
        │   │   └── RecordNeverFound retry    at every question of its record's life
        │   └── FatalForRun           5   about the account or the model: the run stops
        │       ├── BadKey            5   401
        │       ├── Forbidden         5   403
        │       ├── WrongEndpoint     5   the way to the API is wrong: a redirect, a certificate, a host
        │       ├── ModelGone         5   404 on submit, 410
        │       ├── OutOfCredits      4   402, or 406 by its text: credits or a spend limit
        │       ├── StorageFull       5   the storage takes no upload any more: a quota
        │       ├── BudgetSpent       4   max_cost is used up
        │       │   └── PeriodSpent   4   the account's budget of a day or a month is
        │       ├── ApiDown           5   no submit came through for ten minutes
        │       ├── NoStatement       5   the provider's request history cannot be had
        │       ├── AnswersUnread     5   answers to submits are not understood: each may be a paid job
        │       └── NoFiles           5   results are paid for, and none of their files can be had
        ├── WorkersLost      retry    5   nobody of a cluster answers; work on bytes, done again
        └── FileError                     bytes that are not the picture they should be
            ├── NotAnImage                a local input that no decoder reads
            ├── SourceChanged             a local input is not the one any more that was planned
            ├── UploadRejected            the storage refused the file itself
            ├── StoreError       retry    an object store refuses a picture or does not answer
            ├── CheckFailed               the program of `checks.command` failed itself
            ├── DeadLink         retry    the output URL is gone or forbidden
            └── BadDownload      retry    truncated, empty, a page instead of a picture, too large
                └── Undecodable  retry    bytes that came whole, and are no picture

The numbers are exit codes; `retry`: another try may come through.

Rule: whoever raises decides what happened, once, by choosing the class (`api/wire/refusals.py` for answers
that say no). What follows from it is decided by class where it is caught: `api/retry.py` whether the task is
submitted again, `engine/lifecycle` what the ledger records, `engine/stopping.py` why the run ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class BatcherError(Exception):
    """Base of all our errors.

    `exit_code` is what the program ends with when one stops it, `remedy` what to do about it before the same
    command is tried again, as half a sentence; empty where nothing is known. `lines`: what it says; a name or
    text that came from outside ends none of them.
    """

    exit_code: ClassVar[int] = 1
    remedy: str = ""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))

    def add_line(self, line: str) -> None:
        """Says that too, at the end."""
        self.lines = (*self.lines, line)
        self.args = ("\n".join(self.lines),)


class UsageError(BatcherError):
    """The command line or a file it names cannot be used as it is."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: where (line and column count from 1; 0 = unknown), what, what to do.

    `key` is the dotted path of the manifest key, `excerpt` the source line for a caret;
    `skipped_by_manifest`: the manifest says that a row may lack this, and is passed over then.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    excerpt: str = ""
    skipped_by_manifest: bool = False

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @property
    def lines(self) -> Sequence[str]:
        """The sentence, and where it is known the source line with a caret below the place."""
        place, message = self.file, self.message
        if place and not self.line and f"{place}: " in message:
            # A picture is the place where its own trouble stands: its path is said once.
            place, message = "", message[message.index(f"{place}: ") :]
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        parts = [part for part in (place, self.key) if part]
        text = ": ".join([*parts, message])
        if self.excerpt and self.column:
            return (text, f"    {self.excerpt}", f"    {' ' * (self.column - 1)}^")
        return (text,)


class ManifestError(UsageError):
    """Everything that is wrong with a manifest, told at once; `warnings` came before it, and may say why."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        told = (line for problem in self.problems for line in problem.lines)
        super().__init__(*told, *(f"warning: {warning}" for warning in warnings))


class OtherOrigin(UsageError):
    """The output folder's ledger was written against another API."""


class OtherDestination(UsageError):
    """The job's pictures lie elsewhere than where this run would put them."""


class PaidElsewhere(UsageError):
    """Half of a plan or more is paid for in another output folder, or here, on a disk that is not mounted."""


class LedgerError(BatcherError):
    """The ledger cannot be trusted or read; it is left as it is."""


class StaleTask(LedgerError):
    """A task is no longer in the state in which it was left: somebody else moved it."""


class Locked(BatcherError):
    """Another run holds this job."""

    exit_code = 11


class DiskError(BatcherError):
    """The disk refuses: full, read-only, not permitted. What was recorded is whole."""

    exit_code = 5


class LockLost(DiskError):
    """A file that this run had locked, its job's lock or its ledger, is not at its place any more."""

    remedy = "see whether another run works on the same job, and put back what was taken away"


class SourceGone(DiskError):
    """The folder, mount or store that the input pictures lie in cannot be read any more."""

    remedy = "bring the folder, mount or store back"


class TooManyOpenFiles(DiskError):
    """The system gives this process no further file descriptor."""

    remedy = "allow more open files (ulimit -n), or lower limits.in_flight and limits.downloads"


class AccountFileError(DiskError):
    """The file that all runs of an account share cannot be used. A run goes on by itself."""


class AccountFileBusy(AccountFileError):
    """Somebody else writes to it at this moment."""


class MissingKey(BatcherError):
    """No API key was found."""

    exit_code = 5


class ModelListUnavailable(BatcherError):
    """The provider's list of models could not be had."""

    exit_code = 5


class Incomplete(BatcherError):
    """Shares cannot come together: one is missing or not finished, or a picture of one is."""

    exit_code = 3


class TaskError(BatcherError):
    """Something that happened to one task. `label` is the class word of `failures` keys; `retryable`: another
    try may come through where this one did not."""

    retryable: ClassVar[bool] = False
    label: ClassVar[str] = "ERROR"

    def __init__(self, message: str) -> None:
        # Foreign texts and file names may hold half surrogates, which no database and no terminal takes.
        self.message = " ".join(message.split())[:500].encode("utf-8", "replace").decode()
        super().__init__(self.message)

    @property
    def reason(self) -> str:
        """`class: the provider's text`, the key under which failures are counted."""
        return f"{self.label}: {self.message}"


class ApiError(TaskError):
    """What an answer of the API means; `status` is its HTTP status, 0 when there was none."""

    label = "API"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Throttled(ApiError):
    """429. `reset_at` is the wall time (s, server's clock corrected to ours) at which calls pass again;
    None when the answer carried no stamp, which teaches nothing about the limit."""

    retryable = True
    label = "THROTTLED"

    def __init__(self, message: str = "rate limited", *, reset_at: float | None = None) -> None:
        super().__init__(message, status=429)
        self.reset_at = reset_at


class Unreachable(ApiError):
    """No connection, or an answer that says that the request was not taken up: nothing was accepted."""

    retryable = True
    label = "UNREACHABLE"


class Gateway(ApiError):
    """502, 503, 504, or a proxy's word from 520 on, whose `status` is then 504. On a v2 submit: submit again,
    and keep the attempt as perhaps paid."""

    retryable = True
    label = "GATEWAY"


class ServerError(ApiError):
    """500 and its like: often a parameter that the model choked on, so another try is vain. No proof that
    nothing was accepted: the attempt is kept as perhaps paid."""

    label = "SERVER"


class AnswerLost(ApiError):
    """The request may have arrived: a cut line, a timeout. `status` is that of an answer that began, `answer`
    what came of its body, `request_id` the job that its headers name."""

    retryable = True
    label = "LOST"

    def __init__(
        self, message: str, *, status: int = 0, answer: bytes = b"", request_id: str | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.answer = answer
        self.request_id = request_id


class NotUnderstood(ApiError):
    """A whole answer to a submit that says neither yes nor no: perhaps a paid job, and so would be the next.
    `answer`: its body, as far as it is kept; `request_id`: the job that its headers name."""

    label = "NOT_UNDERSTOOD"

    def __init__(self, message: str, *, status: int = 0, answer: bytes = b"") -> None:
        super().__init__(message, status=status)
        self.answer = answer
        self.request_id: str | None = None


class Rejected(ApiError):
    """The API refuses this request as it stands; another try would be refused as well."""

    label = "REJECTED"


class InferenceFailed(ApiError):
    """FAILED, served as HTTP 422: the inference ran and failed. `request_id`: the job that the answer tells
    of, None where it names none."""

    label = "FAILED"

    def __init__(self, message: str, *, status: int = 0, request_id: str | None = None) -> None:
        super().__init__(message, status=status)
        self.request_id = request_id


class ContentBlocked(InferenceFailed):
    """FAILED because a content rule blocked the input or the output."""


class RecordGone(ApiError):
    """404 on status or result: unknown, not yet known, or expired; only the deadline tells which."""

    retryable = True
    label = "EXPIRED"


class RecordNeverFound(RecordGone):
    """404 from the first question to the end of its record's life: the id may be none."""

    label = "NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("no record was ever found by the id with which its submit was answered")


class FatalForRun(ApiError):
    """About the account or the model, not the task: the other tasks stay planned."""

    exit_code = 5


class BadKey(FatalForRun):
    """401: the key is missing, malformed or unknown."""

    label = "KEY"
    remedy = "put a valid key into SEGMIND_API_KEY"


class Forbidden(FatalForRun):
    """403: the account may not do this."""

    label = "FORBIDDEN"
    remedy = "ask the provider what your account may do"


class WrongEndpoint(FatalForRun):
    """Another host answers, or is named, than the one that is trusted: the key does not go there."""

    label = "ADDRESS"
    remedy = "mend the way to the API (SEGMIND_BASE_URL or --base-url, a proxy, a certificate)"


class ModelGone(FatalForRun):
    """404 on submit or 410: there is no such model, or no longer."""

    label = "MODEL"
    remedy = "correct `model` in the manifest (`batcher models` lists the known ones)"


class OutOfCredits(FatalForRun):
    """402, or 406 about credits or a spend limit: top up, then the same command goes on."""

    exit_code = 4
    label = "CREDITS"
    remedy = "top up your credits or raise the spend limit"


class StorageFull(FatalForRun):
    """An upload is refused by words of storage or quota: it is about the account, and the next one meets it
    too."""

    label = "STORAGE"
    remedy = "free storage at the provider, or raise its plan; `uploads: inline` needs none"


class BudgetSpent(FatalForRun):
    """`max_cost` leaves no room for another request, and nothing that is outstanding could free any."""

    exit_code = 4
    label = "BUDGET"
    remedy = "raise max_cost"


class PeriodSpent(BudgetSpent):
    """`max_cost_per` leaves no room today, or this month; `remedy` says when there is again."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class ApiDown(FatalForRun):
    """No submit came through for ten minutes; the tasks stay planned."""

    label = "DOWN"
    remedy = "wait until the API is back"


class NoStatement(FatalForRun):
    """The provider's request history cannot be had, which an audit compares with."""

    label = "HISTORY"
    remedy = "see whether SEGMIND_HISTORY_URL, or the base URL, is a host that serves a request history"


class WorkersLost(TaskError):
    """Nobody of a cluster that works on bytes is heard of: nothing was sent to the API for it."""

    exit_code = 5
    remedy = "look whether the cluster is up"
    label = "WORKERS"
    retryable = True


class AnswersUnread(FatalForRun):
    """Submits are answered, and the answers are not understood: each may be a paid job."""

    label = "NOT_UNDERSTOOD"
    remedy = (
        "see what became of these requests in your account, and whether the API or the way to it "
        "(SEGMIND_BASE_URL, a proxy) has changed"
    )


class NoFiles(FatalForRun):
    """Paid results come, and the files of none can be had: another would be paid for as vainly."""

    label = "NO_FILES"
    remedy = (
        "see whether this machine reaches the file host (a firewall, a proxy, a name that does not resolve), "
        "or what the model gives in place of pictures"
    )


class FileError(TaskError):
    """Bytes that are not the picture they should be."""

    label = "FILE"


class NotAnImage(FileError):
    """A local input file that no decoder reads."""

    label = "NOT_AN_IMAGE"


class SourceChanged(FileError):
    """A local input file was changed since it was planned: it waits for the next run, which plans it anew."""

    label = "CHANGED"


class UploadRejected(FileError):
    """The storage refused this very file (too large, wrong type)."""

    label = "UPLOAD"


class StoreError(FileError):
    """An object store, of inputs or of results, refuses one picture or does not answer for it."""

    retryable = True
    label = "STORE"


class CheckFailed(FileError):
    """The program that judges pictures (`checks.command`) failed itself: the picture waits."""

    label = "CHECK"


class DeadLink(FileError):
    """The output URL answers 401, 403, 404 or 410: ask the result for a fresh one."""

    retryable = True
    label = "LINK"


class BadDownload(FileError):
    """Truncated, empty, a page instead of a picture, or over the size limit."""

    retryable = True
    label = "DOWNLOAD"


class Undecodable(BadDownload):
    """A file that came whole and is no picture, nor a page or nothing, which a host sends in place of one.
    `sha256` (hex) tells whether the next try brought the same bytes, `position` which of a result's pictures
    it is."""

    label = "UNDECODABLE"

    def __init__(self, message: str, sha256: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.sha256 = sha256
        self.position = position
