"""The models: what each one takes, one YAML file per model, and the reader of those files.

    find("sd1.5-outpaint")              the model, or None
    find("my-model", Path("jobs"))      ... of a model file beside the manifest, which wins
    models()                            all of them
    check(model, params)                what is wrong with a request body
    convert(parameter, "25")            the text of a table cell as the parameter's type
    count(model, params)                how many images one request gives

model.py               a model and its parameters, as values
model_file.py          the grammar of a model file, and what is wrong with one
lookup.py              where model files lie, and which one wins
provider_list.py       the provider's public list of models, and its copy on this machine
parameter_checks.py    is this value one that the model takes?
canvas.py              what a model is to be asked for so that a picture gets another shape
*.yaml                 the shipped model files

Rule: a model file says what the model's page says; nothing is added to a request that its manifest
does not say, so defaults are for people to read.
"""

from __future__ import annotations

from batcher.job.catalog.lookup import find, models, unknown
from batcher.job.catalog.model import Model, Parameter, count, values_text
from batcher.job.catalog.parameter_checks import ParameterProblem, check, convert
from batcher.job.catalog.provider_list import kept_list
from batcher.job.wording import nearest

__all__ = [
    "Model",
    "Parameter",
    "ParameterProblem",
    "check",
    "convert",
    "count",
    "find",
    "kept_list",
    "models",
    "nearest",
    "unknown",
    "values_text",
]
