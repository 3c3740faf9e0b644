"""The columns of tag: lists of words with lists of tags, or texts with spans of characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onelayer.base.wording import listed
from onelayer.data.column_rules import Column, ColumnRules, Found
from onelayer.data.columns import FileColumns
from onelayer.data.label_form import LabelForm
from onelayer.data.layout import Layout
from onelayer.tasks.tag.spans import are_spans

TOKEN_NAMES = ("tokens", "words")
TAG_NAMES = ("tags", "ner_tags", "ner", "pos_tags", "upos", "labels", "label")
SPAN_NAMES = ("entities", "spans", "ents", "label", "labels", "annotations")


class TagColumns(ColumnRules):
    inputs = ("text",)
    formats = ("conll", "conllu")

    def recognises(self, file: FileColumns) -> bool:
        if _tokens(file):
            return True
        spans, named = _spans(file), file.known("label")
        if spans is None:
            return False
        if named in (None, spans) or "label" in file.asked:
            return True
        raise file.error(
            f"{spans!r} holds entities and {named!r} labels: which are to be learned?",
            "say so with --task tag or --task classify",
        )

    def find(self, file: FileColumns) -> Found:
        tokens = _tokens(file)
        if tokens:
            spaces = file.first(["space_after"])
            return {
                "text": tokens,
                "label": file.first(TAG_NAMES, without=[tokens]),
                "space_after": spaces,
            }
        spans = _spans(file)
        text = file.known("text", without=[spans])
        return {"text": text or file.the_text(file.running_texts()), "label": spans}

    def label_form(self, file: FileColumns, columns: Mapping[str, Column]) -> LabelForm:
        label = columns.get("label")
        names = file.table.class_names.get(label, ()) if isinstance(label, str) else ()
        return LabelForm(names=names)

    def remarks(self, file: FileColumns, layout: Layout) -> Iterator[str]:
        label = layout.columns.get("label")
        values = file.values(label) if isinstance(label, str) else []
        if layout.labels.names:
            yield f"the numbers in {label} stand for {listed(layout.labels.names)}"
        elif values and all(isinstance(tag, int) for tag in values[0]):
            yield "tags are numbers: without names such as B-PER each word is scored by itself"


def _tokens(file: FileColumns) -> str | None:
    """A column of lists of words."""
    column = file.named("text") or file.first(TOKEN_NAMES)
    if not file.hold(column, list):
        return None
    words = (word for value in file.values(column) for word in value)
    return column if all(isinstance(word, (str, int, float)) for word in words) else None


def _spans(file: FileColumns) -> str | None:
    """A column of entities given by their characters."""
    asked = file.named("label")
    for column in [asked] if asked else file.called(*SPAN_NAMES):
        values = [value for value in file.values(column) if value not in ([], {})]
        if values and all(map(are_spans, values)):
            return column
    return None
