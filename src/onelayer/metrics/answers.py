"""Answers that are spans of a passage: SQuAD's and CMRC's scores, and the no-answer threshold.

The string metrics follow the official scorers (SQuAD v1.1 and v2.0, Rajpurkar et al. 2016, 2018;
CMRC 2018, Cui et al. 2019) to the last corner, since published numbers are made with them.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from onelayer.metrics.counts import Bools, ChosenRows, Floats, Ints, mean

SquadVersion: TypeAlias = Literal["1.1", "2.0"]

_ASCII_MARKS = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")

# Which marks CMRC's scorer passes over. A single "…" stays: theirs has only the double one, which
# no single character equals.
_CMRC_MARKS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CMRC_HAN = re.compile(r"([\u4e00-\u9fa5])")

_LETTER = re.compile(r"[^\W\d_]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


@dataclass(frozen=True, eq=False)
class Answers:
    """Each question's ``exact`` and ``f1`` in 0..1 and whether it ``has_answer``, each ``(N,)``.

    Gives EM and F1 in percent, as the official scorers do; with unanswerable questions among
    them also v2.0's HasAns_exact, HasAns_f1 and NoAns_exact, under our names (nan where the rows
    chosen have no such question). ``groups`` ``(N,)`` are the passages' or documents' numbers:
    questions about one passage rise and fall together, so the bootstrap draws whole groups.
    """

    exact: Floats
    f1: Floats
    has_answer: Bools
    groups: Ints | None = None

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

    def mistakes(self) -> Floats:
        """What exact match and F1 lack, in 0..2."""
        return 2 - self.exact - self.f1

    def but(self, others: Answers, *, where: Bools) -> Answers:
        """These scores, and those of ``others`` for the rows ``where`` ``(N,)`` is true."""
        return replace(
            self,
            exact=np.where(where, others.exact, self.exact),
            f1=np.where(where, others.f1, self.f1),
        )


def documents(passages: Ints, titles: Ints) -> Ints:
    """Each row's document, as the number of the document's last row: what has one title
    where titles hold passages together, as Wikipedia's articles do in SQuAD, else the passage."""
    n_titles = len(np.unique(titles))
    keys = titles if 1 < n_titles < len(np.unique(passages)) else passages
    _, document = np.unique(keys, return_inverse=True)
    last = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(last, document, np.arange(len(keys)))
    return np.asarray(last[document])


def squad_exact(prediction: str, golds: Sequence[str], version: SquadVersion = "2.0") -> float:
    """1.0 if the prediction equals a gold answer but for case, punctuation and articles, else 0.0.

    No answer is ``golds`` of ``[""]`` or ``[]``. Version 2.0 leaves out golds that consist of
    punctuation and articles, version 1.1 keeps them; a few questions have such golds.
    """
    return float(_squad_normal(prediction) in _squad_golds(golds, version))


def squad_f1(prediction: str, golds: Sequence[str], version: SquadVersion = "2.0") -> float:
    """F1 in 0..1 over the words that prediction and gold share, the best of all golds.

    Versions as in :func:`squad_exact`; besides, nothing against nothing is 1.0 in version 2.0
    and 0.0 in version 1.1.
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
    """1.0 if the prediction equals a gold answer but for case and marks, else 0.0."""
    found = _cmrc_normal(prediction)
    return float(any(found == _cmrc_normal(gold) for gold in golds or [""]))


def cmrc_f1(prediction: str, golds: Sequence[str]) -> float:
    """F1 in 0..1 over the longest run of characters (Chinese) and words (others) that prediction
    and gold share, the best of all golds.

    Two things that CMRC's scorer leaves open: no answer (``golds`` of ``[""]`` or ``[]``, which
    CMRC never has) goes by SQuAD 2.0's rule, and non-Chinese words are cut without NLTK's
    sentence splitter, whose data would have to be downloaded.
    """
    if not any(golds):
        return cmrc_exact(prediction, golds)
    found = _cmrc_tokens(prediction)
    return max(_run_f1(found, _cmrc_tokens(gold)) for gold in golds)


def _cmrc_normal(text: str) -> str:
    # Stripped before the marks go, so a space that only a mark kept inside remains; theirs does so.
    return text.lower().strip().translate(_CMRC_MARKS)


def _cmrc_tokens(text: str) -> list[str]:
    tokens: list[str] = []
    for piece in filter(None, _CMRC_HAN.split(_cmrc_normal(text))):
        tokens += [piece] if _CMRC_HAN.match(piece) else _word_tokenizer()(piece)
    return tokens


@cache
def _word_tokenizer() -> Callable[[str], list[str]]:
    # NLTK takes a second to import, which only Chinese answers with foreign words have to pay.
    from nltk.tokenize import NLTKWordTokenizer

    tokenize: Callable[[str], list[str]] = NLTKWordTokenizer().tokenize
    return tokenize


def _run_f1(found: list[str], wanted: list[str]) -> float:
    run = SequenceMatcher(None, found, wanted, autojunk=False).find_longest_match().size
    return 2 * run / (len(found) + len(wanted)) if run else 0.0


def is_chinese(texts: Iterable[str]) -> bool:
    """Whether most letters are Chinese characters, so that CMRC's metrics fit and not SQuAD's."""
    han = letters = 0
    for text in texts:
        han += len(_HAN.findall(text))
        letters += len(_LETTER.findall(text))
    return 2 * han > letters


def no_answer_threshold(
    null_minus_best: Floats, score_if_answered: Floats, score_if_null: Floats
) -> tuple[float, float]:
    """The threshold, and the mean score it gives, at which saying "no answer" where
    ``null_minus_best`` lies above the threshold scores best; all arguments ``(N,)``.

    SQuAD v2.0's find_best_thresh with three differences: rows of equal ``null_minus_best``
    stay on one side, as a threshold can't part them; answering nothing gives the smallest
    value less one, since theirs is only right for probabilities; the score isn't in percent.
    Among equals the lowest threshold wins.
    """
    order = np.argsort(null_minus_best, kind="stable")
    difference = null_minus_best[order].astype(np.float64)
    gain = (score_if_answered.astype(np.float64) - score_if_null)[order]
    answered = np.append(True, np.append(difference[1:] != difference[:-1], True))
    totals = np.where(answered, np.append(0.0, np.cumsum(gain)), -np.inf)
    best = int(np.argmax(totals))
    threshold = difference[best - 1] if best else difference[0] - 1
    return float(threshold), float((score_if_null.sum(dtype=np.float64) + totals[best]) / len(gain))
