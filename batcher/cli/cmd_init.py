"""init: a first manifest, written after one look at a folder, or after a few questions."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batcher.cli.echo import echo, echo_sentences, prompt
from batcher.cli.shared_options import Folder, model_slugs

if TYPE_CHECKING:
    from batcher.job.catalog import Model
    from batcher.job.starter import Surroundings

FILE = Path("job.yaml")
MANY = 30
"""Pictures; of more the first rehearsal takes a few."""
FEW = 3
NAMED = 5
"""Of those that are left out."""
LOOKED_INTO = 300
"""Pictures; of more it takes too long to see whether each can be read."""


@click.command("init", short_help="Write a first manifest for a model and a folder of pictures.")
@click.argument("model", required=False, shell_complete=model_slugs)
@click.argument("photos", required=False, type=Folder())
@click.option(
    "-o",
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The manifest; a file that is there is never overwritten. [job.yaml]",
)
def init_command(model: str | None, photos: Path | None, file: Path | None) -> int:
    """Write a first manifest for a model and a folder of pictures.

    Every parameter of the model stands in it with its range. Masks, label files and captions that lie
    beside the pictures are found; a dataset with labels (a COCO file, a data.yaml, a Pascal VOC folder) is
    read as one. At a terminal, what is not said is asked for.
    """
    if (model is None or photos is None) and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "MODEL and PHOTOS are missing, as in: batcher init sd1.5-img2img photos",
            click.get_current_context(),
        )
    from batcher.job import starter

    target = (file or FILE).absolute()
    _refuse_what_is_there(target, file)
    chosen = _find(model, target.parent) if model is not None else _ask_model(target.parent)
    found = starter.surroundings(str(photos) if photos is not None else _ask_photos())
    mask = target.with_name(f"{target.stem}-mask.png") if starter.needs_mask(chosen, found) else None
    drawn = mask is not None and _draw_mask(mask)
    _write(target, starter.draft(chosen, found, target, mask=mask))
    _tell_number(target, chosen, found)
    _tell(target, found, mask if drawn else None)
    return 0


def _refuse_what_is_there(target: Path, given: Path | None) -> None:
    from batcher.errors import UsageError

    if os.path.lexists(target):
        raise UsageError(f"{given or FILE} is there already, and stays as it is; -o FILE writes another")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}")


def _find(slug: str, folder: Path) -> Model:
    from batcher.errors import UsageError
    from batcher.job import catalog

    model = catalog.find(slug, folder)
    if model is None and (listing := catalog.kept_list()) is not None:
        listed = listing.models.get(slug)
        model = listed.model if listed is not None and listed.model.parameters else None
    if model is not None:
        return model
    if os.path.isdir(slug):
        raise UsageError(
            f"{slug} is a folder; the model comes first, as in: batcher init sd1.5-img2img {slug}"
        )
    raise catalog.unknown(slug, folder)


def _ask_model(folder: Path) -> Model:
    from batcher.cli.text_tables import numbered_models_table
    from batcher.job import catalog

    models = catalog.models(folder)
    numbered_models_table(models)

    def chosen(answer: str) -> Model:
        if answer.isdecimal() and 1 <= int(answer) <= len(models):
            return models[int(answer) - 1]
        by_slug = {model.slug: model for model in models}
        if answer in by_slug:
            return by_slug[answer]
        raise click.UsageError(f"there are 1 to {len(models)}")

    model: Model = prompt("Which model (its number)", chosen)
    return model


def _ask_photos() -> str:
    _complete_paths()

    def there(answer: str) -> str:
        from batcher.errors import UsageError
        from batcher.job import starter

        try:
            starter.surroundings(answer)
        except UsageError as error:
            raise click.UsageError(str(error)) from None
        return answer

    photos: str = prompt("Folder of your pictures", there)
    return photos


def _complete_paths() -> None:
    """The Tab key completes folders, where this Python has readline."""
    try:
        import readline
    except ImportError:
        return
    readline.set_completer_delims("")
    readline.set_completer(_completer())
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")


def _completer() -> Callable[[str, int], str | None]:
    def complete(begun: str, index: int) -> str | None:
        parent, name = os.path.split(begun)
        try:
            with os.scandir(os.path.expanduser(parent) or ".") as entries:
                found = sorted(one.name for one in entries if one.is_dir() and one.name.startswith(name))
        except OSError:
            return None
        return os.path.join(parent, found[index], "") if index < len(found) else None

    return complete


def _write(target: Path, text: str) -> None:
    from batcher.errors import UsageError

    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None


def _draw_mask(path: Path) -> bool:
    """A white middle on black, in place of a mask for each picture; False where such a file is there. Raises
    UsageError where it cannot be written."""
    from PIL import Image

    from batcher.errors import UsageError

    mask = Image.new("L", (512, 512), 0)
    mask.paste(255, (128, 128, 384, 384))
    try:
        with path.open("xb") as file:
            mask.save(file, "PNG")
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return True


def _tell_number(target: Path, model: Model, found: Surroundings) -> None:
    """How many pictures the manifest is for, as `batcher plan` counts them; of very many, which it takes a
    while to look into, how many are there."""
    from batcher.engine import load, outlook
    from batcher.errors import ManifestError
    from batcher.progress.summary import several

    shown = os.path.relpath(target)
    if found.number is None or found.number > LOOKED_INTO:
        number = "a dataset" if found.number is None else several(found.number, "file", "files")
        looks = f"`batcher plan {shlex.quote(shown)}` tells which can be used"
        echo(f"{shown} is written: {model.slug} for {number}; {looks}")
        return
    try:
        plan = outlook(manifest := load(target), manifest.output.dir)
    except ManifestError as error:
        echo(f"{shown} is written: {model.slug}")
        echo_sentences(["  it cannot run as it stands:", *error.lines])
        return
    echo(f"{shown} is written: {model.slug} for {several(plan.total, 'picture', 'pictures')}")
    echo_sentences([f"left out: {problem.lines[0]}" for problem in plan.left_out[:NAMED]])
    if plan.left_out_rows > NAMED:
        echo(f"and {plan.left_out_rows - NAMED:,} more")


def _tell(target: Path, found: Surroundings, mask: Path | None) -> None:
    shown = os.path.relpath(target)
    for name, companion in found.companions.items():
        some = "" if found.number is None else f" of the {found.number:,}"
        have = "all" if companion.number == found.number else f"{companion.number:,}{some}"
        echo(f"  {name}: {have} have one, {os.path.relpath(companion.template)}")
    if found.is_dataset:
        echo("  labels: those of the dataset, as columns of each picture")
    if mask is not None:
        told = (
            "mask: the model paints what is white in a mask, and no masks lie beside the pictures; "
            f"{mask.name}, white in its middle, stands for all of them until you put yours into masks/"
        )
        echo_sentences([told])
    echo("Look at it, write your own prompt, and rehearse, without a key and for nothing:")
    few = f" --limit {FEW}" if found.number is None or found.number > MANY else ""
    echo(f"batcher run {shlex.quote(shown)} --sandbox{few}")
