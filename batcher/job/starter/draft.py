"""The text of a first manifest.

Rule: every line that is on has to be there, or says what the model does to the picture; every other
parameter of the model is a comment with its range.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batcher.errors import ManifestError
from batcher.job.catalog import Model, Parameter, values_text
from batcher.job.starter.surroundings import CAPTION, LABELS, MASK, Surroundings
from batcher.job.yaml_document import read_value

COLUMN = 36
"""Where remarks begin."""
WIDTH = 108
LARGEST_SEED = 2**32 - 1
"""Of `{{ seed }}`."""
SEED = 42
PROMPT = "a photograph"
"""Where a model's page has no example."""
GUIDE = """\
{headline}
#
#   batcher plan {file}              what it would make and cost; nothing is sent
#   batcher run {file} --sandbox     a rehearsal on this machine: no key, no cost
#   batcher run {file} --limit 3     three real pictures; without --limit, the rest
#
# A line that begins with # is off. The words in double braces are columns of each picture: image, stem,
# name, folder. All keys: `batcher schema`, or the table in README.md.
"""


def needs_mask(model: Model, surroundings: Surroundings) -> bool:
    """Whether the model takes a mask that is not there: one mask for all pictures is to be drawn."""
    masks = [p for p in model.parameters.values() if p.media == "mask" and p.required]
    return bool(masks) and MASK not in surroundings.companions


def draft(model: Model, surroundings: Surroundings, file: Path, *, mask: Path | None = None) -> str:
    """A manifest for `file` (absolute, as every path here) that makes each of the pictures with the model.

    `mask`: the one mask of all pictures, where `needs_mask`.
    """
    folder = str(file.parent)
    title = "" if model.title == model.slug else f" ({_plain(model.title)})"
    lines = [f"model: {_scalar(model.slug)}", "", *_inputs(model, surroundings, folder)]
    seeded = _seed(model)
    if seeded:
        lines += ["", _with_remark(f"seed: {SEED}", "gives each picture a seed of its own, always the same")]
    lines += [
        "",
        "params:",
        *_params(model, surroundings, None if mask is None else _relative(str(mask), folder)),
    ]
    if surroundings.name:
        lines += ["", "output:", f"  name: {_quoted(surroundings.name)}"]
    lines += [
        "",
        "limits:",
        _with_remark("  rpm: 60", "requests a minute: your account's limit"),
        _with_remark("  # max_cost: 5", "credits (1 is 1 US dollar): stops before more is spent"),
    ]
    headline = f"# {model.slug}{title}, written by `batcher init`."
    return "\n".join([GUIDE.format(headline=headline, file=_plain(file.name)), *lines, ""])


def _inputs(model: Model, found: Surroundings, folder: str) -> Iterator[str]:
    source = _relative(found.source, folder)
    if os.path.isdir(found.source):
        source = f"{source}/"
    yield "inputs:"
    yield f"  {'dataset' if found.is_dataset else 'images'}: {_quoted(source)}"
    if found.filter:
        yield _with_remark(f"  filter: {_quoted(found.filter)}", "the masks among the pictures are none")
    if not found.companions:
        return
    yield "  companions:"
    lacking, needed = False, any(p.media == "mask" and p.required for p in model.parameters.values())
    for name, companion in found.companions.items():
        remark = {MASK: "the mask of each", LABELS: "its boxes, which are carried along"}.get(
            name, "its text"
        )
        yield _with_remark(f"    {name}: {_quoted(_relative(companion.template, folder))}", remark)
        lacking |= companion.number != found.number and name != LABELS
    if lacking and needed:
        yield _with_remark("  missing: skip", "a picture without one is left out; or: error, empty")
    elif lacking:
        yield _with_remark("  missing: empty", "a picture may lack one; or: error, skip")


def _params(model: Model, found: Surroundings, mask: str | None) -> Iterator[str]:
    shaping = model.geometry.parameters if model.geometry is not None else ()
    ordered = sorted(model.parameters.values(), key=lambda one: not (one.required or one.name in shaping))
    for parameter in ordered:
        name = parameter.name
        text, remark = _value(parameter, model, found, mask)
        on = parameter.required or name in shaping or (parameter.role == "seed" and _seed(model))
        said = "; ".join(part for part in (remark, _plain(parameter.description).rstrip(".")) if part)
        yield _with_remark(f"  {'' if on else '# '}{_scalar(name)}: {text}", said)


def _value(parameter: Parameter, model: Model, found: Surroundings, mask: str | None) -> tuple[str, str]:
    """What stands at a parameter, and what is said of it before its own description."""
    values = values_text(parameter)
    if parameter.media == "mask":
        text = '"{{ mask }}"' if MASK in found.companions or mask is None else _quoted(mask)
        return text, "white is painted anew" if mask is None else "one mask for all: white is painted anew"
    if parameter.media:
        return '["{{ image }}"]' if parameter.is_list else '"{{ image }}"', "the picture"
    if parameter.role == "seed" and _seed(model):
        return '"{{ seed }}"', values
    if parameter.name == "prompt" and CAPTION in found.companions:
        return f'"{{{{ {CAPTION} }}}}"', "the text beside each picture"
    value, remark = _example(parameter, model)
    return (f"[{_scalar(value)}]" if parameter.is_list else _scalar(value)), values or remark


def _example(parameter: Parameter, model: Model) -> tuple[Any, str]:
    """A value that the model takes, and where it is from where its range does not say so."""
    example = model.example.get(parameter.name)
    in_example = example is not None and not isinstance(example, list | dict)
    wanted = parameter.required or (model.geometry and parameter.name in model.geometry.parameters)
    if in_example and "{" not in str(example) and (wanted or parameter.default is None):
        yours = parameter.required and parameter.type == "string"
        return example, "the model page's example: write your own" if yours else ""
    if parameter.default is not None:
        return parameter.default, ""
    if parameter.allowed:
        return parameter.allowed[0], ""
    if parameter.type == "string":
        return PROMPT if parameter.required else "", "write your own" if parameter.required else ""
    if parameter.type == "boolean":
        return False, "true or false"
    return parameter.minimum if parameter.minimum is not None else min(1, parameter.maximum or 1), ""


def _seed(model: Model) -> bool:
    """Whether the model has a seed that takes every value of `{{ seed }}`."""
    seed = model.parameters.get(model.seed or "")
    return seed is not None and not seed.allowed and (seed.maximum is None or seed.maximum >= LARGEST_SEED)


def _relative(path: str, folder: str) -> str:
    relative = os.path.relpath(path, folder)
    return f"./{relative}" if relative.startswith(("~", "-")) else relative


def _with_remark(line: str, remark: str) -> str:
    """The line, and beside it what is said of it, folded below itself."""
    first, *more = textwrap.wrap(remark, WIDTH - COLUMN - 4) or [""]
    if not first:
        return line
    return "\n".join([f"{line:<{COLUMN}}  # {first}", *(f"{'':<{COLUMN}}  # {one}" for one in more)])


def _scalar(value: Any) -> str:
    """A value as YAML: text without quotes where it is read back as that text."""
    if isinstance(value, str) and _BARE.fullmatch(value) and " #" not in value:
        try:
            if read_value(value) == value:
                return value
        except ManifestError:
            pass
    return _quoted(value)


_BARE = re.compile(r"[A-Za-z0-9](?:[\w ,.*/+-]*[\w.*/+-])?", re.ASCII)


def _quoted(value: Any) -> str:
    """As JSON; what YAML may not hold as it is (DEL, a byte order mark) in YAML's own escapes."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)


def _plain(text: str) -> str:
    """Foreign text that may stand in a comment."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
