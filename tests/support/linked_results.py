"""An API whose results have three links each, of which some lead to half a picture and some nowhere."""

from __future__ import annotations

from typing import Any

from tests.support.harness import Harness
from tests.support.pictures import noisy_picture
from tests.support.scripted_api import Api, Whole

GOOD = [noisy_picture(size=(37 + n, 23)) for n in range(3)]
GONE = Whole(b"HTTP/1.1 404 Not Found\r\n")
WARNS: dict[str, Any] = {}
REJECTS = {"checks": {"blank": "reject"}}


class Links(Api):
    """Each result has three links, of which some lead to half a picture, and some nowhere."""

    def __init__(self, *, damaged: tuple[int, ...] = (), gone: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.damaged, self.gone = damaged, gone

    def told(self, path: str) -> Any:
        job = path.removeprefix("/v2/requests/").removesuffix("/status")
        links = [f"{self.url}/files/{job}-{n}.png" for n in range(len(GOOD))]
        return super().told(path) | {"output": links}

    def file(self, path: str) -> Any:
        n = int(path.removesuffix(".png").rpartition("-")[2])
        if n in self.gone:
            return GONE
        return GOOD[n][: len(GOOD[n]) // 2] if n in self.damaged else GOOD[n]


def asked(**more: Any) -> dict[str, Any]:
    return {
        "model": "sd1.5-img2img",
        "unchecked": ["samples"],
        "api": "v2",
        "params": {"samples": 3},
        "retry": {"attempts": 2},
        **more,
    }


def spooled(harness: Harness) -> list[str]:
    return sorted(path.name for path in (harness.output / ".batcher" / "spool").iterdir())
