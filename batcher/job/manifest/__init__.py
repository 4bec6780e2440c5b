"""YAML -> Manifest: one frozen value that says a whole job.

    examine(Path("jobs/demo.yaml"))                  the manifest, and everything that is wrong with it
    examine(path, ["limits.rpm=120"])                with `--set` laid over it
    examine_mapping({"model": ...}, folder)          the same of a mapping

reader.py        a manifest's file -> Manifest, or its problems
given_data.py    mappings, DataFrames and PIL images, as Python gives them
overrides.py     `--set key=value`: values laid over a file
grammar.py       every key, its type, its default, and what it says to people
field_types.py   the types of a manifest's values
durations.py     `500ms 2s 5m 1h 7d` and seconds
checks.py        what goes together: templates and variables, excludes and axes, values and the model
draws.py         whether another try would be another picture
variables.py     the variables that templates may name, as far as the manifest tells
templates.py     `{{ }}`: compiled once, rendered for each row
template_sandbox.py   where they run, and end
manifest.py      the Manifest
schema.py        the JSON Schema, drawn from the grammar

Rule: all that is wrong with a manifest is told at once, with file, line and key, in plain words.
"""

from __future__ import annotations

from batcher.job.manifest.durations import seconds
from batcher.job.manifest.given_data import GivenRows, is_picture, plain_rows
from batcher.job.manifest.grammar import (
    Backoff,
    Limits,
    ManifestFile,
    Matrix,
    OutputSettings,
    Poll,
    Retry,
    SourceSpec,
)
from batcher.job.manifest.manifest import Manifest
from batcher.job.manifest.reader import MAPPING, examine, examine_mapping, examine_text, further

__all__ = [
    "MAPPING",
    "Backoff",
    "GivenRows",
    "Limits",
    "Manifest",
    "ManifestFile",
    "Matrix",
    "OutputSettings",
    "Poll",
    "Retry",
    "SourceSpec",
    "examine",
    "examine_mapping",
    "examine_text",
    "further",
    "is_picture",
    "plain_rows",
    "seconds",
]
