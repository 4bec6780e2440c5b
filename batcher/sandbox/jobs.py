"""Jobs: the queue, the workers, and what becomes of a submission.

Law: a job runs to its end whether or not anybody listens; only a completed one is billed.
"""

from __future__ import annotations

import asyncio
import math
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import anyio
from anyio.abc import TaskGroup

from batcher.sandbox.account import MICRO, Account
from batcher.sandbox.failure import JobFailed
from batcher.sandbox.faults import Fault
from batcher.sandbox.files import File, Files
from batcher.sandbox.media import Media
from batcher.sandbox.models import MOCK, Model
from batcher.sandbox.options import Options
from batcher.sandbox.pictures import Picture, paint

TYPICAL = 5.0
"""Seconds of a job where the model's page gives none."""
PRICE = 0.01
"""Credits per image where the model's page gives none."""
REFUSAL = 0.1
"""Share of the service time after which a job with bad parameters is FAILED."""


class JobState(StrEnum):
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(slots=True)
class Job:
    """One accepted submission. `*_at` are wall times; `queue_time` and `inference_time` are seconds."""

    request_id: str
    model: str
    body: Mapping[str, Any]
    api: Literal["v1", "v2"]
    sequence: int
    """Counts accepted submissions from 1."""
    submitted_at: float
    cost: float
    """Credits: the price while it is in flight, what was billed once it ended (0 if it failed)."""
    images: int
    state: JobState = JobState.QUEUED
    started_at: float | None = None
    finished_at: float | None = None
    queue_time: float = 0.0
    inference_time: float = 0.0
    error: str | None = None
    seed: int | None = None
    files: list[File] = field(default_factory=list)
    """The outputs, on the file host."""
    text: str | None = None
    """The output of a model that makes no pictures."""
    remaining_credits: float = 0.0
    hidden_until: float = -math.inf
    ended: anyio.Event = field(default_factory=anyio.Event)

    def metrics(self) -> dict[str, Any]:
        """Times, and once it has ended the money."""
        ended = self.finished_at is not None
        money = {"cost": self.cost, "remaining_credits": self.remaining_credits} if ended else {}
        return {
            **money,
            "inference_time": round(self.inference_time, 3),
            "queue_time": round(self.queue_time, 3),
            "total_time": round(self.queue_time + self.inference_time, 3),
            "retry_count": 0,
        }


@dataclass(slots=True)
class _Order:
    """A job on its way through the queue, with what only the workers need to know."""

    job: Job
    model: Model
    price: int
    queued: float
    failure: str | None


class Queue:
    """Accepts jobs, runs them first come first served on a fixed number of workers."""

    def __init__(
        self, options: Options, account: Account, media: Media, files: Files, now: Callable[[], float]
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self._options = options
        self._account = account
        self._media = media
        self._files = files
        self._now = now
        self._accepted = 0
        self._send, self._receive = anyio.create_memory_object_stream[_Order](math.inf)

    def start(self, group: TaskGroup) -> None:
        for _ in range(self._options.workers):
            group.start_soon(self._work)

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    def accept(
        self, model: Model, body: Mapping[str, Any], api: Literal["v1", "v2"], fate: Fault | None
    ) -> Job | None:
        """Take a submission into the queue; None: the credits do not suffice."""
        images = model.images(body)
        price = round(self._price(model) * MICRO) * images
        if not self._account.reserve(price):
            return None
        self._accepted += 1
        job = Job(
            request_id=str(uuid.uuid4()),
            model=model.slug,
            body=body,
            api=api,
            sequence=self._accepted,
            submitted_at=self._now(),
            cost=price / MICRO,
            images=images,
        )
        self.jobs[job.request_id] = job
        kind = fate.kind if fate else None
        if fate and kind == "hidden":
            job.hidden_until = job.submitted_at + fate.settings["delay"]
        if fate and kind == "stuck":
            job.state = JobState(fate.settings["state"])
            return job
        failure = str(fate.settings["error"]) if fate and kind == "failed" else None
        loop = asyncio.get_running_loop()
        self._send.send_nowait(_Order(job, model, price, loop.time(), failure))
        return job

    async def _work(self) -> None:
        async for order in self._receive:
            await self._run(order)

    async def _run(self, order: _Order) -> None:
        loop = asyncio.get_running_loop()
        job, started = order.job, loop.time()
        job.state, job.started_at = JobState.PROCESSING, self._now()
        job.queue_time = started - order.queued
        service = self._service(order)
        try:
            if complaint := order.model.problem(job.body):
                service *= REFUSAL
                raise JobFailed(complaint)
            pictures = await self._infer(order)
            if order.failure:
                raise JobFailed(order.failure)
        except JobFailed as problem:
            job.error, pictures = str(problem), []
        await anyio.sleep(max(0.0, service - (loop.time() - started)))
        job.inference_time = loop.time() - started
        self._end(order, pictures)

    async def _infer(self, order: _Order) -> list[Picture]:
        job, model = order.job, order.model
        wanted = model.seed(job.body)
        job.seed = self._random(job.sequence, "seed").getrandbits(31) if wanted is None else wanted
        if model.slug == MOCK:
            job.text = f"slept {job.body.get('sleep', 0)} s"
            return []
        inputs = {name: await self._media.fetch(kind, url) for name, (kind, url) in self._sources(order)}
        values = {name: model.value(job.body, name) for name in model.parameters}
        if not self._options.pictures:
            return [Picture.constant()] * job.images
        return await asyncio.to_thread(paint, model.slug, values, inputs, job.seed, job.images)

    def _sources(self, order: _Order) -> list[tuple[str, tuple[str, str]]]:
        example = order.model.example
        sources = order.model.media(order.job.body)
        # One page gives a path of its own site as example; every other value has to be a URL or a data URI.
        return [
            (
                name,
                (
                    kind,
                    f"https://example.invalid{url}" if url == example.get(name) and url[:1] == "/" else url,
                ),
            )
            for name, (kind, url) in sources.items()
        ]

    def _end(self, order: _Order, pictures: list[Picture]) -> None:
        job = order.job
        job.finished_at = self._now()
        if job.error is None:
            job.state = JobState.COMPLETED
            self._account.bill(order.price)
            for index, picture in enumerate(pictures):
                stem = f"{job.request_id}-{index}"
                job.files.append(self._files.put("outputs", stem, picture.data, picture.content_type))
        else:
            job.state, job.cost = JobState.FAILED, 0.0
            self._account.release(order.price)
        job.remaining_credits = self._account.left / MICRO
        job.ended.set()

    def _service(self, order: _Order) -> float:
        if order.model.slug == MOCK:
            sleep = order.job.body.get("sleep", 0)
            return float(sleep) if order.model.problem(order.job.body) is None else 0.0
        mean = self._options.service
        if mean is None:
            mean = order.model.seconds if order.model.seconds is not None else TYPICAL
        sigma = self._options.sigma
        # exp(N(-s²/2, s)) has the mean 1, whatever the spread.
        return mean * self._random(order.job.sequence, "service").lognormvariate(-sigma * sigma / 2, sigma)

    def _price(self, model: Model) -> float:
        if self._options.price is not None:
            return self._options.price
        return model.price if model.price is not None else PRICE

    def _random(self, sequence: int, what: str) -> random.Random:
        return random.Random(f"{self._options.seed}/{sequence}/{what}")
