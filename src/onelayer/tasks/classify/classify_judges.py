"""Which class labels are probably wrong, by confident learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onelayer.base.wording import in_words
from onelayer.metrics import Doubts, Floats, Ints, confident_errors
from onelayer.tasks.classify.class_predictions import Label, Labels
from onelayer.tasks.classify.gold_labels import names_of, one_name
from onelayer.tasks.label_judges import LabelTable, Suspect
from onelayer.tasks.texts import TextRow

if TYPE_CHECKING:
    from onelayer.tasks.classify.classify import Classify
    from onelayer.tasks.protocol import Chunk


class OneLabelJudge(LabelTable):
    """Each row has one label."""

    def see(self, model: Classify, numbers: Ints, chunk: Chunk[TextRow]) -> None:
        rows = chunk[0]
        judged = self.known(model.labels, map(names_of, rows))
        p = _probabilities(model.decode(*chunk), self.labels)
        given = np.array([self.index.get(one_name(row), 0) for row in rows], np.int64)
        self.add(numbers[judged], p[judged], given[judged])

    def suspects(self) -> list[Suspect]:
        numbers, p, given = self.whole()
        doubts = confident_errors(p, given)
        return [
            Suspect(
                int(numbers[i]),
                float(doubts.margin[i]),
                self.labels[doubts.likely[i]],
                float(p[i, doubts.likely[i]]),
                float(p[i, given[i]]),
            )
            for i in np.flatnonzero(doubts.wrong)
        ]


class SeveralLabelsJudge(LabelTable):
    """Each label is a question of its own: does the row have it?"""

    def see(self, model: Classify, numbers: Ints, chunk: Chunk[TextRow]) -> None:
        named = [names_of(row) for row in chunk[0]]
        judged = self.known(model.labels, named)
        p = _probabilities(model.decode(*chunk), self.labels)
        given = np.array([[label in names for label in self.labels] for names in named])
        self.add(numbers[judged], p[judged], given[judged])

    def suspects(self) -> list[Suspect]:
        numbers, p, given = self.whole()
        by_label = [self._doubts(p[:, i], given[:, i]) for i in range(len(self.labels))]
        wrong = np.stack([doubts.wrong for doubts in by_label], axis=1)
        margin = np.stack([doubts.margin for doubts in by_label], axis=1)
        found = []
        for i in np.flatnonzero(wrong.any(axis=1)):
            surest = int(np.where(wrong[i], margin[i], np.inf).argmin())
            p_given = float(p[i, surest] if given[i, surest] else 1 - p[i, surest])
            likely = [
                name for name, has in zip(self.labels, given[i] ^ wrong[i], strict=True) if has
            ]
            found.append(
                Suspect(
                    int(numbers[i]),
                    float(margin[i, surest]),
                    in_words(likely),
                    1 - p_given,
                    p_given,
                )
            )
        return found

    @staticmethod
    def _doubts(p: Floats, given: Ints) -> Doubts:
        return confident_errors(np.stack([1 - p, p], axis=1), given.astype(np.int64))


def _probabilities(predictions: Sequence[Label | Labels], labels: Sequence[str]) -> Floats:
    """(n, L), 0 for labels that the model does not know."""
    return np.array(
        [[said.probabilities.get(label, 0.0) for label in labels] for said in predictions]
    ).reshape(len(predictions), len(labels))
