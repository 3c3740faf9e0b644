"""Scores a model on a labelled file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from onelayer.base.result import Result, Table, interval_text, score_table, short_figure
from onelayer.base.wording import Say
from onelayer.data.in_memory import Source, source_path
from onelayer.data.rows import Look, Rows
from onelayer.evaluation.caveats import SeenRows, caveats_of_labels
from onelayer.metrics import ChosenRows, intervals
from onelayer.metrics.score_limits import Limits, label_limits
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns, Recipe
from onelayer.tasks.labelled import open_labelled, usable_rows


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EvaluationResult(Result):
    """A model's scores on a labelled file, each with its 95 % interval."""

    run: str
    file: str
    rows: int
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    by_label: Mapping[str, Mapping[str, float]]
    """Precision, recall, F1 and support of each label, for tasks that have labels."""
    by_label_intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    caveats: tuple[str, ...] = ()
    """What the scores can't tell, in words."""

    def parts(self) -> list[str | Table]:
        parts: list[str | Table] = [f"{Path(self.file).name}, {self.rows:,} rows"]
        parts.append(score_table(self.scores, self.intervals))
        if self.by_label:
            names = list(next(iter(self.by_label.values())))
            lines = [["", *names, "f1's 95 % interval"]]
            for label, values in self.by_label.items():
                bounds = self.by_label_intervals[label]["f1"]
                lines.append(
                    [label, *(short_figure(values[n]) for n in names), interval_text(bounds)]
                )
            parts.append(lines)
        return [*parts, *self.caveats]


def evaluate_model(
    run: str | Path,
    file: Source,
    columns: Columns,
    say: Say,
    *,
    coverage: float | None = None,
    abstain: float | None = None,
    engine: str | None = None,
) -> EvaluationResult:
    """Every metric of the task with its 95 % interval, and the scores by label if it has labels.
    ``coverage`` and ``abstain`` are the guarantees to check, as in `Predictor.with_guarantees`.

    The file is read as a stream, several times: first to check that every row can be used, then
    chunk by chunk. Memory grows only by a few numbers per row, which the bootstrap resamples.
    """
    predictor = load(run, engine).with_guarantees(coverage=coverage, abstain=abstain)
    task = predictor.task
    seen = SeenRows.by(predictor)
    scorer = predictor.evaluate(labelled_rows(predictor, file, columns, say, seen.look))
    say_cut(predictor, say)
    table = _ScoresByLabel(len(scorer), partial(task.by_label, scorer))
    by_label = table.of(None)
    return EvaluationResult(
        run=str(run),
        file=source_path(file),
        rows=len(scorer),
        scores=scorer(),
        intervals=intervals(scorer),
        by_label=by_label,
        by_label_intervals=table.intervals() if by_label else {},
        caveats=(*caveats_of_labels(task, scorer), *seen.caveats()),
    )


@dataclass(frozen=True, slots=True)
class _ScoresByLabel:
    """Precision, recall, F1 and support by label, as a scorer that the bootstrap can resample."""

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

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of each label's scores, if ``units`` rows are independent."""
        return {
            f"{metric} {label}": interval
            for label, values in self.of(None).items()
            for metric, interval in label_limits(values, level=level, units=units).items()
        }

    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        bounds = intervals(self)
        return {
            label: {name: bounds[f"{name} {label}"] for name in values if name != "support"}
            for label, values in self.of(None).items()
        }


def labelled_rows(
    predictor: Predictor, file: Source, columns: Columns, say: Say, look: Look = lambda _: None
) -> Rows:
    """The rows of a labelled file, by the columns of the training file if it has them. ``look`` is
    called with each while the file is checked. Raises DataError for rows that can't be used, unless
    ``skip_bad`` leaves them out."""
    task = predictor.task
    # Split a field into several labels only if the model predicts several.
    own = {"task": task.name, "multi_label": task.several_labels}
    recipe = Recipe.from_json({**asdict(columns), **own})
    # Nothing is known of the training file of a model that transformers saved.
    layout = predictor.layout if predictor.record and not columns.asked else None
    kind, layout, table = open_labelled(file, recipe, say, kind=type(task), layout=layout)
    return usable_rows(kind, table, layout, recipe, say, look)


def say_cut(predictor: Predictor, say: Say) -> None:
    """Says how many tokens the length limit cut off, if any."""
    if predictor.cut.tokens:
        say(str(predictor.cut))
