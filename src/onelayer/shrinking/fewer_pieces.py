"""The pieces that smaller models know: those of the run's vocabulary that its texts use often.

A smaller model has this vocabulary before its first lesson. So it learns what a rare word means
from the finer pieces that it is cut into, as it will read new words later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from onelayer.checkpoint.read import Checkpoint
from onelayer.prediction.predictor import Predictor
from onelayer.shrinking.lesson_texts import RunAnswers, read_alike
from onelayer.tokens.trimming import TrimmedVocabulary, trimmed

MIN_COUNT = 3
"""How often the texts have a piece that stays. A larger number makes smaller files and longer
sequences."""
MIN_ANSWERED = 0.9
"""The share of the rows whose answers must be of use with fewer pieces."""


def fewer_pieces(
    run: Predictor, checkpoint: Checkpoint, rows: Iterable[Any], answers: RunAnswers
) -> TrimmedVocabulary:
    """A smaller vocabulary for the run's task.

    Parameters
    ----------
    run, checkpoint
        The trained model, and its weights.
    rows
        Its training rows.
    answers
        Its answers to them, and to other texts.
    """
    counts = answers.counts()

    def with_least(count: int) -> TrimmedVocabulary:
        used = {checkpoint.config.pad_token_id, *np.flatnonzero(counts >= count).tolist()}
        return trimmed(run.tokenizer, used, foreign=False)

    few = with_least(MIN_COUNT)
    # Where each piece of a passage has an answer, the answers to other pieces are of no use.
    alike = read_alike(rows, (run.task, run.tokenizer), (run.task, few.tokenizer))
    return few if alike >= MIN_ANSWERED else with_least(1)
