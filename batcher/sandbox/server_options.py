"""How one sandbox is to behave: every knob, with the provider's own behaviour as the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from batcher.sandbox.faults import Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of a sandbox. Times are seconds, money is credits.

    Raises:
        ValueError: a value that no server could keep to.
    """

    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free one."""
    service: float | None = None
    """Mean time of a job on its worker; None: the typical seconds of the model's page, else 5."""
    sigma: float = 0.3
    """Spread of the service time (lognormal; the mean stays); 0: every job takes the mean."""
    workers: int = 16
    rpm: float | None = None
    """Calls per minute; None: unlimited."""
    metered: Literal["submits", "all"] = "submits"
    """What counts against `rpm`: submits (v1 and v2), or status, result and credits calls as well."""
    window: float = 60.0
    """Length of the fixed windows in which calls are counted."""
    phase: float | None = None
    """Where the windows begin, in seconds after a multiple of `window`; None: decided by the seed."""
    bucket: bool = False
    """A token bucket in place of the fixed windows."""
    burst: float | None = None
    """What the token bucket holds when full; None: ten seconds' worth."""
    ttl: float = 3600.0
    """Life of a request's record, from its submission."""
    file_ttl: float = 7 * 86400.0
    credits: float = 1000.0
    price: float | None = None
    """Per image; None: the price of the model's page, 0.01 where it gives none."""
    seed: int = 0
    faults: Faults | None = None
    key: str | None = None
    """The only key that is accepted; None: any `SG_` + 16 hex."""
    pictures: bool = True
    """False: every output is one tiny constant PNG, for tests that need speed."""
    upload_key: Literal["file_urls", "urls"] = "file_urls"
    """The two names under which uploads are answered: the SDK's and the documentation's."""

    def __post_init__(self) -> None:
        for name in ("service", "sigma", "credits", "price", "burst"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}; it cannot be negative")
        for name in ("workers", "rpm", "window", "ttl", "file_ttl"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be more than 0")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}; it must lie between 0 and 65535 (0 picks a free one)")
        if self.metered not in ("submits", "all"):
            raise ValueError(f"metered is {self.metered!r}; it is 'submits' or 'all'")
