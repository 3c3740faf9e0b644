"""SNLI, MultiNLI and XNLI as they are published: pairs of sentences, each with its parse trees, and
the label on which most annotators agreed.

Sources: https://nlp.stanford.edu/projects/snli, https://cims.nyu.edu/~sbowman/multinli,
https://github.com/facebookresearch/XNLI.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from onelayer.data.table import Record, Table

LABEL = "gold_label"
SENTENCES = ("sentence1", "sentence2")
PARSES = tuple(f"{sentence}_{kind}" for sentence in SENTENCES for kind in ("parse", "binary_parse"))
ANNOTATORS = frozenset(f"label{i}" for i in range(1, 6))
"""The columns of the annotators' labels, the last ones of a tab-separated file."""
NO_LABEL = {
    "-": f"no label, as its annotators didn't agree ({LABEL} is -)",
    "hidden": f"no label, as it belongs to a contest ({LABEL} is hidden)",
}
"""What stands for a label that a row doesn't have, and why; ``hidden`` is MultiNLI's open test."""
TRANSLATED = {"premise", "hypo", "label"}
"""The columns of MultiNLI's training set in the languages of XNLI, ``multinli.train.zh.tsv``."""
CONTRADICTION = {"contradictory": "contradiction"}
"""A label's name in these files, and in all others: a model that learned from the one is scored on
the others."""


def of_inference_pairs(table: Table) -> Table | None:
    """The same rows; those without a label are void, so they are predicted but not learned from.
    The parse trees aren't copied next to predictions, and a label has the same name in all sets.
    None for a table of another origin."""
    if set(table.columns) == TRANSLATED:
        return replace(table, read=lambda: _translated(table))
    if not _are_published(table.columns):
        return None
    kept = tuple(column for column in table.columns if column not in PARSES)
    return replace(table, read=lambda: _pairs(table), kept_columns=kept)


def fewest_fields(columns: Sequence[str]) -> int:
    """The fields that a row of a table with these columns has at least: a published pair may lack
    the labels of annotators that it didn't have."""
    fewest = len(columns)
    if _are_published(columns):
        while columns[fewest - 1] in ANNOTATORS:
            fewest -= 1
    return fewest


def _are_published(columns: Collection[str]) -> bool:
    return {LABEL, *SENTENCES, *PARSES} <= set(columns)


def _pairs(table: Table) -> Iterator[Record]:
    for record in table:
        label = record.values.get(LABEL)
        if isinstance(label, str) and (why := NO_LABEL.get(label.strip())):
            record = replace(record, void=why)
        yield record


def _translated(table: Table) -> Iterator[Record]:
    for record in table:
        label = record.values.get("label")
        if isinstance(label, str) and (name := CONTRADICTION.get(label.strip())):
            repair = f"label {label.strip()!r} is read as {name!r}, its name in XNLI's other files"
            values = {**record.values, "label": name}
            record = replace(record, values=values, repairs=(*record.repairs, repair))
        yield record
