"""The digest of a file that a task names: what it is known by.

Rule: files of this disk are looked at, and remembered by size and time; a store says what is in its own.
"""

from __future__ import annotations

from collections.abc import Callable

from batcher.engine import uploads
from batcher.ledger.plan_caches import DigestCache
from batcher.storage import stores
from batcher.storage.addresses import is_stored
from batcher.storage.source_errors import machine_error


def file_digest(digests: DigestCache) -> Callable[[str], str]:
    """Gives the sha256 (hex) of a file, or an object, by its absolute path; it raises OSError, BadDownload,
    and what ends a run where the machine is at fault."""

    def digest(path: str) -> str:
        if not is_stored(path):
            try:
                return digests.of(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise
            except OSError as error:
                if (of_machine := machine_error(path, error)) is not None:
                    raise of_machine from error
                raise
        if not stores.dataset_cells.is_cell(path):
            uploads.check_size(stores.stat(path).size)
        return stores.digest(path)

    return digest
