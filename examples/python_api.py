"""The Python API: load a manifest, run it, listen to it, look at what came of it.

    python examples/python_api.py [OUTPUT]

Runs four tasks of the demo on the embedded sandbox: no key, no cost. For the real API leave
`sandbox=True` out and set SEGMIND_API_KEY. Run it twice: the second run finds everything done.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from batcher import load, run
from batcher.errors import BatcherError
from batcher.progress import Event, Message, Started, StateChanged
from batcher.task import State

MANIFEST = Path(__file__).parents[1] / "jobs" / "demo.yaml"
OVERRIDES = [
    "inputs.0.images=[../examples/photos/cat.jpg, ../examples/photos/coffee.jpg]",
    "seed=7",  # other pictures than those of `batcher demo`, which would not be paid for again here
]


def tell(event: Event) -> None:
    """A listener is a function of one event; it must not block, for it is called between two calls."""
    match event:
        case Started():
            print(f"{event.job}: {event.total} tasks, {event.new} new")
        case StateChanged(target=State.DONE):
            print(f"{event.task}: delivered")
        case StateChanged(target=State.FAILED):
            print(f"{event.task}: failed, {event.reason}")
        case Message():
            print(f"{event.level}: {event.text}")


async def main(output: Path) -> int:
    """Runs the job and gives its exit code, which means what it means on the command line."""
    job = load(MANIFEST, overrides=OVERRIDES)
    report = await run(job, listener=tell, sandbox=True, output=output)
    print(f"{report.images} images for {report.cost['spent']} credits, in {report.output}")
    for line in (report.output / "metadata.jsonl").read_text("utf-8").splitlines():
        picture = json.loads(line)
        print(f"  {picture['file_name']}: {picture['prompt']}, seed {picture['seed']}")
    return report.exit_code


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/python-api"))))
    except BatcherError as error:  # a manifest that is wrong, a folder that another run holds, ...
        sys.exit(f"python_api: {error}")
