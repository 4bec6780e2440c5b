"""`--metrics FILE`: the run as Prometheus metrics in a textfile, for node_exporter beside cron.

Rule: gauges of one run, labelled by its job; the file is replaced as a whole, a few times a minute and at the
end.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from batcher import errors
from batcher.progress import Event, Finished, Snapshot

WRITE_SECONDS = 15.0
"""Between two writes, by the run's own clock: as often as metrics are scraped."""


MARK = b"# HELP batcher_"
"""By this a file of ours is told from any other."""


class Metrics:
    """A listener that keeps a file up to date: `write` puts the text there, whole, and raises BatcherError.
    `now` gives Unix seconds. Raises what `write` raises the first time; what fails later is left to the next
    write."""

    def __init__(self, write: Callable[[str], None], *, now: Callable[[], float]) -> None:
        self._write = write
        self._now = now
        self._next = 0.0
        self._registry = CollectorRegistry()
        self._tasks = self._gauge("tasks", "Tasks of the present plan by state.", "state")
        self._images = self._gauge("images", "Pictures delivered in the job's life.")
        self._warned = self._gauge("warned_images", "Delivered pictures that a check marks with a warning.")
        self._credits = self._gauge("credits", "Credits by kind: spent, reserved, doubtful, lost.", "kind")
        self._calls = self._gauge("calls", "API calls in the job's life by kind.", "kind")
        self._pace = self._gauge("images_per_minute", "Pictures delivered per minute, lately.")
        self._rate = self._gauge("rate_limit_per_minute", "The pace that is held; NaN: none.")
        self._flight = self._gauge("in_flight", "Tasks on their way to a result.")
        self._running = self._gauge("running", "1 while the run goes on, 0 when it ended.")
        self._exit = self._gauge("exit_code", "How the last run ended; NaN while it goes on.")
        self._updated = self._gauge("updated_timestamp_seconds", "When this was written.")
        self._write(self._text())

    def __call__(self, event: Event) -> None:
        """Takes what it wants of an event."""
        if isinstance(event, Snapshot) and event.elapsed >= self._next:
            self._next = event.elapsed + WRITE_SECONDS
            self._show(event, running=True, exit_code=float("nan"))
        elif isinstance(event, Finished):
            self._show(event.snapshot, running=False, exit_code=event.exit_code)

    def _gauge(self, name: str, text: str, label: str | None = None) -> Gauge:
        labels = ("job", label) if label else ("job",)
        return Gauge(f"batcher_{name}", text, labels, registry=self._registry)

    def _show(self, snapshot: Snapshot, *, running: bool, exit_code: float) -> None:
        job = snapshot.job
        for state, n in snapshot.counts.items():
            self._tasks.labels(job, str(state)).set(n)
        for kind, value in snapshot.cost.items():
            self._credits.labels(job, kind).set(value)
        for kind, n in snapshot.calls.items():
            self._calls.labels(job, str(kind)).set(n)
        rate = snapshot.rate
        self._images.labels(job).set(snapshot.images)
        self._warned.labels(job).set(snapshot.warned)
        self._pace.labels(job).set(snapshot.images_per_minute)
        self._rate.labels(job).set(float("nan") if rate is None else rate)
        self._flight.labels(job).set(snapshot.in_flight)
        self._running.labels(job).set(1 if running else 0)
        self._exit.labels(job).set(exit_code)
        self._updated.labels(job).set(self._now())
        try:
            self._write(self._text())
        except errors.BatcherError:
            # A full disk under the metrics stops no pictures; the next write may succeed.
            return

    def _text(self) -> str:
        return generate_latest(self._registry).decode()
