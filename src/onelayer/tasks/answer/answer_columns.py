"""The columns of answer: a question, the passage, and its answers there."""

from __future__ import annotations

from onelayer.data.column_rules import ColumnRules, Found
from onelayer.data.columns import FileColumns
from onelayer.data.values import label_name
from onelayer.tasks.answer.answer_places import Placed, find_place

ANSWER_NAMES = ("answers", "answer", "答案")


class AnswerColumns(ColumnRules):
    inputs = ("question", "context")
    formats = ("squad",)

    def recognises(self, file: FileColumns) -> bool:
        """Questions with texts as answers, and not a yes or no each."""
        question = file.named("question") or file.known("question")
        context = file.named("context") or file.known("context", without=[question])
        if not (question and context):
            return False
        column = file.named("label") or file.first(ANSWER_NAMES)
        if column is None:
            return file.known("label") is None and bool(file.called("context", "文章"))
        values = file.values(column)
        texts = [value for value in values if isinstance(value, str)]
        if not file.hold(column, str, int, float):
            return file.hold(column, list, dict)
        if len(texts) > len(values) / 2 and len(set(texts)) > len(values) / 5:
            return True
        return _are_in_passages(file, column, context)

    def find(self, file: FileColumns) -> Found:
        question = file.named("question") or file.known("question")
        return {
            "id": file.by_name.get("id"),
            "question": question,
            "context": file.known("context", without=[question]),
            "label": file.first(ANSWER_NAMES),
            "start": file.by_name.get("answer_start"),
            "impossible": file.by_name.get("is_impossible"),
            "title": file.by_name.get("title"),
        }


def _are_in_passages(file: FileColumns, column: str, context: str) -> bool:
    """Whether the passages of nearly all rows have the value as a whole word or number, so that the
    values are no classes, nor positions of options."""
    rows = [row for row in file.sample if not isinstance(row.get(column), (bool, type(None)))]
    found = [
        isinstance(find_place(label_name(row[column]), str(row.get(context))), Placed)
        for row in rows
    ]
    return sum(found) > 0.9 * len(file.sample)
