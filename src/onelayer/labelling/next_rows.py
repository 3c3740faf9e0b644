"""Which rows of an unlabelled file to label next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, Unpack

import numpy as np

from onelayer.base.disk import check_output, rewrite
from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table, short_figure
from onelayer.base.wording import RowPlace, Say, clipped, silent, where
from onelayer.data.in_memory import Source, TableLike, source_of
from onelayer.labelling.diverse_rows import Floats, choose_rows
from onelayer.labelling.labelling_files import labelling_file
from onelayer.labelling.pool import Pool
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import ColumnNames, Columns
from onelayer.tasks.suggestions import Suggestion
from onelayer.tokens.encodings import Ints

MOST_READ = 10_000
"""Rows of a file that the model reads, unless the user wants more. Reading takes nearly all of the
time; among that number there are enough doubtful rows to choose from."""
READ_PER_CHOSEN = 20
"""The model reads at least this number of rows for each that is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRow:
    """A row to label."""

    line: int | None = None
    id: int | str | None = None
    """The row's id, in formats where lines don't identify rows."""
    text: str
    """The beginning of its texts."""
    doubt: float
    """How unsure the model is of it, from 0 to 1; 1 for all rows where a task doesn't tell."""
    suggestion: Suggestion
    """The label that the model would give it."""
    values: Mapping[str, Any]
    """All its columns."""

    @property
    def place(self) -> RowPlace:
        return {"line": self.line} if self.line is not None else {"id": self.id}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NextRows(Result):
    """The rows of an unlabelled file that are worth most as training rows, the most doubtful
    first."""

    run: str
    file: str
    rows: tuple[NextRow, ...]
    free: int
    """Rows without a label that repeat no other one."""
    read: int
    """How many of these the model has read."""
    out: str | None = None
    """The file that the rows were written to."""

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                **row.place,
                "text": row.text,
                "doubt": float(f"{row.doubt:.7g}"),
                "suggestion": row.suggestion.cell,
                "values": dict(row.values),
            }
            for row in self.rows
        ]
        found = {"run": self.run, "file": self.file, "rows": rows, "free": self.free}
        return {**found, "read": self.read, **({"out": self.out} if self.out else {})}

    def parts(self) -> list[str | Table]:
        where_to = f" in {self.out}" if self.out else ""
        head = f"{len(self.rows):,} of {self.free:,} rows to label next{where_to}"
        lines = [["", "doubt", "suggestion", "text"]]
        for row in self.rows:
            place = str(row.line if row.line is not None else row.id)
            cell = clipped(str(row.suggestion.cell), 30)
            lines.append([place, short_figure(row.doubt), cell, clipped(row.text, 80)])
        return [head, lines]


def next_rows(
    run: str | Path | Predictor,
    file: str | Path | TableLike,
    *,
    n: int = 50,
    labelled: str | Path | TableLike | None = None,
    most_read: int | None = None,
    seed: int = 1,
    out: str | Path | BinaryIO | None = None,
    format: Literal["csv", "label-studio"] | None = None,
    engine: str | None = None,
    say: Say = silent,
    **columns: Unpack[ColumnNames],
) -> NextRows:
    """Choose the rows of an unlabelled file that are worth most as training rows.

    The model reads the rows, and among those that it is unsure of, rows are chosen that differ
    from each other. Rows with equal texts, with a label, or that the run was trained on are left
    out.

    Parameters
    ----------
    run
        A model directory, or a loaded model.
    file
        A file with texts, or such rows: see `TableLike`. Its columns are named as in training, or
        found.
    n
        How many rows to choose.
    labelled
        Rows that are labelled already; by default the training file, if it is where it was.
    most_read
        Rows that the model reads of a large file, drawn at random; by default 10,000, or 20 for
        each row to choose.
    seed
        Seed of what is drawn.
    out
        The file or binary stream to write. By default nothing is written, and the rows are
        returned.
    format
        ``csv``: all columns, an empty one for the label, and the suggestion. ``label-studio``: its
        tasks with predictions, in JSON. By default from the suffix of ``out``, else csv.
    engine
        The engine of an exported model; by default the fastest one installed.
    say
        Called with each remark, a line of text.
    columns
        Fields of `Columns`, such as ``text="review"``; ``label`` names the column to fill in.

    Returns
    -------
    NextRows
        The rows, the most doubtful first, with what the model suggests.

    Raises
    ------
    DataError
        For a row that can't be used, unless ``skip_bad``, and for a file with no row to choose.
    UsageError, CheckpointError
        For options that don't fit the model, and a model that can't be read.
    """
    check_numbers(n, most_read)
    form = labelling_file(format, out)
    target = Path(out) if isinstance(out, (str, Path)) else out
    if isinstance(target, Path):
        check_output(target)
    predictor = load(run, engine) if isinstance(run, (str, Path)) else run
    pool = Pool.open(predictor, source_of(file), Columns(**columns), say)
    form.check(pool)
    known = None if labelled is None else source_of(labelled)
    found = _choose(pool, known, n, most_read or MOST_READ, seed)
    if target is None:
        return found
    return _written(found, form.text(pool, found.rows), target)


def _choose(pool: Pool, labelled: Source | None, n: int, most_read: int, seed: int) -> NextRows:
    rng = np.random.default_rng((seed, 0x1AB))
    free = pool.unlabelled(labelled)
    read = _drawn(free, max(most_read, READ_PER_CHOSEN * n), rng)
    if len(read) < len(free):
        pool.say(f"the model reads {len(read):,} of them, drawn at random; --most-read N sets it")
    if n > len(free):
        pool.say(f"there are only {len(free):,} rows to choose from: all are listed")
    doubt, features = pool.thoughts(read)
    chosen = choose_rows(doubt, features, n, rng)
    return NextRows(
        run=str(pool.predictor.path),
        file=str(pool.table.path),
        rows=_rows(pool, read[chosen], doubt[chosen]),
        free=len(free),
        read=len(read),
    )


def _drawn(numbers: Ints, most: int, rng: np.random.Generator) -> Ints:
    """At most ``most`` of the numbers, in order."""
    if len(numbers) <= most:
        return numbers
    return np.sort(rng.permutation(numbers)[:most])


def _rows(pool: Pool, numbers: Ints, doubt: Floats) -> tuple[NextRow, ...]:
    """The chosen rows with what the model suggests, in the order of ``numbers``."""
    found = list(pool.chosen(np.sort(numbers)))
    predictions = pool.predictor.predict_rows([one.row for one in found])
    doubts = dict(zip(numbers.tolist(), doubt.tolist(), strict=True))
    task = pool.predictor.task
    rows = {
        one.number: NextRow(
            **where(one.row.place),
            text=clipped(" | ".join(type(task).texts(one.row))),
            doubt=doubts[one.number],
            suggestion=task.suggestion(prediction),
            values=dict(one.record.values),
        )
        for one, prediction in zip(found, predictions, strict=True)
    }
    return tuple(rows[number] for number in numbers.tolist())


def check_numbers(n: int, most_read: int | None) -> None:
    """Raises UsageError for numbers below 1."""
    for flag, value in (("-n", n), ("--most-read", most_read)):
        if value is not None and value < 1:
            raise UsageError(f"{flag} must be 1 or more, not {value}")


def _written(found: NextRows, text: str, out: Path | BinaryIO) -> NextRows:
    """Writes the file of the rows, or into a stream. Raises OneLayerError where the disk
    refuses."""
    if isinstance(out, Path):
        rewrite(out, text)
        return replace(found, out=str(out))
    out.write(text.encode(errors="backslashreplace"))
    out.flush()
    return found
