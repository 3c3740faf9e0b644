"""What a label means, in the user's words. A description is learned like a row with that label:
with eight rows a label, a good one is worth about as many rows again."""

from __future__ import annotations

from dataclasses import replace

from onelayer.base.errors import Place, UsageError
from onelayer.data.in_memory import Source, source_name
from onelayer.data.readers import open_table
from onelayer.data.table import Table
from onelayer.nn.heads import HEADS
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask
from onelayer.tasks.labelled import Say, read_labelled
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

COPIES = 2
"""How often a description is learned for each time that a row is. If it grows, rows count for
less."""


def read_descriptions(
    source: Source, task: AnyTask, recipe: Recipe, tokenizer: Tokenizer, say: Say
) -> Encodings:
    """The encodings of a file with descriptions of labels, one or several of each.

    The file is a labelled one: its texts are the descriptions. Raises UsageError for tasks without
    labels of whole texts, and DataError for labels that the rows don't have.
    """
    head = HEADS[task.head]
    if head.classes is None or not head.pooled:
        raise UsageError(
            f"--describe: {task.name} has no labels of whole texts",
            hint="leave it out; it is for classify",
        )
    # The columns that the user named are those of the rows.
    reading = replace(recipe, text=None, pair=None, label=None, task=task.name)
    label, text = _columns(open_table(source, reading), task)
    reading = replace(reading, label=label, text=text)
    _, _, rows = read_labelled(source, reading, say, kind=type(task))
    labels = {label for row in rows for label in task.classes(row)}
    plural = "descriptions" if len(rows) > 1 else "description"
    say(f"{source_name(source)}: {len(rows)} {plural} of {len(labels)} labels, learned like rows")
    encodings = task.encode(rows, tokenizer, labelled=True)
    if encodings.has_pairs:
        raise UsageError("a description is one text, not a pair", place=Place(source_name(source)))
    return encodings


def _columns(table: Table, task: AnyTask) -> tuple[str | None, str | None]:
    """The columns of label and text, where there are two: few short texts don't tell by themselves
    that they are texts. The label's is the one with the most known labels, else the first."""
    if len(table.columns) != 2:
        return None, None
    rows, known = [record.values for record in table], set(task.outputs)
    counts = [sum(str(row.get(name)) in known for row in rows) for name in table.columns]
    label, text = table.columns if counts[0] >= counts[1] else reversed(table.columns)
    return label, text
