"""`batcher` without its expiry guard: what would happen if everything in_flight allows were submitted."""

from __future__ import annotations

import sys

from batcher.cli import ended
from batcher.engine.admission import InFlightLimit

if __name__ == "__main__":
    InFlightLimit._proven = lambda self: self._most  # type: ignore[method-assign]  # the guard is what is measured
    sys.exit(ended(sys.argv[1:]))
