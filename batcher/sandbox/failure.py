"""What ends a job as FAILED."""

from __future__ import annotations


class JobFailed(Exception):
    """The model cannot do what it was asked; the message is the `error` of the FAILED job."""
