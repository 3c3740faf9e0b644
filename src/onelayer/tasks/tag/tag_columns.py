"""The columns of tag: words with their tags, or texts with spans of characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from onelayer.base.errors import DataError
from onelayer.base.wording import listed
from onelayer.data.column_rules import Column, ColumnRules, Facts, Found
from onelayer.data.columns import ROWS_SEEN, FileColumns
from onelayer.data.formats.header import are_classes
from onelayer.data.label_form import LabelForm
from onelayer.data.layout import Layout
from onelayer.data.span_offsets import OffsetEvidence, Offsets
from onelayer.data.table import Table
from onelayer.data.values import listed_in
from onelayer.tasks.tag.notation import Notation, notation_of
from onelayer.tasks.tag.schemes import Scheme, recognise
from onelayer.tasks.tag.spans import are_spans, written_spans
from onelayer.tasks.tag.tag_reading import TagFacts
from onelayer.tasks.tag.word_tags import tag_list, word_list, words_for

TOKEN_NAMES = ("tokens", "words", "token", "word")
TAG_NAMES = ("tags", "ner_tags", "ner", "pos_tags", "upos", "labels", "label", "tag", "pos")
SPAN_NAMES = ("entities", "spans", "ents", "label", "labels", "annotations", "annotation")

_IOB = re.compile(r"[BIESMLU]-.+|O", re.IGNORECASE | re.DOTALL)


class TagColumns(ColumnRules):
    inputs = ("text",)
    formats = ("conll", "conllu", "token-rows")

    def recognises(self, file: FileColumns) -> bool:
        if _tokens(file):
            return True
        spans, named = _spans(file), file.known("label")
        if spans is None:
            return _tagged_text(file) is not None
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
                "label": _tags_of(file, tokens),
                "space_after": spaces,
            }
        spans = _spans(file)
        both = None if spans else _tagged_text(file)
        if both:
            return {"text": both[0], "label": both[1]}
        text = file.known("text", without=[spans])
        return {"text": text or file.the_text(file.running_texts()), "label": spans}

    def label_form(self, file: FileColumns, columns: Mapping[str, Column]) -> LabelForm:
        label = columns.get("label")
        names = file.table.class_names.get(label, ()) if isinstance(label, str) else ()
        text = columns["text"]
        values = file.values(text) if isinstance(text, str) else []
        texts = [value for value in values if isinstance(value, str)]
        lists = sum(word_list(text) is not None for text in texts)
        return LabelForm(names=names, written=lists > len(texts) / 2)

    def remarks(self, file: FileColumns, layout: Layout) -> Iterator[str]:
        if any(file.values(file.first(["relations"]))):
            yield "relations aren't learned, only entities"

    def facts(self, table: Table, layout: Layout) -> Facts:
        label = layout.columns.get("label")
        values = (record.values.get(str(label)) for record in islice(table, ROWS_SEEN))
        present = [value for value in values if value not in (None, "", [], {})]
        if any(are_spans(_listed(value)) for value in present):
            offsets, remarks = _offsets(table, layout)
            return Facts(TagFacts(offsets=offsets).to_json(), tuple(remarks))
        if layout.labels.names:
            return Facts(None, (f"the numbers in {label} stand for {listed(layout.labels.names)}",))
        lists = [tag_list(value) or [] for value in present]
        notation = notation_of(tag for tags in lists for tag in tags if isinstance(tag, str))
        read = notation if notation and notation.remark else None
        return Facts(TagFacts(notation=read).to_json(), tuple(_about_tags(lists, read)))


def _about_tags(lists: Sequence[list[Any]], notation: Notation | None) -> Iterator[str]:
    """What to say of tags: in which notation they are read, and why they make no entities."""
    if notation and notation.remark:
        yield notation.remark
        return
    tags = {tag for tags in lists for tag in tags if isinstance(tag, (str, int))}
    if tags and all(isinstance(tag, int) for tag in tags):
        yield "tags are numbers: without names such as B-PER each word is scored by itself"
        return
    names = [[str(tag) for tag in tags] for tags in lists]
    plain = sorted(tag for tag in map(str, tags) if not _IOB.fullmatch(tag))
    if plain and len(plain) < len(tags) - 1 and recognise(names) is Scheme.PLAIN:
        yield f"{listed(plain, 4)} without a prefix such as B-: each word is scored by itself"


def _listed(value: Any) -> Any:
    """A list that stands as text in a csv's cell, and any other value as it is."""
    return listed_in(value) if isinstance(value, str) else value


