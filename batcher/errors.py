"""Every way it can go wrong. Each class carries its verdict and its exit code.

    BatcherError
    ├── UsageError                    2   the command line or the manifest
    │   ├── ManifestError             2   every problem of a manifest at once
    │   ├── OtherOrigin               2   the ledger belongs to another API
    │   └── OtherDestination          2   the job's pictures lie elsewhere
    ├── LedgerError                   1   the ledger is corrupt, foreign or too new
    │   └── Overtaken                     somebody else moved the task
    ├── Locked                       11   another run holds this job
    ├── DiskError                     5   full, read-only: stop cleanly, run again later
    ├── MissingKey                    5   no API key to be found
    ├── Incomplete                    3   shares that are not all there, or not finished
    ├── ApiError                          what an answer of the API, or its absence, means
    │   ├── Throttled        WAIT         429: everybody waits, no attempt is spent
    │   ├── Refused          AGAIN        no connection: nothing was accepted
    │   ├── Gateway          AGAIN        502/503/504: again, perhaps paid
    │   ├── ServerError      NEVER        500: often a parameter the model choked on
    │   ├── AnswerLost       DOUBT        cut, timeout, unreadable 2xx
    │   ├── Rejected         NEVER        400, 406 by its text, 413, 422 on submit, ...
    │   ├── InferenceFailed  NEVER        FAILED: it ran and failed
    │   │   └── ContentBlocked            FAILED by a content rule
    │   ├── RecordGone       AGAIN        404 on status or result
    │   ├── BadKey           STOP     5   401
    │   ├── Forbidden        STOP     5   403
    │   ├── Misled           STOP     5   the way to the API is wrong: a redirect, a certificate, a host
    │   ├── ModelGone        STOP     5   404 on submit, 410
    │   ├── OutOfCredits     STOP     4   406 by its text: credits or a spend limit
    │   ├── BudgetSpent      STOP     4   max_cost is used up
    │   └── ApiDown          STOP     5   no submit came through for ten minutes
    └── FileError                         bytes that are not the picture they should be
        ├── NotAnImage       NEVER        a local input that no decoder reads
        ├── UploadRejected   NEVER        the storage refused the file itself
        ├── StoreError       AGAIN        the store that takes the pictures refuses one
        ├── DeadLink         AGAIN        the output URL is gone or forbidden
        └── BadDownload      AGAIN        truncated, empty, a page instead of a picture, too large

Rule: whoever knows the error decides what it means, here, once; who retries only obeys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


class Verdict(Enum):
    """What an error means for the task and for the run."""

    NEVER = "this task never"
    AGAIN = "this task later"
    WAIT = "everybody waits"
    DOUBT = "perhaps accepted, perhaps not"
    STOP = "stop the run"


class BatcherError(Exception):
    """Base of all our errors; `exit_code` is what the program ends with when one reaches the roof."""

    exit_code: ClassVar[int] = 1


class UsageError(BatcherError):
    """The command line or a file it names cannot be used as it is."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: where (line and column count from 1; 0 = unknown), what, what to do.

    `key` is the dotted path of the manifest key, `excerpt` the source line for a caret;
    `allowed`: the manifest says that a row may lack this, and is passed over then.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    excerpt: str = ""
    allowed: bool = False

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        parts = [part for part in (place, self.key) if part]
        text = ": ".join([*parts, self.message])
        if self.excerpt and self.column:
            text += f"\n    {self.excerpt}\n    {' ' * (self.column - 1)}^"
        return text


class ManifestError(UsageError):
    """Everything that is wrong with a manifest, told at once; `warnings` came before it, and may say why."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        told = [str(problem) for problem in self.problems]
        super().__init__("\n".join([*told, *(f"warning: {warning}" for warning in warnings)]))


class OtherOrigin(UsageError):
    """The output folder's ledger was written against another API."""


class OtherDestination(UsageError):
    """The job's pictures lie elsewhere than where this run would put them."""


class LedgerError(BatcherError):
    """The ledger cannot be trusted or read; it is left as it is."""


