"""Manifests from text, read as the program reads a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batcher.errors import ManifestError
from batcher.job.manifest import Manifest, examine_text

EVERY_KEY = """
name: streets
model: some-model
api: v1
inputs:
  - images: [../photos/**/*.jpg, s3://bucket/x/]
    companions: {mask: "../masks/{{ stem }}.png"}
    missing: skip
    filter: "{{ width >= 512 }}"
    sample: 100
    order: [label, -width]
    limit: 10
  - table: prompts.csv
  - dataset: ../pets
    order: label
  - rows: [{place: italy}, {place: japan}]
    empty: allow
combine: zip
matrix:
  season: [winter, summer]
  exclude: [{place: japan, season: summer}]
  include: [{season: winter, mood: calm}]
repeat: 2
seed: 42
params: {image: "{{ image }}", prompt: "in {{ place }}, {{ season }}", seed: "{{ seed }}", deep: [{a: 1}]}
checks: {blank: reject, size: off, unchanged: warn, duplicate: off, command: [python, judge.py]}
output: {dir: ../out/streets, name: "{{ stem }}-{{ repeat }}"}
limits: {rpm: none, metered: all, in_flight: 9, downloads: 3, max_cost: 25, max_duration: 2h}
retry:
  {attempts: 2, statuses: [502], backoff: {first: 500ms, max: 5m}, failed: 1, doubtful: hold, expired: fail}
poll: {every: 2s}
result_ttl: 7d
uploads: inline
price: 0.025
unchecked: [new_param]
"""
"""A manifest in which every section has every key."""


def parse(text: str, file: str, folder: Path, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest in `text`; `file` names it in problems, `folder` (absolute) is where its paths start.

    Raises ManifestError with every problem.
    """
    manifest, problems = examine_text(text, file, folder, overrides)
    if manifest is None or problems:
        raise ManifestError(problems)
    return manifest
