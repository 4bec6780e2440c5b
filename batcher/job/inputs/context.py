"""What all sources of one planning share, and one of them as its kind is given it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs.size_reader import SizeReader, size_reader
from batcher.job.labels.categories import CategoryTable
from batcher.job.manifest import Manifest
from batcher.job.near_files import NearFiles
from batcher.job.sources import SourceContext
from batcher.job.sources.globs import ListedFile


class NewFiles(NamedTuple):
    """The files that a source has grown by since its last plan, and what there was to tell of all of them."""

    files: Sequence[ListedFile]
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class InputsContext:
    """The manifest; where what is wrong with its rows goes; how the size of a picture is read, and how a file
    is found whose name is spelled otherwise; the classes of its data sets, once their rows are read. Of the
    sources in `grown` (by number) only the rows of these files are wanted."""

    manifest: Manifest
    diagnostics: Diagnostics
    read_size: SizeReader = field(default_factory=size_reader)
    near_files: NearFiles = field(default_factory=NearFiles)
    categories: CategoryTable = field(default_factory=CategoryTable)
    grown: Mapping[int, NewFiles] = field(default_factory=dict)

    def source(self, index: int) -> SourceContext:
        """The source of that number (from 0)."""
        source = self.manifest.inputs[index]
        return SourceContext(
            value=source.value,
            key=("inputs", index, source.kind.KEY),
            file=str(self.manifest.path),
            folder=str(self.manifest.folder),
            may_be_empty=source.empty == "allow",
            diagnostics=self.diagnostics,
            near_files=self.near_files,
            categories=self.categories,
            place=self.manifest.problem,
        )
