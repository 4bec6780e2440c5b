"""The queue, the workers, and what becomes of a submission.

Rule: a job runs to its end whether or not anybody listens; only a completed one is billed.
"""

from __future__ import annotations

import asyncio
import math
import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import anyio
from anyio.abc import TaskGroup

from batcher.sandbox.balance import MICRO, Balance
from batcher.sandbox.faults import Fault, JobFault, PictureFault
from batcher.sandbox.faults.picture_faults import Generation
from batcher.sandbox.file_host import FileHost
from batcher.sandbox.generation import GeneratedImage, generate
from batcher.sandbox.job import Job, JobFailed, JobState
from batcher.sandbox.media import Media
from batcher.sandbox.model_pages import MOCK, ModelPage
from batcher.sandbox.server_options import Options

TYPICAL = 5.0
"""Seconds of a job where the model's page gives none."""
PRICE = 0.01
"""Credits per image where the model's page gives none."""
REFUSAL = 0.1
"""Share of the service time after which a job with bad parameters is FAILED."""


@dataclass(slots=True)
class _Order:
    """A job on its way through the queue, with what only the workers need to know."""

    job: Job
    model: ModelPage
    price: int
    queued: float
    picture_fault: PictureFault | None


class JobQueue:
    """Accepts jobs, runs them first come first served on a fixed number of workers."""

    def __init__(
        self, options: Options, balance: Balance, media: Media, files: FileHost, now: Callable[[], float]
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self._options = options
        self._balance = balance
        self._media = media
        self._files = files
        self._now = now
        self._accepted = 0
        self._latest: dict[str, GeneratedImage] = {}
        """By model, an output of its job that ended last."""
        self._send, self._receive = anyio.create_memory_object_stream[_Order](math.inf)

    def start(self, group: TaskGroup) -> None:
        for _ in range(self._options.workers):
            group.start_soon(self._work)

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    def accept(
        self,
        model: ModelPage,
        body: Mapping[str, Any],
        api: Literal["v1", "v2"],
        key: str,
        faults: Iterable[Fault],
    ) -> Job | None:
        """Take a submission into the queue; None: the credits do not suffice. `faults` happen to its job."""
        images = model.images(body)
        price = round(self._price(model) * MICRO) * images
        if not self._balance.reserve(price):
            return None
        self._accepted += 1
        job = Job(
            request_id=str(uuid.uuid4()),
            model=model.slug,
            body=body,
            api=api,
            key=key,
            sequence=self._accepted,
            submitted_at=self._now(),
            cost=price / MICRO,
            images=images,
        )
        self.jobs[job.request_id] = job
        picture_fault = None
        for fault in faults:
            if isinstance(fault, JobFault):
                fault.play(job)
            elif isinstance(fault, PictureFault):
                picture_fault = fault
        if job.stuck:
            return job
        loop = asyncio.get_running_loop()
        self._send.send_nowait(_Order(job, model, price, loop.time(), picture_fault))
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
            if job.failure is not None:
                raise JobFailed(job.failure)
        except JobFailed as problem:
            job.error, pictures = str(problem), []
        except Exception as problem:  # a model that chokes on its input fails the job, and not the server
            job.error, pictures = f"{type(problem).__name__}: {problem}", []
        await anyio.sleep(max(0.0, service - (loop.time() - started)))
        job.inference_time = loop.time() - started
        self._end(order, pictures)

    async def _infer(self, order: _Order) -> list[GeneratedImage]:
        job, model = order.job, order.model
        wanted = model.seed(job.body)
        job.seed = self._random(job.sequence, "seed").getrandbits(31) if wanted is None else wanted
        if model.slug == MOCK:
            job.text = f"slept {job.body.get('sleep', 0)} s"
            return []
        sources = self._sources(order)
        inputs = {name: await self._media.fetch(kind, url) for name, (kind, url) in sources}
        values = {name: model.value(job.body, name) for name in model.parameters}
        if self._options.pictures:
            outputs = await asyncio.to_thread(generate, model.slug, values, inputs, job.seed, job.images)
        else:
            outputs = [GeneratedImage.constant()] * job.images
        fault = order.picture_fault
        if fault is None:
            return outputs
        source = next((inputs[name] for name, (kind, _) in sources if kind == "image"), None)
        latest = self._latest.get(model.slug)
        pictures = [Generation(output, source, latest) for output in outputs]
        return [await asyncio.to_thread(fault.play, picture) for picture in pictures]

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

    def _end(self, order: _Order, pictures: list[GeneratedImage]) -> None:
        job = order.job
        job.finished_at = self._now()
        if job.error is None:
            job.state = JobState.COMPLETED
            self._balance.bill(order.price)
            if pictures:
                self._latest[job.model] = pictures[0]
            for index, picture in enumerate(pictures):
                stem = f"{job.request_id}-{index}"
                job.files.append(self._files.put("outputs", stem, picture.data, picture.content_type))
        else:
            job.state, job.cost = JobState.FAILED, 0.0
            self._balance.release(order.price)
        job.remaining_credits = self._balance.left / MICRO
        job.ended.set()

    def serve_in(self, seconds: float) -> None:
        """The mean service time from now on."""
        self._options = replace(self._options, service=seconds)

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

    def _price(self, model: ModelPage) -> float:
        if self._options.price is not None:
            return self._options.price
        return model.price if model.price is not None else PRICE

    def _random(self, sequence: int, what: str) -> random.Random:
        return random.Random(f"{self._options.seed}/{sequence}/{what}")
