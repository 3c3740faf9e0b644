"""What scores can't tell, in words: printed under the scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onelayer.base.wording import listed
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.sketch import Sketch
from onelayer.metrics import Scorer
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import AnyTask

FEW_ROWS = 5
"""A score of a label by fewer rows is mostly chance."""
MIN_SHARE_SEEN = 0.01
"""From this share of rows that the run has seen, the scores are too high to be kept silent about;
texts repeat by chance, too."""


def caveats_of_labels(task: AnyTask, scorer: Scorer) -> Iterator[str]:
    """Which labels have no rows, or too few."""
    support = {name: values["support"] for name, values in task.by_label(scorer).items()}
    if not support:
        return
    noun = task.label_noun
    absent = [repr(name) for name in task.scored_labels if not support.get(name)]
    if absent:
        yield f"no row has the {noun} {listed(absent)}: the scores say nothing of it"
    few = [f"{name!r} ({n:.0f})" for name, n in support.items() if 0 < n < FEW_ROWS]
    if few:
        yield f"fewer than {FEW_ROWS} of a {noun}: {listed(few)}: the scores say little of it"


def caveats_of_dev(task: AnyTask, n_evaluations: int, cross_fitted: float | None) -> Iterator[str]:
    """What the dev rows chose, so that their own scores flatter, and the metric ``cross_fitted`` if
    what was tuned is tuned on other dev rows."""
    chosen = [f"the best of {n_evaluations} checkpoints"] if n_evaluations > 1 else []
    chosen += task.tuned_on_dev
    if task.pooling_scores:
        chosen.append("how windows are pooled")
    if not chosen:
        return
    expected = "expect a little less on new rows"
    if cross_fitted is not None:
        expected = f"tuned on other dev rows, {task.metric} is {cross_fitted:.4g}"
    *others, last = chosen
    listing = f"{', '.join(others)} and {last}" if others else last
    yield f"these rows also chose {listing}: {expected}"


@dataclass(slots=True)
class SeenRows:
    """Counts the rows that a run has trained on or was chosen by, while a file is read."""

    task: AnyTask
    record: ModelRecord | None
    sketch: Sketch | None
    """Of the rows that the run has seen; None if that is not known."""
    rows: int = 0
    sampled: int = 0
    seen: int = 0

    @classmethod
    def by(cls, predictor: Predictor) -> SeenRows:
        record = predictor.record
        known = record.seen if record else None
        return cls(predictor.task, record, None if known is None else Sketch.from_text(known))

    def look(self, row: Any) -> None:
        """Counts a row."""
        self.rows += 1
        has = None if self.sketch is None else self.sketch.has(self.task.texts(row))
        if has is not None:
            self.sampled += 1
            self.seen += has

    def caveats(self, whose: str = "the run") -> Iterator[str]:
        """How many of the rows the run has seen, if that is a part worth a word."""
        share = self.seen / max(1, self.sampled)
        if self.record is None or share < MIN_SHARE_SEEN:
            return
        data, history = self.record.data, self.record.history
        if share == 1.0 and data is not None and data.dev_rows == self.rows:
            n = len(history.evaluations) if history else 0
            cross_fitted = self.record.dev.cross_fitted if self.record.dev else None
            yield from caveats_of_dev(self.task, n, cross_fitted)
            return
        part = "all" if share == 1.0 else f"about {share:.0%}"
        yield (
            f"{part} of the rows are training or dev rows of {whose}: its scores flatter, expect "
            "less on new rows"
        )