class Overtaken(LedgerError):
    """A task is no longer in the state in which it was left: somebody else moved it."""


class Locked(BatcherError):
    """Another run holds this job."""

    exit_code = 11


class DiskError(BatcherError):
    """The disk refuses: full, read-only, not permitted. What was recorded is whole."""

    exit_code = 5


class MissingKey(BatcherError):
    """No API key was found."""

    exit_code = 5


class Incomplete(BatcherError):
    """Shares cannot come together: one is missing or not finished, or a picture of one is."""

    exit_code = 3


class TaskError(BatcherError):
    """Something that happened to one task. `label` is the class word of `failures` keys."""

    verdict: ClassVar[Verdict] = Verdict.NEVER
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

    verdict = Verdict.WAIT
    label = "THROTTLED"

    def __init__(self, message: str = "rate limited", *, reset_at: float | None = None) -> None:
        super().__init__(message, status=429)
        self.reset_at = reset_at


class Refused(ApiError):
    """No connection came about: nothing was sent, so nothing was accepted."""

    verdict = Verdict.AGAIN
    label = "UNREACHABLE"


class Gateway(ApiError):
    """502, 503 or 504. On a v2 submit: submit again, and keep the attempt as perhaps paid."""

    verdict = Verdict.AGAIN
    label = "GATEWAY"


class ServerError(ApiError):
    """500: often a parameter that the model choked on."""

    label = "SERVER"


class AnswerLost(ApiError):
    """The request may have arrived: a cut line, a timeout, a 2xx that cannot be read."""

    verdict = Verdict.DOUBT
    label = "LOST"


class Rejected(ApiError):
    """The API refuses this request as it stands; another try would be refused as well."""

    label = "REJECTED"


class InferenceFailed(ApiError):
    """FAILED, served as HTTP 422: the inference ran and failed."""

    label = "FAILED"


class ContentBlocked(InferenceFailed):
    """FAILED because a content rule blocked the input or the output."""


class RecordGone(ApiError):
    """404 on status or result: unknown, not yet known, or expired; only the deadline tells which."""

    verdict = Verdict.AGAIN
    label = "EXPIRED"


class StopsTheRun(ApiError):
    """About the account or the model, not the task: the other tasks stay planned."""

    verdict = Verdict.STOP
    exit_code = 5


class BadKey(StopsTheRun):
    """401: the key is missing, malformed or unknown."""

    label = "KEY"


class Forbidden(StopsTheRun):
    """403: the account may not do this."""

    label = "FORBIDDEN"


class Misled(StopsTheRun):
    """Another host answers, or is named, than the one that is trusted: the key does not go there."""

    label = "ADDRESS"


class ModelGone(StopsTheRun):
    """404 on submit or 410: there is no such model, or no longer."""

    label = "MODEL"


class OutOfCredits(StopsTheRun):
    """406 about credits or a spend limit: top up, then the same command goes on."""

    exit_code = 4
    label = "CREDITS"


class BudgetSpent(StopsTheRun):
    """`max_cost` leaves no room for another request, and nothing that is outstanding could free any."""

    exit_code = 4
    label = "BUDGET"


class ApiDown(StopsTheRun):
    """No submit came through for ten minutes; the tasks stay planned."""

    label = "DOWN"


class FileError(TaskError):
    """Bytes that are not the picture they should be."""

    label = "FILE"


class NotAnImage(FileError):
    """A local input file that no decoder reads."""

    label = "NOT_AN_IMAGE"


class UploadRejected(FileError):
    """The storage refused this very file (too large, wrong type)."""

    label = "UPLOAD"


class StoreError(FileError):
    """The object store that takes the pictures refuses or does not answer."""

    verdict = Verdict.AGAIN
    label = "STORE"


class DeadLink(FileError):
    """The output URL answers 403, 404 or 410: ask the result for a fresh one."""

    verdict = Verdict.AGAIN
    label = "LINK"


class BadDownload(FileError):
    """Truncated, empty, a page instead of a picture, or over the size limit."""

    verdict = Verdict.AGAIN
    label = "DOWNLOAD"
