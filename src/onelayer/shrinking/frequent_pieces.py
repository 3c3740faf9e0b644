"""The pieces from which smaller models learn: those that their texts use often.

Lessons cut a rare word into finer ones of them. A vector that is read once or twice would learn
these texts by heart; now it stays as the run has it, which is what new texts need.
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
"""How often the texts have a piece that is learned."""
MIN_ANSWERED = 0.9
"""The share of the rows whose answers must be of use with fewer pieces."""


def frequent_pieces(
    run: Predictor, checkpoint: Checkpoint, rows: Iterable[Any], answers: RunAnswers
) -> TrimmedVocabulary:
    """The frequent part of the run's vocabulary.

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
        return trimmed(run.tokenizer, used)

    few = with_least(MIN_COUNT)
    # Where each piece of a passage has an answer, the answers to other pieces are of no use.
    alike = read_alike(rows, (run.task, run.tokenizer), (run.task, few.tokenizer))
    return few if alike >= MIN_ANSWERED else with_least(1)
