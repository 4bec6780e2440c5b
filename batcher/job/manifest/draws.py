"""Whether a job draws anything for its tasks: where it does not, another try would buy the same picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batcher.job.catalog import Model
from batcher.job.manifest.templates import TemplateError, compile_template
from batcher.job.yaml_document import texts

SEED = "seed"
"""The variable, and the parameter of a model that the catalogue does not have."""
RANDOM = -1
"""The seed with which a model draws one itself."""

NOTHING_DRAWN = (
    "the params draw nothing, so that another try would buy the same picture; give them a seed: "
    '`seed: 42` at the top and `seed: "{{ seed }}"` in params, or a `choice` of several values, `uniform`, '
    "`randint`, or the model's own seed of -1"
)


def draws(params: Mapping[str, Any], model: Model | None, *, seeded: bool) -> bool:
    """Whether `params` of a job, with a top-level seed or not, give each task something of its own by chance:
    `{{ seed }}`, a picker, or the model's seed of -1."""
    return model_draws(params, model) or (seeded and any(_draws(text) for _, text in texts(params, ())))


def model_draws(params: Mapping[str, Any], model: Model | None) -> bool:
    """Whether the model draws its seed itself, so that one body twice gives two pictures."""
    value = params.get((model.seed if model is not None else None) or SEED)
    return type(value) is int and value == RANDOM


def _draws(text: str) -> bool:
    try:
        template = compile_template(text)
    except TemplateError:
        return False
    return template.draws or SEED in template.variables
