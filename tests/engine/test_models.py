"""A job may go on with another model."""

from __future__ import annotations

from typing import Any

from PIL import Image

from tests.support.harness import Harness
from tests.support.sandboxes import MakeSandbox


async def test_a_job_that_goes_on_with_another_model_does_not_rewrite_what_the_first_one_made(
    harness: Harness, sandbox: MakeSandbox
) -> None:
    photo = harness.folder / "a.png"
    Image.new("RGB", (300, 200)).save(photo)
    rows = [{"rows": [{"place": "x", "boxes": [[10, 20, 30, 40]]}]}]
    told = []
    async with sandbox(service=1) as server:
        for model in ("sd1.5-img2img", "sd1.5-outpaint", "no-such-model"):
            changes: dict[str, Any] = {"params": {"image": str(photo)}, "output": {"name": model}}
            await harness.run(server, harness.manifest(1, model=model, inputs=rows, **changes))
            told.append({line["key"]: line for line in harness.lines("metadata.jsonl")})
    first, second, third = told
    (key,) = first
    assert (first[key]["model"], "boxes" in first[key]) == ("sd1.5-img2img", True)
    assert second[key] == third[key] == first[key]
    assert {line["model"] for line in third.values()} == {"sd1.5-img2img", "sd1.5-outpaint"}
