"""What scores can't tell, in words: printed under the scores."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onelayer.base.wording import listed
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.equal_texts import split_key
from onelayer.data.sketch import Sketch
from onelayer.metrics import Scorer
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import AnyTask

FEW_ROWS = 5
"""A score of a label by fewer rows is mostly chance."""
MAX_REPEATS = 0.1
"""Up to this share of repeated texts the intervals are right enough."""
MIN_SHARE_SEEN = 0.01
"""From this share of rows that the run has seen, the scores are too high to be kept silent about;
texts repeat by chance, too."""
CROSS_VALIDATED = (
    "each row is scored by a model of the other folds; this model is trained on all rows"
)


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
    what was tuned is tuned on other rows."""
    chosen = [f"the best of {n_evaluations} checkpoints"] if n_evaluations > 1 else []
    chosen += task.tuned_on_dev
    if task.pooling_scores:
        chosen.append("how windows are pooled")
    if not chosen:
        return
    expected = "expect a little less on new rows"
    if cross_fitted is not None:
        expected = f"tuned on other rows, {task.metric} is {cross_fitted:.4g}"
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
    keys: array[int] = field(default_factory=lambda: array("q"))
    """The ``split_key`` of each row."""
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
        self.keys.append(split_key(type(self.task), row))
        has = None if self.sketch is None else self.sketch.has(self.task.texts(row))
        if has is not None:
            self.sampled += 1
            self.seen += has

    def caveats(self) -> Iterator[str]:
        """How many of the rows repeat others, and how many the run has seen."""
        yield from self.on_repeats()
        yield from self.on_seen("the run")

    def on_tuning(self) -> Iterator[str]:
        """What the rows that scored the run chose, if these are those rows."""
        record = self.record
        n = len(record.history.evaluations) if record and record.history else 0
        yield from caveats_of_dev(
            self.task, n, record.dev.cross_fitted if record and record.dev else None
        )

    def on_repeats(self) -> Iterator[str]:
        """How many distinct texts there are, if that is far fewer than rows."""
        distinct = len(np.unique(np.frombuffer(self.keys, np.int64))) if self.rows else 0
        if self.task.group_noun is None and distinct < (1 - MAX_REPEATS) * self.rows:
            yield (
                f"{self.rows:,} rows have {distinct:,} distinct texts: the intervals are too "
                "narrow, as they take equal rows for independent ones"
            )

    def on_seen(self, whose: str) -> Iterator[str]:
        """How many of the rows the run has seen, if that is a part worth a word."""
        share = self.seen / max(1, self.sampled)
        if self.record is None or share < MIN_SHARE_SEEN:
            return
        data = self.record.data
        if share == 1.0 and data is not None and data.dev_rows == self.rows:
            yield from self.on_tuning()
            return
        part = "all" if share == 1.0 else f"about {share:.0%}"
        dev, metric = self.record.dev, self.task.metric
        if dev is not None and dev.folds:
            yield (
                f"{part} of the rows are training rows of {whose}: its scores flatter; "
                f"cross-validated, {metric} is {dev.scores.get(metric, math.nan):.4g}"
            )
            return
        yield (
            f"{part} of the rows are training or dev rows of {whose}: its scores flatter, expect "
            "less on new rows"
        )
