"""A real local S3: moto's server on loopback, reached through s3fs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from batcher.storage import stores


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
