"""Scores of answers that are spans of a passage, as in SQuAD and CMRC, and the no-answer threshold.

The string metrics equal the official scorers in every detail (SQuAD v1.1 and v2.0, Rajpurkar et al.
2016, 2018; CMRC 2018, Cui et al. 2019), since published numbers are computed with those.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from onelayer.metrics.counts import Bools, ChosenRows, Floats, Ints, mean
from onelayer.metrics.score_limits import Limits, share_limits

SquadVersion: TypeAlias = Literal["1.1", "2.0"]

_ASCII_MARKS = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")

# The marks that CMRC's scorer removes. A single "…" stays: the official list has "……", and the
# scorer compares single characters.
_CMRC_MARKS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CMRC_HAN = re.compile(r"([\u4e00-\u9fa5])")

_LETTER = re.compile(r"[^\W\d_]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


@dataclass(frozen=True, eq=False)
class Answers:
    """Exact match and F1 of N questions, in percent, as in the official scorers.

    With unanswerable questions, the scores include v2.0's HasAns_exact, HasAns_f1 and NoAns_exact
    under our names; they are nan where the chosen rows have no such question.

    Parameters
    ----------
    exact, f1
        (N,) each question's exact match and F1, in 0..1.
    has_answer
        (N,) whether a question has an answer.
    groups
        (N,) the number of each question's passage or document. The bootstrap draws whole groups,
        because answers about one passage tend to be right or wrong together.
    """

    exact: Floats
    f1: Floats
    has_answer: Bools
    groups: Ints | None = None
    cross_fitted: float | None = None
    """The task's metric, if what was tuned on these rows is tuned on others of them instead; None
    where nothing was."""

    best: ClassVar[float] = 100.0
    """The best score of those in ``limits``."""

    def __len__(self) -> int:
        return len(self.exact)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        chosen = slice(None) if rows is None else rows
        exact, f1, has_answer = self.exact[chosen], self.f1[chosen], self.has_answer[chosen]
        scores = {"em": exact, "f1": f1}
        if not self.has_answer.all():
            scores |= {
                "has_answer_em": exact[has_answer],
                "has_answer_f1": f1[has_answer],
                "no_answer_accuracy": exact[~has_answer],
            }
        return {name: 100 * mean(values) for name, values in scores.items()}

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of all metrics, if ``units`` questions are independent."""
        has = self.has_answer
        values = {"em": self.exact, "f1": self.f1, "has_answer_em": self.exact[has]}
        values |= {"has_answer_f1": self.f1[has], "no_answer_accuracy": self.exact[~has]}
        found = {}
        for name, x in values.items():
            total, squares = float(x.sum()), float(x @ x)
            low, high = share_limits(total, len(x), level=level, units=units, squares=squares)
            found[name] = (100 * low, 100 * high)
        return found

    def mistakes(self) -> Floats:
        """How wrong each answer is, ``(N,)`` in 0..2: what exact match and F1 lack."""
        return 2 - self.exact - self.f1

    def but(self, others: Answers, *, where: Bools) -> Answers:
        """These scores, but those of ``others`` where ``where`` ``(N,)`` is true."""
        return replace(
            self,
            exact=np.where(where, others.exact, self.exact),
            f1=np.where(where, others.f1, self.f1),
        )


def documents(passages: Ints, titles: Ints) -> Ints:
    """The document of each row, for resampling whole documents.

    In SQuAD several passages share the title of their Wikipedia article, which is then the
    document. Where titles don't join passages, each passage is a document.

    Parameters
    ----------
    passages, titles
        (N,) numbers of each row's passage and title.

    Returns
    -------
    array
        (N,) the index of the last row of each row's document.
    """
    # More than one title, and fewer than passages: some title joins passages.
    n_titles = len(np.unique(titles))
    keys = titles if 1 < n_titles < len(np.unique(passages)) else passages
    _, document = np.unique(keys, return_inverse=True)
    last = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(last, document, np.arange(len(keys)))
    return np.asarray(last[document])


def squad_exact(prediction: str, golds: Sequence[str], version: SquadVersion = "2.0") -> float:
    """SQuAD's exact match: 1.0 if the prediction equals a gold answer, else 0.0. Case, punctuation
    and articles are ignored.

    Parameters
    ----------
    prediction
        The predicted answer; empty for no answer.
    golds
        The gold answers; ``[""]`` or ``[]`` for no answer.
    version
        The official scorer. Version 2.0 drops gold answers of only punctuation and articles, which
        a few questions have; version 1.1 keeps them.
    """
    return float(_squad_normal(prediction) in _squad_golds(golds, version))


def squad_f1(prediction: str, golds: Sequence[str], version: SquadVersion = "2.0") -> float:
    """SQuAD's F1 in 0..1 over the words that prediction and gold share; the best of all golds.

    The parameters are those of :func:`squad_exact`. If both answers are empty, F1 is 1.0 in version
    2.0 and 0.0 in version 1.1.
    """
    found = _squad_normal(prediction).split()
    wanted = _squad_golds(golds, version)
    if version == "2.0" and wanted == [""]:
        return float(not found)
    return max(_word_f1(found, gold.split()) for gold in wanted)


