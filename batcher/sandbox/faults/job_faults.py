"""Faults of the job that a submit makes: the call itself is answered as always."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from batcher.sandbox.faults.fault import Fault, Route, Seconds
from batcher.sandbox.job import Job, JobState


class JobFault(Fault):
    """Happens to a job."""

    possible: ClassVar[frozenset[Route]] = frozenset({Route.SUBMIT, Route.SYNC})
    usual: ClassVar[frozenset[Route]] = frozenset({Route.SUBMIT})

    @abstractmethod
    def play(self, job: Job) -> None:
        """Do it to a job that was accepted this moment."""


class Failed(JobFault):
    """The job ends FAILED with this text, after its service time."""

    error: str = "CUDA out of memory"

    def play(self, job: Job) -> None:
        job.failure = self.error


class Stuck(JobFault):
    """The job's status never changes from this one."""

    state: Literal["QUEUED", "PROCESSING"] = "PROCESSING"

    def play(self, job: Job) -> None:
        job.state, job.stuck = JobState(self.state), True


class Hidden(JobFault):
    """The job's record answers 404 for `delay` after its submission."""

    possible: ClassVar[frozenset[Route]] = frozenset({Route.SUBMIT})

    delay: Seconds = 2.0

    def play(self, job: Job) -> None:
        job.hidden_until = job.submitted_at + self.delay
