"""A manifest that is sound: one frozen value that says a whole job.

Rule: it is whole. Paths are resolved from its folder, durations are seconds, rates are per minute, money is
credits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, StrictStr

from batcher.errors import Problem
from batcher.job.manifest.given_data import GivenRows
from batcher.job.manifest.grammar import ManifestFile, SourceSpec
from batcher.job.sources.source_kind import resolve_path
from batcher.job.yaml_document import YamlDocument, deep_copy


class Manifest(ManifestFile):
    """One job, as its manifest says it. `path` is the file, `folder` (absolute) what its paths start from.

    Where the manifest's `output.dir` names a folder of an object store, `store` is that URL, and `output.dir`
    the folder of this machine where the job's ledger lies.
    """

    path: Path
    folder: Path
    store: StrictStr | None = None

    _document: YamlDocument | None = PrivateAttr(default=None)
    _rows: GivenRows | None = PrivateAttr(default=None)

    def problem(self, key: Sequence[str | int], message: str) -> Problem:
        """A Problem at a key of the manifest's file, with its line where it is known."""
        if self._document is None:
            return Problem(message, str(self.path), key=".".join(str(part) for part in key))
        return self._document.problem(key, message)

    def is_overridden(self, key: Sequence[str | int]) -> bool:
        """Whether an override (`--set`, an option) says the value at this key, or of what it lies in."""
        overrides = getattr(self._document, "overrides", {})
        return any(tuple(key[:length]) in overrides for length in range(1, len(key) + 1))

    @property
    def given_rows(self) -> GivenRows | None:
        """The rows that Python gave beside the manifest; None: there are none, or they are kept in a file."""
        return self._rows

    def with_rows_kept(self, table: Path) -> Manifest:
        """The same job with those rows in a table (absolute)."""
        assert self._rows is not None
        sources = list(self.inputs)
        sources[self._rows.index] = SourceSpec.model_validate({"table": str(table)})
        kept = self.model_copy(update={"inputs": tuple(sources)})
        kept._rows = None
        return kept

    def with_output(self, folder: Path) -> Manifest:
        """The same job with another output folder (absolute)."""
        return self.model_copy(update={"output": self.output.model_copy(update={"dir": folder})})

    def resolved(self) -> dict[str, Any]:
        """The manifest as plain data, every default spelled out and every path absolute; it loads again."""
        data = self.model_dump(mode="json", exclude={"path", "folder", "store"}, exclude_none=True)
        if self.limits.rpm is None:
            data["limits"]["rpm"] = "none"
        if self.limits.in_flight is None:
            data["limits"]["in_flight"] = "auto"
        if self.store is not None:
            data["output"]["dir"] = self.store
        # As they are: nulls in them are values.
        data["params"] = deep_copy(self.params)
        data["matrix"] = {name: list(values) for name, values in self.matrix}
        data["reuse"] = [self.resolve(folder) for folder in self.reuse]
        data["inputs"] = [self._resolved(source) for source in self.inputs]
        return data

    def _resolved(self, source: SourceSpec) -> dict[str, Any]:
        data = source.model_dump(mode="json", exclude_defaults=True)
        data[source.kind.KEY] = source.kind.resolved(source.value, self.resolve)
        if source.companions:
            data["companions"] = {name: self.resolve(text) for name, text in source.companions.items()}
        return data

    @property
    def pairs(self) -> bool:
        """Whether rows of several sources go side by side."""
        return self.combine == "zip" and len(self.inputs) > 1

    def resolve(self, path: str) -> str:
        """A path of the manifest as an absolute one; URLs and `-` pass unchanged."""
        return resolve_path(str(self.folder), path)

    def fingerprint(self) -> str:
        """A hash (hex) of everything in the manifest that the plan depends on."""
        keep = {"model", "inputs", "combine", "matrix", "repeat", "seed", "params", "unchecked", "folder"}
        data = self.model_dump(mode="json", include=keep)
        data["name"] = self.output.name
        return hashlib.sha256(json.dumps(data, ensure_ascii=True).encode()).hexdigest()
