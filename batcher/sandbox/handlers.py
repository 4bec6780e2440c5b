"""The endpoints: what each call takes and gives, in the provider's shapes."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from aiohttp import web

from batcher.sandbox import request_history
from batcher.sandbox.balance import MICRO, Balance
from batcher.sandbox.error_responses import error
from batcher.sandbox.faults import Fault, HistoryFault, Route
from batcher.sandbox.file_host import FileHost, HostedFile
from batcher.sandbox.job import Job, JobState
from batcher.sandbox.job_queue import JobQueue
from batcher.sandbox.model_pages import model_list, model_pages
from batcher.sandbox.server_options import Options

Handler = Callable[[web.Request, Sequence[Fault]], Awaitable[web.StreamResponse]]
"""Takes a call, and the faults that happen to what it is about (those of answers are the server's part)."""


class Handlers:
    """One method per endpoint."""

    def __init__(
        self, options: Options, balance: Balance, queue: JobQueue, files: FileHost, now: Callable[[], float]
    ) -> None:
        self._options = options
        self._balance = balance
        self._queue = queue
        self._files = files
        self._now = now

    def table(self) -> Iterator[tuple[str, str, Route, Handler]]:
        """Method, path, kind of call, handler; earlier entries win."""
        yield "POST", "/v2/{model}", Route.SUBMIT, self.submit
        yield "GET", "/v2/requests/{id}/status", Route.STATUS, self.status
        yield "GET", "/v2/requests/{id}", Route.RESULT, self.result
        yield "GET", "/v1/get-user-credits", Route.CREDITS, self.credits
        yield "POST", "/v1/{model}", Route.SYNC, self.sync
        yield "POST", "/upload-asset", Route.UPLOAD, self.upload
        yield "GET", "/inference-request/request-history", Route.HISTORY, self.history
        yield "GET", "/inference-request/request-history/{id}", Route.HISTORY, self.history_of_one
        yield "GET", "/inference-request/generations", Route.HISTORY, self.generations
        yield "GET", "/inference-request/recent-generations", Route.HISTORY, self.recent_generations
        yield "GET", "/inference-model-information/list", Route.MODELS, self.models
        yield "GET", "/files/{path:.+}", Route.DOWNLOAD, self.download
        # The SDK with a base URL that lacks `/v1` posts its blocking calls here.
        yield "POST", "/{model}", Route.SYNC, self.sync

    async def submit(self, request: web.Request, faults: Sequence[Fault]) -> web.StreamResponse:
        job = await self._accept(request, "v2", faults)
        if not isinstance(job, Job):
            return job
        record = f"{_origin(request)}/v2/requests/{job.request_id}"
        return web.json_response(
            {
                "request_id": job.request_id,
                "status": "QUEUED",
                "poll_url": f"{record}/status",
                "status_url": f"{record}/status",
                "response_url": record,
            }
        )

    async def status(self, request: web.Request, _faults: Sequence[Fault]) -> web.StreamResponse:
        job = self._record(request)
        if job is None:
            return _not_found(request)
        body: dict[str, Any] = {"status": job.state, "request_id": job.request_id, "metrics": job.metrics()}
        if job.state is JobState.FAILED:
            return web.json_response({**body, "error": job.error}, status=422)
        return web.json_response(body)

    async def result(self, request: web.Request, _faults: Sequence[Fault]) -> web.StreamResponse:
        job = self._record(request)
        if job is None:
            return _not_found(request)
        body: dict[str, Any] = {"status": job.state, "request_id": job.request_id, "metrics": job.metrics()}
        if job.state is JobState.FAILED:
            return web.json_response({**body, "error": job.error}, status=422)
        if job.state is JobState.COMPLETED:
            body |= self._output(job, _origin(request))
        return web.json_response(body)

    async def sync(self, request: web.Request, faults: Sequence[Fault]) -> web.StreamResponse:
        job = await self._accept(request, "v1", faults)
        if not isinstance(job, Job):
            return job
        await job.ended.wait()
        if job.state is JobState.FAILED:
            return web.json_response({"status": "FAILED", "error": job.error}, status=422)
        answer = self._sync_answer(job)
        answer.headers["x-request-id"] = job.request_id
        answer.headers["x-cost"] = f"{job.cost:g}"
        answer.headers["x-remaining-credits"] = f"{job.remaining_credits:.6f}"
        answer.headers["x-generation-time"] = f"{job.inference_time:.3f}"
        if job.seed is not None:
            answer.headers["x-seed-value"] = str(job.seed)
        return answer

    async def upload(self, request: web.Request, _faults: Sequence[Fault]) -> web.StreamResponse:
        body = await _json(request)
        uris = body.get("data_urls") if isinstance(body, dict) else None
        if not isinstance(uris, list) or not uris:
            return error(400, "data_urls must be a non-empty list of data URLs")
        urls = []
        for uri in uris:
            content = _content(uri)
            if content is None:
                return error(400, "data_urls must hold data URLs of the form data:image/png;base64,...")
            content_type, data = content
            urls.append(_origin(request) + self._files.put("assets", None, data, content_type).path)
        return web.json_response({self._options.upload_key: urls, "message": "Assets uploaded successfully"})

    async def credits(self, _request: web.Request, _faults: Sequence[Fault]) -> web.StreamResponse:
        return web.json_response({"credits": self._balance.left / MICRO, "free-credits": 0})

    async def history(self, request: web.Request, faults: Sequence[Fault]) -> web.StreamResponse:
        view = self._view(request, faults, self._queue.jobs.values())
        return _answered(request_history.listing, view, request)

    async def history_of_one(self, request: web.Request, faults: Sequence[Fault]) -> web.StreamResponse:
        job = self._queue.jobs.get(request.match_info["id"])
        row = request_history.one_request(self._view(request, faults, [job] if job else []))
        return web.json_response(row) if row else _not_found(request)

    async def generations(self, request: web.Request, faults: Sequence[Fault]) -> web.StreamResponse:
        view = self._view(request, faults, self._queue.jobs.values())
        return _answered(request_history.generations, view, request)

    async def recent_generations(self, request: web.Request, faults: Sequence[Fault]) -> web.StreamResponse:
        view = self._view(request, faults, self._queue.jobs.values())
        return _answered(request_history.recent_generations, view, request)

    async def models(self, _request: web.Request, _faults: Sequence[Fault]) -> web.StreamResponse:
        return web.json_response(model_list())

    async def download(self, request: web.Request, _faults: Sequence[Fault]) -> web.StreamResponse:
        file = self._files.find(request.path)
        if file is None:
            return web.Response(
                status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="text/xml"
            )
        return web.Response(body=self._files.read(file), content_type=file.content_type)

    async def _accept(
        self, request: web.Request, api: Literal["v1", "v2"], faults: Sequence[Fault]
    ) -> Job | web.Response:
        model = model_pages().get(request.match_info["model"])
        if model is None:
            return error(404, f"Model {request.match_info['model']} not found")
        body = await _json(request)
        if not isinstance(body, dict):
            return error(400, "The request body must be a JSON object")
        job = self._queue.accept(model, body, api, _key(request), faults)
        return job if job else error(406, "Insufficient credits")

    def _view(
        self, request: web.Request, faults: Sequence[Fault], jobs: Iterable[Job]
    ) -> request_history.HistoryView:
        view = request_history.view(jobs, _key(request), _origin(request), self._now())
        for fault in faults:
            if isinstance(fault, HistoryFault):
                fault.play(view)
        return view

    def _record(self, request: web.Request) -> Job | None:
        job = self._queue.jobs.get(request.match_info["id"])
        now = self._now()
        if job is None or job.api == "v1" or now < job.hidden_until:
            return None
        return job if now < job.submitted_at + self._options.ttl else None

    def _output(self, job: Job, origin: str) -> dict[str, Any]:
        if job.text is not None:
            return {"output": job.text, "partial": False, "reasoning": None}
        if job.body.get("base64") is True:
            return {"output": _one_or_list(job, self._base64(job)), "images": [], "seed": job.seed}
        urls = [origin + file.path for file in job.files]
        images = [_image(file, url) for file, url in zip(job.files, urls, strict=True)]
        return {"output": _one_or_list(job, urls), "images": images, "seed": job.seed}

    def _sync_answer(self, job: Job) -> web.Response:
        if job.text is not None:
            return web.json_response({"output": job.text, "partial": False, "reasoning": None})
        if len(job.files) > 1:
            return web.json_response({"images": self._base64(job)})
        if job.body.get("base64") is True:
            return web.json_response({"image": self._base64(job)[0]})
        return web.Response(body=self._files.read(job.files[0]), content_type=job.files[0].content_type)

    def _base64(self, job: Job) -> list[str]:
        return [base64.b64encode(self._files.read(file)).decode() for file in job.files]


def _image(file: HostedFile, url: str) -> dict[str, Any]:
    return {"url": url, "content_type": file.content_type, "file_name": file.name, "file_size": file.size}


def _one_or_list(job: Job, values: list[str]) -> str | list[str]:
    return values[0] if job.images == 1 else values


def _origin(request: web.Request) -> str:
    """The origin as the caller knows it: behind another name its links must lead back to that name."""
    return f"{request.scheme}://{request.host}"


def _key(request: web.Request) -> str:
    return request.headers["x-api-key"]


def _answered(
    answer: Callable[[request_history.HistoryView, Mapping[str, str]], dict[str, Any]],
    view: request_history.HistoryView,
    request: web.Request,
) -> web.Response:
    try:
        return web.json_response(answer(view, request.query))
    except request_history.BadQuery as problem:
        return error(400, str(problem))


def _not_found(request: web.Request) -> web.Response:
    return error(404, f"Request {request.match_info['id']} not found")


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        return None


def _content(uri: Any) -> tuple[str, bytes] | None:
    """Type and bytes of a base64 data URI; None: it is none."""
    if not isinstance(uri, str) or not uri.startswith("data:"):
        return None
    head, comma, payload = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    try:
        return head[5:-7].split(";")[0] or "application/octet-stream", base64.b64decode(
            payload, validate=True
        )
    except ValueError:
        return None
