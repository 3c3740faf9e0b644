"""The columns of answer: a question, the passage, and its answers there."""

from __future__ import annotations

from onelayer.data.column_rules import ColumnRules, Found
from onelayer.data.columns import FileColumns

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
        if file.hold(column, str):
            values = file.values(column)
            return len(set(values)) > len(values) / 5
        return file.hold(column, list, dict)

    def find(self, file: FileColumns) -> Found:
        question = file.named("question") or file.known("question")
        return {
            "id": file.by_name.get("id"),
            "question": question,
            "context": file.known("context", without=[question]),
            "label": file.first(ANSWER_NAMES),
            "start": file.by_name.get("answer_start"),
            "title": file.by_name.get("title"),
        }
