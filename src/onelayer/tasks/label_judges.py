"""Which labels are probably wrong, by the predictions of models that did not learn from them: what
the judges of all tasks share. Each task has its own judge, in its folder."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from onelayer.base.wording import clipped
from onelayer.data.row_kind import Row
from onelayer.metrics import Bools, Floats, Ints
from onelayer.tasks.predictions import Prediction

if TYPE_CHECKING:
    from onelayer.tasks.protocol import AnyTask, Chunk

ModelTask = TypeVar("ModelTask", contravariant=True)

Correction = tuple[int, int, str, str]
"""Start and end in the text, the given label and the likely one."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row whose label is probably wrong; the lower ``margin``, the surer."""

    number: int
    """Which of the file's rows that can be used, from 0."""
    margin: float
    likely: str
    probability: float | None = None
    """Of the likely label; None for a number."""
    given_probability: float | None = None
    corrections: tuple[Correction, ...] = ()
    """Of a tagged text, where it is wrong."""


class LabelJudge(Protocol[ModelTask]):
    """Sees each row with a model that did not learn from it; keeps a few numbers of each label."""

    unjudged: int
    """Rows with a label that the model could not know."""

    def see(self, model: ModelTask, numbers: Ints, chunk: Chunk[Any]) -> None:
        """Some rows with their logits. ``model`` is the task that these logits are for, whose
        labels may be fewer; ``numbers`` (n,) are the rows' in the file."""
        ...

    def suspects(self) -> list[Suspect]: ...


class LabelTable:
    """Probabilities and gold labels of the rows seen, chunk by chunk."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.index = {label: i for i, label in enumerate(labels)}
        self.unjudged = 0
        self._numbers: list[Ints] = []
        self._p: list[Floats] = []
        self._given: list[Ints] = []

    def add(self, numbers: Ints, p: Floats, given: Ints) -> None:
        """(n, L) probabilities of each label, and what is given."""
        self._numbers.append(numbers)
        self._p.append(p.astype(np.float32))
        self._given.append(given)

    def whole(self) -> tuple[Ints, Floats, Ints]:
        """All that was added."""
        if not self._numbers:
            none = np.empty(0, np.int64)
            return none, np.empty((0, len(self.labels)), np.float32), none
        return np.concatenate(self._numbers), np.concatenate(self._p), np.concatenate(self._given)

    def known(self, labels: Iterable[str], named: Iterable[Sequence[str]]) -> Bools:
        """(n,) whether a model with these labels knows all of a row's; counts the other rows."""
        known = set(labels)
        judged = np.array([known.issuperset(names) for names in named], np.bool_)
        self.unjudged += int(np.count_nonzero(~judged))
        return judged


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a prediction stands to what is given."""

    given_probability: float
    probability: float
    """Of what is predicted."""
    agrees: bool
    predicted: str
    """In words."""


class Disagreements(Generic[Row, Prediction]):
    """Of options, and of spans of a passage: the model says something else, and is as sure of it as
    it is on average of what is given. Confident learning where labels have no names."""

    def __init__(self, compare: Callable[[Row, Prediction], Agreement]) -> None:
        self.unjudged = 0
        self._compare = compare
        self._given = array("d")
        self._others: list[tuple[int, Agreement]] = []

    def see(self, model: AnyTask, numbers: Ints, chunk: Chunk[Row]) -> None:
        for number, row, prediction in zip(numbers, chunk[0], model.decode(*chunk), strict=True):
            found = self._compare(row, prediction)
            self._given.append(found.given_probability)
            if not found.agrees:
                self._others.append((int(number), found))

    def suspects(self) -> list[Suspect]:
        threshold = float(np.mean(self._given)) if self._given else 1.0
        return [
            Suspect(
                number,
                one.given_probability - one.probability,
                clipped(one.predicted),
                one.probability,
                one.given_probability,
            )
            for number, one in self._others
            if one.probability >= threshold and one.probability > one.given_probability
        ]
