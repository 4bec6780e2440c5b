"""What a submit must pass before it may leave: a group's need, the money and the expiry guard.

accepted_groups.py   AcceptedGroups: no group of `accept` gets more pictures than it is to have
budget.py            Budget: spent + reserved + doubtful + lost never exceed max_cost
period_budget.py     PeriodBudget: nor the account's budgets of a day and a month, whatever runs beside
in_flight.py         InFlight: the jobs in flight, a slot each, and how many there may be
in_flight_need.py    how many use the rate up: `limits.in_flight: auto` (pure)
in_flight_limit.py   InFlightLimit: no more in flight than can be fetched before their records end (pure)
expiry_guard.py      ExpiryGuard: submits wait while the calls left are owed to what is in flight
"""

from __future__ import annotations

from batcher.engine.admission.accepted_groups import AcceptedGroups
from batcher.engine.admission.budget import Budget
from batcher.engine.admission.expiry_guard import ExpiryGuard
from batcher.engine.admission.in_flight import InFlight
from batcher.engine.admission.in_flight_limit import InFlightLimit
from batcher.engine.admission.period_budget import PeriodBudget, PeriodLimits

__all__ = [
    "AcceptedGroups",
    "Budget",
    "ExpiryGuard",
    "InFlight",
    "InFlightLimit",
    "PeriodBudget",
    "PeriodLimits",
]
