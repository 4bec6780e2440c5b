"""The models: what each one takes, one YAML file per model, and the reader of those files.

    find("sd1.5-outpaint")              the model, or None
    find("my-model", Path("jobs"))      ... of a model file beside the manifest, which wins
    models()                            all of them
    check(model, params)                what is wrong with a request body
    convert(parameter, "25")            the text of a table cell as the parameter's type
    count(model, params)                how many images one request gives

Rule: a model file says what the model's page says; nothing is added to a request that its manifest
does not say, so defaults are for people to read.
"""

from __future__ import annotations

from batcher.catalog.checking import Finding, check, convert
from batcher.catalog.files import find, models
from batcher.catalog.model import Model, Parameter, count, nearest

__all__ = ["Finding", "Model", "Parameter", "check", "convert", "count", "find", "models", "nearest"]
