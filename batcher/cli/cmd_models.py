"""models: the catalogue, one model, and the provider's own list."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_json
from batcher.cli.shared_options import BASE_URL, JSON, model_slugs, option

if TYPE_CHECKING:
    from batcher.job.catalog import Model
    from batcher.job.catalog.provider_list import ProviderList


@click.command("models", short_help="List the models of the catalogue, or show one.")
@click.argument("slug", required=False, shell_complete=model_slugs)
@option("--refresh", is_flag=True, help="Fetch the provider's list of models first, and keep it.")
@BASE_URL
@JSON
def models_command(slug: str | None, refresh: bool, base_url: str | None, as_json: bool) -> int:
    """List the models of the catalogue, or show one with all its parameters.

    With the provider's list, which --refresh keeps on this machine, other models are known too: `plan` and
    `run` warn of one that is retired, and of parameters that differ.
    """
    from batcher.job.catalog import provider_list

    if refresh:
        _refresh(base_url)
    listing = provider_list.kept_list()
    if slug is None:
        _list(listing, as_json=as_json)
    else:
        _show(slug, listing, as_json=as_json)
    return 0


def _refresh(base_url: str | None) -> None:
    import asyncio

    from batcher.api import account
    from batcher.api.model_list import fetch_model_list
    from batcher.errors import ModelListUnavailable
    from batcher.job.catalog import provider_list

    endpoints = account.endpoints(base_url=base_url)
    models = provider_list.read_list(asyncio.run(fetch_model_list(endpoints)))
    if not models:
        raise ModelListUnavailable(
            f"what {endpoints.history} answers is no list of models; nothing has changed"
        )
    today = datetime.fromtimestamp(time.time(), UTC).date()  # noqa: TID251  # the wall clock of a record
    path = provider_list.keep_list(models, as_of=today.isoformat(), source=endpoints.history)
    retired = sum(one.retired is True for one in models.values())
    echo(f"{len(models):,} models, {retired:,} of them retired, are kept in {path}", err=True)


def _list(listing: ProviderList | None, *, as_json: bool) -> None:
    from batcher.job import catalog

    folder = Path.cwd()
    found = catalog.models(folder)
    known = {model.slug for model in found}
    if as_json:
        from batcher.cli.model_json import short_json

        shown = [short_json(model, _origin(model), listing) for model in found]
        for slug, listed in sorted(listing.models.items()) if listing is not None else ():
            if slug not in known:
                shown.append(short_json(listed.model, "list", listing))
        echo_json(shown)
        return
    from batcher.cli.text_tables import listed_table, models_table

    models_table(found)
    if listing is not None and listing.models.keys() - known:
        listed_table(listing, known)


def _show(slug: str, listing: ProviderList | None, *, as_json: bool) -> None:
    from batcher.job import catalog
    from batcher.job.catalog.provider_list import retired_text

    model, listed = catalog.find(slug, Path.cwd()), listing.models.get(slug) if listing is not None else None
    if model is None and listed is None:
        raise catalog.unknown(slug, Path.cwd())
    shown = model or (listed.model if listed is not None else None)
    assert shown is not None
    if as_json:
        from batcher.cli.model_json import whole_json

        echo_json(whole_json(shown, "list" if model is None else _origin(shown), listing))
        return
    from batcher.cli.text_tables import model_table

    notes = [retired_text(slug, listing)]
    if model is None and listing is not None:
        notes.append(f"not in the catalogue: this is what the provider's list of {listing.as_of} tells")
    model_table(shown, "; ".join(note for note in notes if note))


def _origin(model: Model) -> str:
    from batcher.job import catalog

    return "catalogue" if catalog.find(model.slug) == model else "file"
