"""The columns of tasks that read a text or a pair of texts: the way in of classify and regress."""

from __future__ import annotations

from collections.abc import Collection

from onelayer.base.errors import UsageError
from onelayer.data.column_rules import Column, ColumnRules, Found
from onelayer.data.columns import KNOWN, FileColumns, normal_name, numbers_in
from onelayer.data.formats.header import counts_rows
from onelayer.data.layout import each_column
from onelayer.data.values import flag_in

PAIRS = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2")),
    *(("text1", "text2"), ("text_a", "text_b"), ("#1_string", "#2_string"), ("text", "pair")),
    *(("sentence_a", "sentence_b"), ("question", "sentence"), ("question", "passage")),
    *(("question", "context"), ("question", "answer"), ("query", "document")),
    *(
        ("claim", "evidence"),
        ("premise", "hypo"),
        ("句子1", "句子2"),
        ("文本1", "文本2"),
        ("前提", "假设"),
    ),
)
MEASURES = {"score", "similarity", "similarity_score", "grade", "分数", "得分", "评分", "相似度"}
CLASSES = {
    *("class", "category", "sentiment", "emotion", "emotions", "intent", "topic", "polarity"),
    *("class_index", "stance", "tags", "rating", "stars", "quality", "is_duplicate"),
    *("类别", "分类", "情感", "意图", "主题"),
}
"""With MEASURES, names of what is to be predicted where one column alone has such a name."""


class TextColumns(ColumnRules):
    inputs = ("text", "pair")
    optional = ("pair",)
    joined = ("text", "pair")

    def find(self, file: FileColumns) -> Found:
        label, text, pair = label_of(file), file.asked.get("text"), file.asked.get("pair")
        if text:
            return {"text": text, "pair": pair, "label": label}
        taken = (*each_column(label), *each_column(pair))
        both = () if pair else _pair(file, without=taken)
        if both:
            return {"text": both[0], "pair": both[1], "label": label}
        named = file.called(*KNOWN["text"], without=taken)
        texts = [column for column in named if file.hold_texts(column)]
        text = next(iter(texts), None)
        running = file.running_texts(without=taken)
        rivals = [column for column in texts if column in running]
        if len(rivals) > 1:
            raise file.unsure("text", rivals)  # such as review and body: either may be meant
        if text is None and len(running) == 2 and file.nameless and not pair:
            return {"text": running[0], "pair": running[1], "label": label}
        titles = file.called(*KNOWN["title"], without=taken)
        if named and not (text or running or titles):
            raise _no_texts(file, named[0])
        return {"text": text or file.the_text(running or titles), "pair": pair, "label": label}


def _no_texts(file: FileColumns, column: str) -> UsageError:
    """The error for a column that is called a text and holds something else."""
    kinds = {
        list: "lists",
        dict: "objects",
        int: "numbers",
        float: "numbers",
        str: "texts",
        bytes: "binary values",
    }
    held = sorted({kinds.get(type(value), "other values") for value in file.values(column)})
    return file.error(
        f"column {column!r} holds {' and '.join(held) or 'nothing'} where a text is expected",
        "write a text a row, a list's items joined; or name another column with --text NAME",
    )


def label_of(file: FileColumns) -> Column | None:
    """By name; else the one column of values that come again, or all columns of zeros and ones
    where there are no others. Raises UsageError for several."""
    label = file.asked.get("label") or file.known("label")
    if label or not file.labelled:
        return label
    asked = [name for column in file.asked.values() for name in each_column(column)]
    texts = [*asked, *file.running_texts(), *_pair(file)]
    texts += file.called(*KNOWN["text"], *KNOWN["title"])
    found = _targets(file) or _repeating(file, without=texts)
    if len(found) < 2:
        return next(iter(found), None)
    flags = _flags(file, without=texts)
    if set(found) <= set(flags) and not file.nameless:
        return tuple(flags)
    raise file.unsure("label", found)


def _pair(file: FileColumns, without: Collection[str | None] = ()) -> tuple[str, ...]:
    """The first two columns that have names of two texts which belong together."""
    both = (tuple(file.called(*names, without=without)) for names in PAIRS)
    return next((columns for columns in both if len(columns) == 2), ())


def _targets(file: FileColumns) -> list[str]:
    """The columns that may be the label: by their whole names, else by a word of them."""
    names = CLASSES | MEASURES
    whole = [column for column in file.names if normal_name(column) in names]
    return whole or [column for column in file.names if file.words_of(column) & names]


def _flags(file: FileColumns, without: Collection[str | None]) -> list[str]:
    """Columns without gaps that hold only zeros and ones, or only one of them: one-hot columns."""
    rest = [column for column in file.names if column not in without and file.words_of(column)]
    return [
        column
        for column in rest
        if len(file.values(column)) == len(file.sample)
        and all(flag_in(value) is not None for value in file.values(column))
    ]


def _repeating(file: FileColumns, without: Collection[str | None]) -> list[str]:
    """Columns without gaps whose values come again and again, or are decimal numbers."""
    found, counted = [], []
    for column in file.names:
        values = [str(value) for value in file.values(column)]
        if column in without or len(values) < len(file.sample) or not file.words_of(column):
            continue
        if counts_rows(values):
            continue
        distinct, numbers = set(values), numbers_in(values)
        decimals = any(not number.is_integer() for number in numbers)
        if decimals or 1 < len(distinct) <= max(2, len(values) // 2):
            found.append(column)
            if numbers == set(range(len(numbers))) != set():
                counted.append(column)
    # Without names, 0 to n - 1 is how labels are written: CoLA's stand after codes of sources.
    return counted if file.nameless and len(counted) == 1 else found