def _squad_golds(golds: Sequence[str], version: SquadVersion) -> list[str]:
    normal = [_squad_normal(gold) for gold in golds]
    return [gold for gold in normal if gold or version == "1.1"] or [""]


def _squad_normal(text: str) -> str:
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_ASCII_MARKS)).split())


def _word_f1(found: list[str], wanted: list[str]) -> float:
    shared = (Counter(found) & Counter(wanted)).total()
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def cmrc_exact(prediction: str, golds: Sequence[str]) -> float:
    """CMRC's exact match: 1.0 if the prediction equals a gold answer, else 0.0. Case and marks are
    ignored."""
    found = _cmrc_normal(prediction)
    return float(any(found == _cmrc_normal(gold) for gold in golds or [""]))


def cmrc_f1(prediction: str, golds: Sequence[str]) -> float:
    """CMRC's F1 in 0..1 over the longest common run of tokens; the best of all golds. A token is a
    Chinese character or a word of another language.

    Two details differ from CMRC's scorer. No answer (``golds`` of ``[""]`` or ``[]``), which CMRC
    never has, follows SQuAD 2.0's rule. Words are tokenized without NLTK's sentence splitter, whose
    data would have to be downloaded.

    Parameters
    ----------
    prediction
        The predicted answer; empty for no answer.
    golds
        The gold answers; ``[""]`` or ``[]`` for no answer.
    """
    if not any(golds):
        return cmrc_exact(prediction, golds)
    found = _cmrc_tokens(prediction)
    return max(_run_f1(found, _cmrc_tokens(gold)) for gold in golds)


def _cmrc_normal(text: str) -> str:
    # Stripped before marks are removed, as in the official scorer: a space next to a mark remains.
    return text.lower().strip().translate(_CMRC_MARKS)


def _cmrc_tokens(text: str) -> list[str]:
    tokens: list[str] = []
    for piece in filter(None, _CMRC_HAN.split(_cmrc_normal(text))):
        tokens += [piece] if _CMRC_HAN.match(piece) else _word_tokenizer()(piece)
    return tokens


@cache
def _word_tokenizer() -> Callable[[str], list[str]]:
    # Imported here because it takes a second, and only Chinese answers with foreign words need it.
    from nltk.tokenize import NLTKWordTokenizer

    tokenize: Callable[[str], list[str]] = NLTKWordTokenizer().tokenize
    return tokenize


def _run_f1(found: list[str], wanted: list[str]) -> float:
    run = SequenceMatcher(None, found, wanted, autojunk=False).find_longest_match().size
    return 2 * run / (len(found) + len(wanted)) if run else 0.0


def is_chinese(texts: Iterable[str]) -> bool:
    """Whether most letters are Chinese characters: then CMRC's metrics apply instead of SQuAD's."""
    han = letters = 0
    for text in texts:
        han += len(_HAN.findall(text))
        letters += len(_LETTER.findall(text))
    return 2 * han > letters


def no_answer_threshold(
    null_minus_best: Floats, score_if_answered: Floats, score_if_null: Floats
) -> tuple[float, float]:
    """The best threshold for "no answer", as SQuAD v2.0's ``find_best_thresh`` finds it.

    A question gets no answer if its ``null_minus_best`` is above the threshold. There are three
    differences from the official function: rows with equal ``null_minus_best`` stay on one side, as
    no threshold separates them; if no question should be answered, the threshold is the smallest
    value minus one, since theirs only works for probabilities; the score isn't in percent. Of
    equally good thresholds the lowest is taken.

    Parameters
    ----------
    null_minus_best
        (N,) the score of no answer minus that of the best answer.
    score_if_answered, score_if_null
        (N,) the metric of each row with the best answer, and with no answer.

    Returns
    -------
    threshold, score
        The threshold, and the mean score that it gives.
    """
    # Sorted by difference, a threshold answers the first k rows; k = 0 answers none.
    order = np.argsort(null_minus_best, kind="stable")
    difference = null_minus_best[order].astype(np.float64)
    gain = (score_if_answered.astype(np.float64) - score_if_null)[order]
    # Only a k at which the difference changes is possible, because ties can't be separated.
    answered = np.append(True, np.append(difference[1:] != difference[:-1], True))
    # Answering row i adds gain[i] to the total of answering nothing, so totals are a running sum.
    totals = np.where(answered, np.append(0.0, np.cumsum(gain)), -np.inf)
    best = int(np.argmax(totals))
    threshold = difference[best - 1] if best else difference[0] - 1
    return float(threshold), float((score_if_null.sum(dtype=np.float64) + totals[best]) / len(gain))
