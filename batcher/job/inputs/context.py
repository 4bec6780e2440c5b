"""What all sources of one planning share, and one of them as its kind is given it."""

from __future__ import annotations

from dataclasses import dataclass, field

from batcher.job.diagnostics import Diagnostics
from batcher.job.inputs.size_reader import SizeReader, size_reader
from batcher.job.labels.categories import CategoryTable
from batcher.job.manifest import Manifest
from batcher.job.near_files import NearFiles
from batcher.job.sources import SourceContext


@dataclass(frozen=True, slots=True)
class InputsContext:
    """The manifest; where what is wrong with its rows goes; how the size of a picture is read, and how a file
    is found whose name is spelled otherwise; the classes of its data sets, once their rows are read."""

    manifest: Manifest
    diagnostics: Diagnostics
    read_size: SizeReader = field(default_factory=size_reader)
    near_files: NearFiles = field(default_factory=NearFiles)
    categories: CategoryTable = field(default_factory=CategoryTable)

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
