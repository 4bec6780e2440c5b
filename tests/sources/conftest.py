"""A job beside some pictures, and a real local S3: moto's server on loopback, reached through s3fs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batcher import sources, stores
from batcher.errors import ManifestError, Problem
from batcher.manifest import Manifest, parse
from batcher.plan import Row


@dataclass(frozen=True)
class Job:
    """Manifests in a folder of their own."""

    folder: Path

    def manifest(self, inputs: str, more: str = "") -> Manifest:
        return parse(f"model: x\ninputs: {inputs}\n{more}", "job.yaml", self.folder)

    def rows(self, inputs: str, more: str = "", **heard: Any) -> list[Row]:
        return list(sources.rows(self.manifest(inputs, more), heard.pop("note", [].append), **heard))

    def columns(self, inputs: str, *names: str, more: str = "", **heard: Any) -> list[Any]:
        """The rows' columns; with names only those, and of one name its bare value."""
        found = [dict(row.columns) for row in self.rows(inputs, more, **heard)]
        if len(names) == 1:
            return [columns[names[0]] for columns in found]
        return [{name: columns[name] for name in names} for columns in found] if names else found

    def problems(self, inputs: str, more: str = "", **heard: Any) -> list[Problem]:
        with pytest.raises(ManifestError) as caught:
            self.rows(inputs, more, **heard)
        return list(caught.value.problems)

    def fingerprint(self, inputs: str, more: str = "", **how: Any) -> str:
        return sources.fingerprint(self.manifest(inputs, more), **how)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "jobs"
    folder.mkdir()
    return Job(folder)


def picture(width: int = 8, height: int = 6, kind: str = "PNG", turned: int = 0, shade: int = 0) -> bytes:
    """A small picture; `turned` is its EXIF orientation."""
    exif = Image.Exif()
    if turned:
        exif[0x0112] = turned
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 90, 160)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@dataclass(frozen=True)
class Bucket:
    """One bucket of the local S3, of this test alone."""

    name: str
    client: Any
    calls: list[str]

    def put(self, key: str, content: bytes | str) -> str:
        self.client.put_object(
            Bucket=self.name, Key=key, Body=content.encode() if isinstance(content, str) else content
        )
        self.calls.clear()
        return f"s3://{self.name}/{key}"

    def __str__(self) -> str:
        return f"s3://{self.name}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, list[str]]]:
    """The address of the server, and the calls that it got."""
    import threading

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    calls: list[str] = []

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    application = DomainDispatcherApplication(create_backend_app)

    def counting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        query = environ.get("QUERY_STRING", "")
        calls.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{'?' if query else ''}{query}")
        return application(environ, start_response)

    server = make_server("127.0.0.1", 0, counting, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", calls
    server.shutdown()
    thread.join()
    server.server_close()


MakeBucket = Callable[[str], Bucket]


@pytest.fixture
def s3_variables(s3_server: tuple[str, list[str]]) -> dict[str, str]:
    """The environment of whoever uses that S3."""
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server[0],
    }


@pytest.fixture
def make_bucket(
    s3_server: tuple[str, list[str]], s3_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeBucket]:
    """Makes buckets; what was listed of others is forgotten."""
    import boto3

    for name, value in s3_variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")

    def make(name: str) -> Bucket:
        client.create_bucket(Bucket=name)
        stores.forget()
        s3_server[1].clear()
        return Bucket(name, client, s3_server[1])

    yield make
    client.close()


@pytest.fixture
def bucket(make_bucket: MakeBucket, request: pytest.FixtureRequest) -> Bucket:
    """A bucket of this test alone."""
    return make_bucket(f"pets-{abs(hash(request.node.nodeid)) % 10**12}")
