"""What a submit must pass before it may leave: the money and the expiry guard.

money.py     Purse: spent + reserved + doubtful + lost never exceed max_cost
expiry.py    Window: no more in flight than can be fetched before their records end (pure)
outage.py    Outage: an API that is down fails nobody
"""

from __future__ import annotations

from batcher.admission.expiry import Window
from batcher.admission.money import Purse

__all__ = ["Purse", "Window"]
