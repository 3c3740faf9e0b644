"""How a predicted answer stands to the gold ones: in a report, and as doubt about a label."""

from __future__ import annotations

from onelayer.base.wording import in_words
from onelayer.tasks.answer.answer_rows import Answer, AnswerRow
from onelayer.tasks.label_judges import Agreement
from onelayer.tasks.mistakes import LabelledSpan, Mistake, Passage, span_marks


def answer_mistake(row: AnswerRow, prediction: Answer) -> Mistake:
    golds = {(a.start, a.start + len(a.text), "") for a in row.answers or () if a.start is not None}
    found: set[LabelledSpan] = set()
    if prediction.start is not None and prediction.end is not None:
        found = {(prediction.start, prediction.end, "")}
    texts = list(dict.fromkeys(answer.text for answer in row.answers or ()))
    return Mistake(
        " / ".join(texts) or "no answer",
        prediction.text or "no answer",
        f"{prediction.score:.1%} sure",
        (
            Passage("question", row.question),
            Passage("passage", row.passage, span_marks(golds, found)),
        ),
    )


def answer_agreement(row: AnswerRow, prediction: Answer) -> Agreement:
    """Answers that share a character of the passage agree."""
    golds = row.answers or ()
    texts = {gold.text for gold in golds}
    p_given = prediction.no_answer_score
    if golds:
        p_given = sum(c.score for c in prediction.candidates if c.text in texts)
    agrees = prediction.text in texts or (not golds and prediction.start is None)
    if prediction.start is not None and prediction.end is not None:
        agrees = agrees or any(
            gold.start is not None
            and gold.start < prediction.end
            and prediction.start < gold.start + len(gold.text)
            for gold in golds
        )
    return Agreement(p_given, prediction.score, agrees, in_words([prediction.text]))
