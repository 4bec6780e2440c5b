"""Models as JSON: all that a form, or a program that writes manifests, needs to know of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from batcher.job.catalog import Model
from batcher.job.catalog.provider_list import ProviderList


def short_json(model: Model, origin: str, listing: ProviderList | None) -> dict[str, Any]:
    """One model of a list. `origin`: catalogue, file (beside the manifest) or list (the provider's);
    `retired` is null where the provider's list was never fetched or does not say."""
    listed = listing.models.get(model.slug) if listing is not None else None
    return {
        "slug": model.slug,
        "title": model.title,
        "api": model.api,
        "seconds": model.seconds,
        "price": model.price,
        "price_as_of": model.price_as_of,
        "price_source": model.price_source,
        "origin": origin,
        "retired": listed.retired if listed is not None else None,
    }


def whole_json(model: Model, origin: str, listing: ProviderList | None) -> dict[str, Any]:
    """One model with its parameters, its page's example, where the source lies in its pictures, and the JSON
    Schema of a manifest's `params`, in which a template may stand for any value."""
    from batcher.job.manifest.schema import params_schema

    return {
        **short_json(model, origin, listing),
        "description": model.description,
        "page": model.source,
        "required": list(model.required),
        "media": list(model.media),
        "seed": model.seed,
        "count": model.count,
        "geometry": None if model.geometry is None else _given(asdict(model.geometry)),
        "example": dict(model.example),
        "parameters": [
            {
                "name": p.name,
                "type": p.type,
                "required": p.required,
                "default": p.default,
                "minimum": p.minimum,
                "maximum": p.maximum,
                "allowed": list(p.allowed),
                "allowed_total": p.allowed_total,
                "complete": p.complete,
                "media": p.media,
                "role": p.role,
                "list": p.is_list,
                "description": p.description,
            }
            for p in model.parameters.values()
        ],
        "params_schema": params_schema(model),
    }


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", (), {}, None)}