def _tokens(file: FileColumns) -> str | None:
    """A column of lists of words, which may be written as text."""
    for column in filter(None, [file.named("text") or file.first(TOKEN_NAMES)]):
        values = [word_list(value) for value in file.values(column)]
        words = [word for value in values for word in value or ()]
        texts = sum(isinstance(word, (str, int, float)) for word in words)
        if values and None not in values and 2 * texts > len(words):
            return column
    return None


def _tags_of(file: FileColumns, tokens: str) -> str | None:
    """The column with a tag for each word: by name, else the only one with lists as long."""
    named = file.first(TAG_NAMES, without=[tokens])
    if named or not file.labelled:
        return named
    lengths = [len(word_list(row.get(tokens)) or ()) for row in file.sample]
    alike = [
        column
        for column in file.names
        if column != tokens
        and [len(tag_list(row.get(column)) or ()) for row in file.sample] == lengths
    ]
    if len(alike) > 1:
        raise file.unsure("label", alike)
    return next(iter(alike), None)


def _spans(file: FileColumns) -> str | None:
    """A column of entities given by their characters: most of its values are such, so that the
    others are mistakes in the file."""
    asked = file.named("label")
    for column in [asked] if asked else dict.fromkeys((*file.called(*SPAN_NAMES), *file.names)):
        values = [_listed(value) for value in file.values(column)]
        filled = [value for value in values if value not in ([], {})]
        if filled and 2 * sum(map(are_spans, filled)) > len(filled):
            return column
    return None


def _tagged_text(file: FileColumns) -> tuple[str, str] | None:
    """A column of texts and one with as many tags as each text has words."""
    label, text = file.named("label"), file.named("text")
    labels = [label] if label else [*file.called(*TAG_NAMES), *file.names]
    texts = [text] if text else file.names
    for tags in dict.fromkeys(labels):
        lists = [tag_list(row.get(tags)) for row in file.sample]
        if _are_tags(lists):
            for column in texts:
                if column != tags and _one_each(file, column, lists):
                    return column, tags
    return None


def _are_tags(lists: Sequence[list[Any] | None]) -> bool:
    """Whether lists hold tags: several in most of them, and all of the IOB form or a few that come
    again and again."""
    if sum(len(tags or ()) > 1 for tags in lists) <= len(lists) / 2:
        return False
    names = [str(tag) for tags in lists for tag in tags or ()]
    iob = all(map(_IOB.fullmatch, names)) and any(len(name) > 1 for name in names)
    return iob or (are_classes(names) and _vary(lists))


def _vary(lists: Sequence[list[Any] | None]) -> bool:
    """Whether the lists differ in length, as sentences do."""
    return len({len(tags or ()) for tags in lists}) > 2


def _one_each(file: FileColumns, column: str, lists: Sequence[list[Any] | None]) -> bool:
    """Whether nearly every text of a column has one word for each tag."""
    texts = [row.get(column) for row in file.sample]
    fitting = sum(
        isinstance(text, str)
        and (len(word_list(text) or ()) == len(tags) or bool(words_for(text, len(tags))))
        for text, tags in zip(texts, lists, strict=True)
        if tags
    )
    return fitting >= 0.9 * len(texts)


def _offsets(table: Table, layout: Layout) -> tuple[Offsets, Iterator[str]]:
    """How the offsets of all spans are to be read, and what to say of that."""
    evidence = OffsetEvidence()
    empty = total = 0
    for record in table:
        text = record.values.get(str(layout.columns.get("text")))
        gold = _listed(record.values.get(str(layout.columns.get("label"))))
        if record.void or not isinstance(text, str) or isinstance(gold, dict):
            continue
        total += 1
        empty += gold == []
        try:
            evidence.see(text, list(written_spans(gold, table.place(record))))
        except DataError:
            continue  # a bad row, which is told where rows are read
    offsets = evidence.reading()
    return offsets, _about_offsets(offsets, evidence, empty, total)


def _about_offsets(
    offsets: Offsets, evidence: OffsetEvidence, empty: int, total: int
) -> Iterator[str]:
    if offsets != Offsets():
        by = "the entities' own texts" if evidence.with_text else "where words begin and end"
        yield f"offsets are {offsets}: {by} tell it"
    elif evidence.seen and not evidence.with_text:
        yield f"offsets are taken as {offsets}: the file has no texts of entities to compare"
        if evidence.unclean:
            n = f"{evidence.unclean:,} of {evidence.seen:,}"
            yield f"{n} entities begin or end inside a word, and a word gets one tag"
    if 5 * empty > total:
        yield f"{empty:,} of {total:,} texts have no entity: they are learned as texts without any"
