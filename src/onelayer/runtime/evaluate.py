"""A model's scores on a labelled file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onelayer.metrics import Classification, Entities, MultiLabel, intervals
from onelayer.plain import finite
from onelayer.recipe import Columns, Recipe
from onelayer.runtime.load import load
from onelayer.runtime.predictor import Predictor
from onelayer.tasks import TASKS, Classify
from onelayer.tasks.files import open_labelled, usable_rows
from onelayer.tasks.rows import Rows


def evaluate(
    run: str | Path,
    file: str | Path,
    columns: Columns,
    say: Callable[[str], None],
    *,
    coverage: float | None = None,
    abstain: float | None = None,
) -> dict[str, Any]:
    """Every metric of the task with its 95 % interval, and a table by label where there is one.
    ``coverage`` and ``abstain`` are promises to be checked, as of ``Predictor.asking``.

    The file is read as a stream, several times: first to see that every row can be used, then chunk
    by chunk. What grows with it are the few numbers a row that the bootstrap draws from.
    """
    predictor = load(run).asking(coverage=coverage, abstain=abstain)
    task = predictor.task
    scorer = predictor.evaluate(labelled_rows(predictor, file, columns, say))
    if predictor.cut.tokens:
        say(f"the length limit cut {predictor.cut.tokens:,} tokens of {predictor.cut.rows:,} rows")
    by_label: dict[str, Any] = {}
    if isinstance(scorer, (Classification, MultiLabel)):
        by_label = {task.outputs[i]: values for i, values in scorer.by_label().items()}
    elif isinstance(scorer, Entities):
        by_label = scorer.by_type()
    result = {
        "run": str(run),
        "file": str(file),
        "rows": len(scorer),
        "scores": scorer(),
        "intervals": intervals(scorer),
        "by_label": by_label,
    }
    return dict(finite(result))


def labelled_rows(
    predictor: Predictor, file: str | Path, columns: Columns, say: Callable[[str], None]
) -> Rows:
    """The labelled rows of a file, read as the training file was where it has the same columns."""
    task = predictor.task
    # Several labels in one field are read as such only where the model gives several.
    multi_label = task.multi_label if isinstance(task, Classify) else None
    recipe = Recipe.from_json({**asdict(columns), "task": task.name, "multi_label": multi_label})
    layout = None if columns.asked else predictor.layout
    kind, layout, table = open_labelled(file, recipe, say, kind=TASKS[task.name], layout=layout)
    return usable_rows(kind, table, layout, recipe, say)
