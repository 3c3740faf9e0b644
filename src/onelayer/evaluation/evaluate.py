"""A model's scores on a labelled file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from onelayer.base.json_values import finite
from onelayer.data.rows import Rows
from onelayer.metrics import ChosenRows, intervals
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns, Recipe
from onelayer.tasks.labelled import open_labelled, usable_rows


def evaluate(
    run: str | Path,
    file: str | Path,
    columns: Columns,
    say: Callable[[str], None],
    *,
    coverage: float | None = None,
    abstain: float | None = None,
    engine: str | None = None,
) -> dict[str, Any]:
    """Every metric of the task with its 95 % interval, and a table by label where there is one.
    ``coverage`` and ``abstain`` are promises to be checked, as of ``Predictor.asking``.

    The file is read as a stream, several times: first to see that every row can be used, then chunk
    by chunk. What grows with it are the few numbers a row that the bootstrap draws from.
    """
    predictor = load(run, engine).asking(coverage=coverage, abstain=abstain)
    task = predictor.task
    scorer = predictor.evaluate(labelled_rows(predictor, file, columns, say))
    say_cut(predictor, say)
    table = _Table(len(scorer), partial(task.by_label, scorer))
    by_label = table.of(None)
    result = {
        "run": str(run),
        "file": str(file),
        "rows": len(scorer),
        "scores": scorer(),
        "intervals": intervals(scorer),
        "by_label": by_label,
        "by_label_intervals": table.intervals() if by_label else {},
    }
    return dict(finite(result))


@dataclass(frozen=True, slots=True)
class _Table:
    """Precision, recall, F1 and support by label, with intervals by the bootstrap of the others."""

    n_rows: int
    of: Callable[[ChosenRows | None], dict[str, dict[str, float]]]

    def __len__(self) -> int:
        return self.n_rows

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        return {
            f"{metric} {label}": value
            for label, values in self.of(rows).items()
            for metric, value in values.items()
        }

    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        bounds = intervals(self)
        return {
            label: {name: bounds[f"{name} {label}"] for name in values if name != "support"}
            for label, values in self.of(None).items()
        }


def labelled_rows(
    predictor: Predictor, file: str | Path, columns: Columns, say: Callable[[str], None]
) -> Rows:
    """The rows of a labelled file, read as the model's training file was where it has the same
    columns. Raises DataError for rows that can't be used, unless they are to be left out."""
    task = predictor.task
    # Several labels in one field are read as such only where the model gives several.
    own = {"task": task.name, "multi_label": task.several_labels}
    recipe = Recipe.from_json({**asdict(columns), **own})
    # What transformers saved was trained on a file of which nothing is known.
    layout = predictor.layout if predictor.record and not columns.asked else None
    kind, layout, table = open_labelled(file, recipe, say, kind=type(task), layout=layout)
    return usable_rows(kind, table, layout, recipe, say)


def say_cut(predictor: Predictor, say: Callable[[str], None]) -> None:
    """How much of the texts the model has not seen, if any."""
    if predictor.cut.tokens:
        say(str(predictor.cut))
