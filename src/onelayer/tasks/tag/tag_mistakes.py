"""How wrong the tags of a text are, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from onelayer.base.wording import in_words
from onelayer.tasks.mistakes import Judged, LabelledSpan, Mark, Mistake, Passage, missed, span_marks


def judge_tags(gold: Sequence[str], found: Sequence[str]) -> Judged:
    """Tags that make no entities: the number of wrong words."""
    pairs = tuple(zip(gold, found, strict=True))
    return Judged(sum(a != b for a, b in pairs), (), pairs)


def judge_entities(gold: Set[LabelledSpan], found: Mapping[LabelledSpan, float]) -> Judged:
    """``found`` are the probabilities of the predicted entities."""
    beliefs = tuple((p, span in gold) for span, p in found.items())
    n_right = sum(right for _, right in beliefs)
    n_wrong = len(gold) + len(beliefs) - 2 * n_right
    # Of sentences with as many errors, the one whose errors were the surest.
    surest = max((p for p, right in beliefs if not right), default=0.0)
    return Judged(n_wrong + surest / 2, beliefs)


def tag_mistake(
    text: str, words: Sequence[tuple[int, int]], gold: Sequence[str], found: Sequence[str]
) -> Mistake:
    """Each wrong word with its gold and its predicted tag."""
    marks: list[Mark] = []
    for (start, end), wanted, predicted in zip(words, gold, found, strict=True):
        if wanted != predicted:
            marks += [Mark(start, end, "gold", wanted), Mark(start, end, "predicted", predicted)]
    remark = f"{len(marks) // 2} wrong"
    return Mistake("", "", remark, (Passage("text", text, tuple(marks)),))


def entity_mistake(text: str, gold: Set[LabelledSpan], found: Set[LabelledSpan]) -> Mistake:
    """The entities of both, marked in the text."""
    marks = span_marks(gold, found)
    return Mistake("", "", missed(marks), (Passage("text", text, marks),))


def contrast_spans(
    text: str, gold: Set[LabelledSpan], a: Set[LabelledSpan], b: Set[LabelledSpan]
) -> tuple[str, str, str]:
    """What each of the three says in words, without what all of them say."""
    agreed = gold & a & b
    of_gold, of_a, of_b = (
        in_words(f"{text[start:end]} [{label}]" for start, end, label in sorted(one - agreed))
        for one in (gold, a, b)
    )
    return of_gold, of_a, of_b
