"""The card of a dataset, README.md: what is in it, how it was made, and how it loads.

    a head in YAML, as Hugging Face's hub and `datasets` read it; then Markdown, for people

Rule: it says nothing that nobody has counted, and the licence is for its owner to fill in. Texts of the data
are foreign: none of them makes a heading, a link, a tag or a key.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batcher.progress.printable import printable, printable_lines
from batcher.progress.summary import credits, several
from batcher.results.export.row_counts import RowCounts

CARD = "README.md"
OWN_METADATA = "metadata_"
"""How the metadata of one split begins that lie beside those of others."""
SHOWN = 200
"""Classes that the table lists; LVIS has 1203."""
LONGEST = 120
"""Characters of a name in it."""
LONGEST_PROMPT = 4_000
SIZES = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
)  # fmt: skip
"""The hub's words for how many rows there are."""
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$:@-])")


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split: its pictures by kind (`images`, `originals`, `masks`), what its rows hold, and the patterns
    of its files, relative to the dataset."""

    name: str
    files: Counter[str]
    rows: RowCounts
    patterns: Sequence[str]


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says. `prompts` are the templates of the job's prompts by parameter, `command` is what made
    the dataset; empty where nobody knows. `about` says what lies where, where that is not plain."""

    job: str
    splits: Sequence[SplitFacts]
    prompts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    about: str = ""


def card(facts: CardFacts) -> str:
    """The whole README.md."""
    whole = RowCounts()
    for split in facts.splits:
        whole.update(split.rows)
    # An empty split has no files, and readers fail on a pattern that finds none.
    there = [split for split in facts.splits if _rows(split)]
    parts = [
        _head(facts, there, whole),
        f"# {escaped(facts.job or 'Dataset')}",
        "Generated pictures and their originals (`is_original`), exported by batcher."
        if any(split.files["originals"] for split in there)
        else "Generated pictures, exported by batcher.",
        *([facts.about] if facts.about else []),
        "## Splits",
        _table(
            ("split", "generated", "originals", "masks"),
            [
                (split.name, *(f"{split.files[kind]:,}" for kind in ("images", "originals", "masks")))
                for split in there
            ],
        ),
        *_counted("## Objects by class", "class", {split.name: split.rows.classes for split in there}),
        *_counted("## Pictures by label", "label", {split.name: split.rows.labels for split in there}),
        "## How it was made",
        _table(
            ("model", "pictures"),
            [
                (escaped(name) or "not known", f"{number:,}")
                for name, number in sorted(whole.models.items(), key=lambda pair: (-pair[1], pair[0]))
            ],
        ),
        _cost(whole),
    ]
    for name, prompt in facts.prompts.items():
        parts += [f"Template of `{_code(name)}`:", fenced(prompt[:LONGEST_PROMPT])]
    if facts.command:
        parts += ["The dataset was written by:", fenced(facts.command, "sh")]
    parts += [
        "## Licence",
        "To be filled in, here and in `license:` above. The terms of the originals and of the models hold.",
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Foreign text as Markdown shows it: on one line, nothing of it markup, no longer than LONGEST."""
    flat = printable(text)
    if len(flat) > LONGEST:
        flat = f"{flat[: LONGEST - 1]}…"
    plain = _MARKUP.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    # Markdown takes `1.` for a list; `www.` and addresses without a scheme are links on GitHub.
    return plain.replace(".", "\\.").strip()


def fenced(text: str, language: str = "") -> str:
    """Foreign text as a block of code that nothing in it ends."""
    lines = printable_lines(text)
    longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{lines}\n{fence}"


def _code(name: str) -> str:
    return printable(name).replace("`", "'")


def _rows(split: SplitFacts) -> int:
    return split.files["images"] + split.files["originals"]


def _head(facts: CardFacts, splits: Sequence[SplitFacts], whole: RowCounts) -> str:
    """JSON's strings are YAML's too, and no text in quotes is a key, a number or `no`."""
    number = sum(map(_rows, splits))
    size = next((word for most, word in SIZES if number < most), "10M<n<100M")
    tasks = [
        word
        for word, there in (
            ("object-detection", whole.classes),
            ("image-classification", whole.labels),
            ("image-segmentation", any(split.files["masks"] for split in splits)),
        )
        if there
    ]
    lines = [
        "---",
        "license: unknown  # fill in, as in cc-by-4.0",
        f"pretty_name: {_quoted(printable(facts.job or 'Dataset'))}",
        *(["task_categories:", *(f"- {task}" for task in tasks)] if tasks else []),
        "tags:",
        "- synthetic",
        "size_categories:",
        f"- {size}",
    ]
    found = [split for split in splits if split.patterns]
    if found:
        lines += ["configs:", "- config_name: default"]
        # Where all splits share one folder, their metadata have names that readers have to be told.
        named = [pattern for split in found for pattern in split.patterns if pattern.startswith(OWN_METADATA)]
        if named:
            lines += ["  metadata_filenames:", *(f"  - {_quoted(name)}" for name in named)]
        lines.append("  data_files:")
    for split in found:
        lines += [f"  - split: {_quoted(split.name)}", "    path:"]
        lines += [f"    - {_quoted(pattern)}" for pattern in split.patterns]
    return "\n".join([*lines, "---"])


def _quoted(text: str) -> str:
    """YAML knows JSON's strings, but not its pairs of surrogates."""
    return json.dumps(text, ensure_ascii=False)


def _counted(heading: str, what: str, splits: Mapping[str, Counter[str]]) -> list[str]:
    """A table of names, a column for each split; nothing where there is no name."""
    whole: Counter[str] = Counter()
    for counts in splits.values():
        whole.update(counts)
    if not whole:
        return []
    names = sorted(whole, key=lambda name: (-whole[name], name))
    rows = [
        (escaped(name) or "not named", *(f"{counts[name]:,}" for counts in splits.values()))
        for name in names[:SHOWN]
    ]
    more = [f"And {len(names) - SHOWN:,} more."] if len(names) > SHOWN else []
    return [heading, _table((what, *splits), rows), *more]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|---" + "|---:" * (len(head) - 1) + "|"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def _cost(whole: RowCounts) -> str:
    priced = sum(whole.models.values()) - whole.unpriced
    if not priced:
        return "Their cost is not known."
    sentence = f"{several(priced, 'picture', 'pictures')} cost {credits(whole.cost / 1e6)} credits"
    if whole.unpriced:
        unknown = several(whole.unpriced, "other", "others")
        return f"{sentence}; of {unknown} it is not known."
    return f"{sentence}."
