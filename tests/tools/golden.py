"""What a terminal shows of one run, kept as text: the real engine against the sandbox, in virtual time.

python -m tests.tools.golden           draws tests/progress/frames/ anew (`make frames`)
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from batcher.progress import Event, Snapshot, Started
from batcher.progress.terminal import Terminal
from batcher.sandbox import Faults, Options, Sandbox, faults
from tests.support.harness import Harness
from tests.support.screen import Clock, Screen, console, screen_lines
from tests.support.virtualtime import VirtualTimeLoop

FOLDER = Path(__file__).parents[1] / "progress" / "frames"
WIDTHS = (60, 80, 120)
SHOWN_AT = (0.0, 10.0, 33.0, 60.0, 110.0)
"""Seconds: the start, the first pictures, a pause after a 429, the middle, all submitted."""
NOON = 1_767_614_400.0
STORY = (
    faults.Throttle(route="submit", calls=[30], reset_in=7),
    faults.Cut(route="submit", accepted=True, calls=[50]),
    faults.Failed(error="CUDA out of memory", calls=[12, 40, 71]),
    faults.Failed(error="the prompt was blocked [policy 4.2], see the usage policy of the model", calls=[80]),
)
"""What goes wrong: a lost answer, failures of two kinds, a 429."""


async def events() -> list[Event]:
    """All that a run of a hundred tasks tells, at 60 calls a minute."""
    loop, heard = asyncio.get_running_loop(), list[Event]()

    def now() -> float:
        return NOON + loop.time()

    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), now)
        options = Options(service=8, rpm=60, price=0.01, pictures=False, faults=Faults(list(STORY)))
        async with Sandbox(options, now=now) as server:
            manifest = harness.manifest(100, name="streets", limits={"rpm": 60})
            await harness.run(server, manifest, heard.append, jitter=lambda: 0.5)
    return [replace(event, output="out/streets") if isinstance(event, Started) else event for event in heard]


def frames(heard: Sequence[Event], width: int) -> Iterator[str]:
    """What stands on a terminal of that width at each chosen moment, and at the end."""
    screen, due = Screen(), list(SHOWN_AT)
    with Terminal("batcher run streets.yaml", console=console(width, screen), clock=Clock()) as terminal:
        for event in heard:
            terminal(event)
            if isinstance(event, Snapshot) and due and event.elapsed >= due[0]:
                yield _framed(f"after {due.pop(0):g} s", screen)
    yield _framed("at the end", screen)


def _framed(title: str, screen: Screen) -> str:
    return "\n".join([f"--- {title}", *screen_lines(screen.getvalue()), ""])


def drawn(heard: Sequence[Event], width: int) -> str:
    """The text of a file in tests/progress/frames/."""
    return "\n".join(frames(heard, width))


def run() -> list[Event]:
    """The events, by a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(events())


if __name__ == "__main__":
    heard = run()
    FOLDER.mkdir(exist_ok=True)
    for width in WIDTHS:
        (FOLDER / f"{width}.txt").write_text(drawn(heard, width), "utf-8")
