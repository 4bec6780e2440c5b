"""Model files: where they are, and how one becomes a Model.

Shipped models lie beside this module, one `<slug>.yaml` each. A user adds a model, or replaces a
shipped one, with a file of the same form in the manifest's folder or in `models/` there: any `*.yaml`
or `*.yml` that has both `slug:` and `parameters:` at the start of a line. Its name does not matter.

Rule: a file that is wrong says where and what, everything at once, and is never half used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from batcher.errors import ManifestError, Problem, UsageError
from batcher.job.catalog.model import Model
from batcher.job.catalog.provider_list import kept_list
from batcher.job.wording import nearest
from batcher.job.yaml_document import MAX_BYTES, read_value, read_yaml

SHIPPED = Path(__file__).parent


def find(slug: str, folder: Path | None = None) -> Model | None:
    """The model of that slug, or None; one in `folder` wins over a shipped one.

    Raises ManifestError when the file that holds it is wrong, or when two files of `folder` do.
    """
    own = [(path, text) for path, text, theirs in _candidates(folder) if theirs in (slug, None)]
    beside = _read_all(own)
    return beside[slug] if slug in beside else _shipped().get(slug)


def models(folder: Path | None = None) -> list[Model]:
    """All models by slug, those in `folder` included.

    Raises ManifestError with every problem of every model file in `folder`.
    """
    own = _read_all([(path, text) for path, text, _ in _candidates(folder)])
    return [model for _, model in sorted({**_shipped(), **own}.items())]


def unknown(slug: str, folder: Path | None = None) -> UsageError:
    """What to say of a model of which nothing is known."""
    listing = kept_list()
    known = [known.slug for known in models(folder)]
    near = nearest(slug, [*known, *(listing.models if listing is not None else ())])
    more = "" if listing is not None else ", and `batcher models --refresh` fetches the provider's list"
    hint = f"; did you mean {near}?" if near else f"; `batcher models` lists them{more}"
    return UsageError(f"{slug} is not in the catalogue{hint}")


@cache
def _shipped() -> dict[str, Model]:
    """The shipped ones are sound, a test sees to that: they are not checked each time, which takes longer."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*.yaml")))
    shipped = [Model.from_data(read_yaml(text, "").data) for text in texts]
    return {model.slug: model for model in shipped}


def _read_all(files: list[tuple[Path, str]]) -> dict[str, Model]:
    if not files:
        return {}
    from batcher.job.catalog.model_file import read  # with pydantic, which most look-ups can do without

    models: dict[str, Model] = {}
    paths: dict[str, Path] = {}
    problems: list[Problem] = []
    for path, text in files:
        try:
            model = read(text, str(path))
        except ManifestError as error:
            problems.extend(error.problems)
            continue
        if model.slug in models:
            also = paths[model.slug]
            problems.append(
                Problem(f"{model.slug} is described in {also} too; keep one", str(path), key="slug")
            )
        models[model.slug], paths[model.slug] = model, path
    if problems:
        raise ManifestError(problems)
    return models


def _candidates(folder: Path | None) -> Iterator[tuple[Path, str, str | None]]:
    """Model files of a manifest's folder: path, text, and the slug they claim (None: not plainly said).

    Manifests and foreign files live in the same folder: only what looks like a model file is one, and
    only that may be an error.
    """
    if folder is None:
        return
    for path in sorted(_yaml_files(folder)):
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1).decode("utf-8-sig", errors="replace")
        except OSError:
            continue
        slug = _SLUG.search(text)
        if slug and _PARAMETERS.search(text):
            yield path, text, _scalar(slug[1])


_SLUG = re.compile(r"^slug[ \t]*:(.*)$", re.MULTILINE)
_PARAMETERS = re.compile(r"^parameters[ \t]*:", re.MULTILINE)


def _yaml_files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "models"):
        for pattern in ("*.yaml", "*.yml"):
            yield from (path for path in place.glob(pattern) if path.is_file())


def _scalar(text: str) -> str | None:
    try:
        value = read_value(text)
    except ManifestError:
        return None
    return value if isinstance(value, str) and value else None
