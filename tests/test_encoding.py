"""Rows become arrays: the same ones as token by token, whatever the texts and the length."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer.errors import Place
from onelayer.tasks.choose import Choose, ChooseRow
from onelayer.tasks.texts import TextRow, encode_texts
from onelayer.text.encoding import Cut, Encodings, EncodingsBuilder
from onelayer.text.tokenizer import Tokenizer

HERE = Place("rows.jsonl")

texts = st.text("abc京 the\ud800", max_size=24)


def by_hand(
    groups: list[list[tuple[str, ...]]], tokenizer: Tokenizer, max_length: int
) -> Encodings:
    """Sequences of one or two texts for each row, cut one token at a time."""
    builder = EncodingsBuilder()
    for group in groups:
        builder.start_row()
        for parts in group:
            pieces = [encoding.ids for encoding in tokenizer.encode(parts)]
            whole = sum(map(len, pieces))
            while sum(map(len, pieces)) > max_length - 1 - len(pieces):
                pieces[int(np.argmax([len(ids) for ids in pieces]))].pop()
            if lost := whole - sum(map(len, pieces)):
                builder.lose(lost)
            first = [tokenizer.cls_id, *pieces[0], tokenizer.sep_id]
            second = [*pieces[1], tokenizer.sep_id] if len(pieces) > 1 else []
            builder.add(first + second, len(first))
    return builder.build(examples_are_rows=True)


def same(one: Encodings, other: Encodings) -> None:
    for name in ("ids", "segment_ids", "cu_seqlens", "reads", "cu_reads", "cu_examples", "cu_rows"):
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.dtype == b.dtype, name
    assert one.cut == other.cut


@settings(max_examples=200)
@given(
    rows=st.lists(st.tuples(texts, st.none() | texts), max_size=5), max_length=st.integers(8, 20)
)
def test_texts_and_pairs(
    rows: list[tuple[str, str | None]], max_length: int, tokenizer: Tokenizer
) -> None:
    found = encode_texts([TextRow(a, b, None, HERE) for a, b in rows], tokenizer, max_length)
    groups = [[(a,) if b is None else (a, b)] for a, b in rows]
    same(found, by_hand(groups, tokenizer, max_length))


@given(
    rows=st.lists(st.tuples(texts, texts, st.lists(texts, min_size=2, max_size=4)), max_size=4),
    max_length=st.integers(8, 20),
)
def test_options(
    rows: list[tuple[str, str, list[str]]], max_length: int, tokenizer: Tokenizer
) -> None:
    found = Choose(max_length=max_length).encode(
        [ChooseRow(c, q, tuple(options), 1, HERE) for c, q, options in rows], tokenizer, True
    )
    groups = [[(c, f"{q} {option}") for option in options] for c, q, options in rows]
    same(found, by_hand(groups, tokenizer, max_length))
    right = [float(i == 1) for _, _, options in rows for i in range(len(options))]
    assert found.targets is not None
    assert found.targets.tolist() == right


def test_what_was_cut_is_counted_by_row(tokenizer: Tokenizer) -> None:
    row = ChooseRow("a " * 20, "b", ("c", "d"), 0, HERE)
    assert Choose(max_length=13).encode([row, row], tokenizer, False).cut == Cut(4 * 12, 2)
