"""The file host: uploaded inputs and finished outputs, public to whoever knows the URL.

Rule: files live longer than records and need no key; a key that is sent here all the same is noted.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IN_MEMORY = 256 * 1024 * 1024
"""Bytes kept in memory; what comes after goes to a temporary folder."""

SUFFIXES = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
}


@dataclass(frozen=True, slots=True)
class HostedFile:
    """One file of the host. `path` is what follows the origin in its URL."""

    path: str
    content_type: str
    size: int
    digest: str
    expires_at: float

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


class FileHost:
    """Path -> file; equal contents are kept once."""

    def __init__(self, now: Callable[[], float], ttl: float) -> None:
        self._now = now
        self._ttl = ttl
        self._files: dict[str, HostedFile] = {}
        self._contents: dict[str, bytes | Path] = {}
        self._in_memory = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def put(self, folder: str, stem: str | None, data: bytes, content_type: str) -> HostedFile:
        """Keep a file under `/files/<folder>/<stem>.<suffix>`; without a stem it is named by its content."""
        digest = hashlib.sha256(data).hexdigest()
        suffix = SUFFIXES.get(content_type, "bin")
        path = f"/files/{folder}/{stem or digest[:32]}.{suffix}"
        if digest not in self._contents:
            self._contents[digest] = self._keep(digest, data)
        file = HostedFile(path, content_type, len(data), digest, self._now() + self._ttl)
        self._files[path] = file
        return file

    def find(self, path: str) -> HostedFile | None:
        """The file at a path while it lives; None: unknown or expired."""
        file = self._files.get(path)
        return file if file and self._now() < file.expires_at else None

    def read(self, file: HostedFile) -> bytes:
        content = self._contents[file.digest]
        return content if isinstance(content, bytes) else content.read_bytes()

    def close(self) -> None:
        if self._folder:
            self._folder.cleanup()

    def _keep(self, digest: str, data: bytes) -> bytes | Path:
        if self._in_memory + len(data) <= IN_MEMORY:
            self._in_memory += len(data)
            return data
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="batcher-sandbox-")
        path = Path(self._folder.name) / digest
        path.write_bytes(data)
        return path
