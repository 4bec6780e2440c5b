"""`python -m batcher.sandbox`."""

from __future__ import annotations

from batcher.sandbox.serve import main

if __name__ == "__main__":
    raise SystemExit(main())
