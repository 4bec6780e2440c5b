"""Manifest + rows -> Tasks, lazily, with stable keys and names.

    for task in expand(manifest, model, rows, plan_context, diagnostics): ...

    expand.py            rows x matrix x repeats; what is wrong with a task, told at its place
    plan_context.py           what a plan asks the outside
    body.py              the request body
    param_templates.py   its parameters, compiled
    param_values.py      what they are for one row
    local_files.py       the files that they name, by content
    pickers.py           choice, uniform, randint: stable draws
    matrix.py            axes, exclude, include
    names.py             file names from foreign text
    redraw.py            a cell again, with other draws: the replacement of a rejected picture
    sampling.py          a few tasks that stand for all
    unused_pictures.py   pictures that no model would see

Rule: it is pure. It reads no disk and no clock, and the same arguments give the same tasks.
"""

from __future__ import annotations

from batcher.job.plan.expand import expand
from batcher.job.plan.names import name_key, safe_name
from batcher.job.plan.plan_context import PlanContext

__all__ = ["PlanContext", "expand", "name_key", "safe_name"]
