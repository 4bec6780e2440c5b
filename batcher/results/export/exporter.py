"""export(): one job's delivered pictures into one folder, and what came of it.

Rule: what is there is never written over; a picture that cannot leave is named. An export that does not come
to its end leaves nothing behind.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import assert_never

from batcher import errors
from batcher.job.labels.categories import Category
from batcher.ledger import database, label_categories, mask_outside, prompt_templates
from batcher.progress.summary import several
from batcher.results.export.batches import OUTSIDE, TURNED, WrittenBatch, batches_of, clear, longest, written
from batcher.results.export.captions import Captions
from batcher.results.export.card import CARD, CardFacts, SplitFacts, card
from batcher.results.export.class_table import ClassTable
from batcher.results.export.coco import Coco
from batcher.results.export.columns import Columns
from batcher.results.export.dataset_labels import DatasetLabels
from batcher.results.export.exclusion import Exclusion
from batcher.results.export.export_options import ExportOptions, ExportResult, refuse_names
from batcher.results.export.first_reading import FirstReading
from batcher.results.export.imagefolder import ImageFolder, write
from batcher.results.export.items import ORIGINALS, ExportItem, ExportItems
from batcher.results.export.loading import LoadingOptions
from batcher.results.export.metadata_files import INSTANCE_MASK, MASK
from batcher.results.export.parquet import Parquet
from batcher.results.export.row_counts import RowCounts
from batcher.results.export.splits import Splits
from batcher.results.export.voc import Voc
from batcher.results.export.webdataset import WebDataset
from batcher.results.export.writer import OF_OBJECTS, UPRIGHT, ExportFormat, Writer
from batcher.results.export.yolo import Yolo
from batcher.storage import destination, layout
from batcher.storage.destination import disk
from batcher.storage.workers import Threads, Workers


def export(output: Path, options: ExportOptions, workers: Workers | None = None) -> ExportResult:
    """Exports the job whose output folder is `output`; works while it runs. `workers` look at the pictures,
    lay their masks and write them; what came of it is noted here.

    Raises UsageError (nothing was delivered yet, the folder is not empty or the workers do not see it, an
    extra is not installed), DiskError, LedgerError.
    """
    path = layout.ledger_path(output)
    if not path.exists():
        raise errors.UsageError(layout.nothing_run_text(output))
    captions = _captions(options)
    if options.resplit and options.splits is None:
        raise errors.UsageError("--resplit draws splits anew; --split says which, as in train=0.8,test=0.2")
    exclusion = Exclusion() if options.exclude is None else Exclusion.read(options.exclude)
    with (
        disk(options.into),
        database.disk_errors(path),
        closing(database.open_for_reading(path)) as connection,
        ExportItems(
            connection,
            destination.open_destination(database.meta(connection, "destination"), output),
            options.splits or Splits(),
            exclusion,
            originals=options.originals,
            resplit=options.resplit,
            current=options.current,
            labels=DatasetLabels(output, connection),
        ) as leaving,
    ):
        _refuse(options.into, output)
        connection.execute("BEGIN")  # one moment of the ledger, whatever a run beside writes
        made = _MadeBy(
            database.meta(connection, "job") or "",
            prompt_templates.noted(connection),
            mask_outside.noted(connection),
            label_categories.read(connection),
        )
        return _Export(options, leaving, exclusion, captions, workers or Threads()).run(made)


@dataclass(frozen=True, slots=True)
class _MadeBy:
    """The job, by its name, the templates of its prompts, what its masks say beside the source, and the
    classes of its data sets."""

    job: str
    prompts: Mapping[str, str]
    mask_outside: int | None
    categories: Sequence[Category]


class _Export:
    """One export under way."""

    def __init__(
        self,
        options: ExportOptions,
        leaving: ExportItems,
        exclusion: Exclusion,
        captions: Captions | None,
        workers: Workers,
    ) -> None:
        self.options = options
        self.workers = workers
        self.leaving = leaving
        self.exclusion = exclusion
        self.captions = captions
        self.files: dict[str, Counter[str]] = {}
        self.rows: dict[str, RowCounts] = {}
        self.missing: list[str] = []
        self.first = FirstReading(options.to in OF_OBJECTS)
        self.outside = options.mask_outside

    def run(self, made: _MadeBy) -> ExportResult:
        if self.outside is None:
            self.outside = made.mask_outside
        first = self.first
        for item in self.leaving.looked():
            first.learn(item)
        columns = first.columns
        if not columns.kinds():
            raise errors.UsageError(
                f"there is nothing to export as {self.options.to} ({first.unplaced})"
                if first.unplaced
                else "there is nothing to export: no picture is delivered, or all are excluded"
            )
        self._exclude_all()
        self._refuse_unlabelled()
        self._split()
        if self.captions is not None:
            self.captions.require(columns.kinds())
        writer = _writer(self.options, first, made.categories)
        with self._whole_or_nothing(writer), closing(writer):
            self._write(writer, columns)
            write(self.options.into / CARD, self._card(writer, made).encode())
        if self.workers.remote:
            clear(self.options.into)
        return self._exported(writer)

    def _exclude_all(self) -> None:
        """Raises UsageError where the user wants to leave out what is not there."""
        if self.exclusion.unmatched:
            self.leaving.know_rejected()
        unmatched = self.exclusion.unmatched
        if unmatched and not self.options.allow_missing:
            name = several(len(unmatched), "entry names", "entries name")
            raise errors.UsageError(
                f"--exclude: {name} no picture, in {self.options.exclude} (first: {unmatched[0]}); "
                "correct the file, or --allow-missing goes on without"
            )

    def _refuse_unlabelled(self) -> None:
        """Pictures of which nobody said that nothing is on them are no set of pictures without objects.
        Raises UsageError."""
        masked = not {MASK, INSTANCE_MASK}.isdisjoint(self.first.columns.kinds())
        if self.options.to in OF_OBJECTS and not self.first.objects.labelled and not masked:
            raise errors.UsageError(
                "there is nothing to train a detector with: no picture has labels (a column `boxes`, label "
                f"files, a mask), and --to {self.options.to} would call all of them empty; imagefolder, "
                "webdataset and parquet take pictures as they are"
            )

    def _split(self) -> None:
        """The splits are those of the rows, where they have some, else those that are asked for. Raises
        UsageError."""
        own, asked = self.leaving.own_splits.names, self.options.splits
        if own and asked is not None:
            raise errors.UsageError(
                f"--split: the rows have a split of their own ({', '.join(own)}), which an export keeps; "
                "leave --split out, or draw them anew with --resplit"
            )
        names = own or (asked or Splits()).names
        refuse_names(self.options.to, names)
        self.files = {name: Counter() for name in names}
        self.rows = {name: RowCounts() for name in names}

    @contextmanager
    def _whole_or_nothing(self, writer: Writer) -> Iterator[None]:
        """The folder is there, for all who write into it; what did not come to its end is taken away again,
        so that the same export can be asked for anew. Raises UsageError."""
        into = self.options.into
        made = [path for path in (into, *into.parents) if not path.exists()]
        try:
            into.mkdir(parents=True, exist_ok=True)
            self.workers.require_shared(into)
            yield
        except BaseException:
            # The folder was empty: what we make is ours; what else lies in it by now is not.
            clear(into)
            for folder in writer.tops(self.files):
                shutil.rmtree(into / folder, ignore_errors=True)
            for path in made:
                with suppress(OSError):
                    path.rmdir()
            raise

    def _write(self, writer: Writer, columns: Columns) -> None:
        kinds = columns.kinds()

        def offered(item: ExportItem) -> ExportItem:
            # Masks that no variant has are none of the dataset.
            mask = item.mask if MASK in kinds else None
            instances = item.instance_mask if INSTANCE_MASK in kinds else None
            return self._captioned(replace(item, mask=mask, instance_mask=instances))

        leads = batches_of(
            (writer.named(offered(item)) for item in self.leaving.leading(writer.leads)), (1, 0)
        )
        items = (
            writer.named(offered(item))
            for item in self.leaving.items(without=writer.leads)
            if self._may_leave(item)
        )
        pieces = chain(leads, batches_of(items, writer.largest))
        work = partial(
            written, writer.write, LoadingOptions(self.outside, UPRIGHT.get(self.options.to, "none"))
        )
        with (
            disk(self.options.into),  # a disk that is full is this one, not the ledger's
            closing(self.workers.map(work, pieces, longest=longest)) as batches,
        ):
            for batch in batches:
                self._take(writer, batch)
            writer.finish()

    def _may_leave(self, item: ExportItem) -> bool:
        """Not as a picture without objects where it has some that nobody can place."""
        if self.options.to not in OF_OBJECTS:
            return True
        wrong = item.unplaced
        if not wrong and not self.first.objects.knows(item):
            wrong = "its labels have changed since the export began; export again"
        if wrong:
            self.missing.append(f"{item.address}: {wrong}")
        return not wrong

    def _take(self, writer: Writer, found: WrittenBatch) -> None:
        self.missing += found.problems
        writer.take(found.split, found.written)
        self.files[found.split].update(found.counts)
        self.rows[found.split].update(found.rows)

    def _captioned(self, item: ExportItem) -> ExportItem:
        return item if self.captions is None else replace(item, caption=self.captions.of(item))

    def _card(self, writer: Writer, made: _MadeBy) -> str:
        splits = [
            SplitFacts(name, files, self.rows[name], writer.files(name)) for name, files in self.files.items()
        ]
        return card(CardFacts(made.job, splits, made.prompts, self.options.command, writer.about))

    def _exported(self, writer: Writer) -> ExportResult:
        notes = [*writer.notes, *(self.captions.notes if self.captions else ())]
        if unmatched := self.exclusion.unmatched:
            one = len(unmatched) == 1
            entries, name = ("1 entry", "names") if one else (f"{len(unmatched)} entries", "name")
            notes.append(f"{entries} of {self.options.exclude} {name} no picture (first: {unmatched[0]})")
        notes += filter(None, [self.leaving.corrected.sentence(), self.leaving.unread_labels])
        if number := self.leaving.left_plan:
            of_them = several(number, "picture is of a task", "pictures are of tasks")
            notes.append(f"{of_them} that the manifest has no more; --current leaves such pictures out")
        if self.options.to in OF_OBJECTS:
            notes += self.first.objects.notes
        elif unreadable := self.leaving.unreadable:
            leave = several(len(unreadable), "picture leaves", "pictures leave")
            notes.append(f"{leave} without boxes (first: {unreadable[0]})")
        splits = {name: files["images"] + files[ORIGINALS] for name, files in self.files.items()}
        counts = sum(self.files.values(), Counter[str]())
        notes += _notes_of_masks(counts, self.leaving.unplaced_masks)
        notes += [
            f"the mask {name}, which serves {several(number, 'picture', 'pictures')}, is no label of theirs, "
            "and left out; as a column `mask` it would be one"
            for name, number in self.leaving.shared_masks.items()
        ]
        own = self.leaving.own_splits
        notes += [
            f"the split {name} is empty: none of its pictures is delivered"
            if own.names
            else f"the split {name} is empty: too few source pictures for its share"
            for name, number in splits.items()
            if not number
        ]
        notes += own.notes
        return ExportResult(
            to=self.options.to,
            into=self.options.into,
            pictures=counts["images"],
            originals=counts[ORIGINALS],
            masks=counts["masks"],
            captions=None if self.captions is None else self.captions.number,
            splits=splits,
            excluded=self.leaving.excluded,
            missing=tuple(self.missing),
            notes=tuple(notes),
        )


def _notes_of_masks(counts: Mapping[str, int], unplaced: int) -> Iterator[str]:
    """What a reader should know of masks and of turned originals, where there are some."""
    said = {name.removeprefix(OUTSIDE): number for name, number in counts.items() if name.startswith(OUTSIDE)}
    if said:
        values = " and ".join(
            f"{value} ({several(number, 'mask', 'masks')})" for value, number in sorted(said.items())
        )
        yield f"where the source does not lie, masks say {values}; --mask-outside N says it otherwise"
    if turned := counts.get(TURNED):
        leave = several(turned, "original leaves", "originals leave")
        yield f"{leave} upright, encoded anew: EXIF turned what its labels do not"
    if unplaced:
        leave = several(unplaced, "mask is", "masks are")
        yield f"{leave} left out: where the source lies in the picture is not known"


def _refuse(into: Path, output: Path) -> None:
    for ours in (output / "images", output / ".batcher"):
        if into.absolute().is_relative_to(ours):
            raise errors.UsageError(f"{ours} is the job's own; export to another folder")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise errors.UsageError(
            f"{into} is not empty, and an export writes over nothing; remove it or choose another folder"
        )


def _captions(options: ExportOptions) -> Captions | None:
    """Raises UsageError."""
    if options.captions is None:
        return None
    if options.to == ExportFormat.PARQUET:
        raise errors.UsageError(
            "--captions writes files beside pictures, and parquet has none; its column prompt has the texts"
        )
    return Captions(options.captions)


def _writer(options: ExportOptions, first: FirstReading, categories: Sequence[Category]) -> Writer:
    columns, showing = first.columns, first.showing
    classes = ClassTable(categories, first.objects.classes)
    match options.to:
        case ExportFormat.IMAGEFOLDER:
            return ImageFolder(options.into, columns, showing)
        case ExportFormat.WEBDATASET:
            return WebDataset(options.into, columns, first.leading, first.suffix)
        case ExportFormat.PARQUET:
            return Parquet(options.into, columns)
        case ExportFormat.COCO:
            return Coco(options.into, columns, showing, classes)
        case ExportFormat.YOLO:
            return Yolo(options.into, columns, showing, classes, outlined=first.objects.outlined)
        case ExportFormat.VOC:
            return Voc(options.into, columns, showing, classes)
        case _:
            assert_never(options.to)
