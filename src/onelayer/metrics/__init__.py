"""The scores of all tasks, with bootstrap intervals. They equal those of scikit-learn, seqeval and
the official SQuAD and CMRC scorers.

Every scorer is a function of row indices, so one bootstrap, :func:`intervals`, serves all of them.
"""

from onelayer.metrics.answers import (
    Answers,
    cmrc_exact,
    cmrc_f1,
    documents,
    is_chinese,
    no_answer_threshold,
    squad_exact,
    squad_f1,
)
from onelayer.metrics.bootstrap import Scorer, intervals
from onelayer.metrics.classification import Choices, Classification, MultiLabel
from onelayer.metrics.confidence import Confidence
from onelayer.metrics.confident import Doubts, confident_errors, outliers
from onelayer.metrics.counts import Bools, ChosenRows, Floats, Ints
from onelayer.metrics.entities import Entities, Tokens
from onelayer.metrics.paired import Difference, clearly_better, paired_differences
from onelayer.metrics.regression import Regression

__all__ = [
    "Answers",
    "Bools",
    "Choices",
    "ChosenRows",
    "Classification",
    "Confidence",
    "Difference",
    "Doubts",
    "Entities",
    "Floats",
    "Ints",
    "MultiLabel",
    "Regression",
    "Scorer",
    "Tokens",
    "clearly_better",
    "cmrc_exact",
    "cmrc_f1",
    "confident_errors",
    "documents",
    "intervals",
    "is_chinese",
    "no_answer_threshold",
    "outliers",
    "paired_differences",
    "squad_exact",
    "squad_f1",
]
