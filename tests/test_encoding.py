"""Encoding rows as arrays: equal to a token-by-token reference for any text and length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer.base.errors import Place
from onelayer.tasks.choose.choose import Choose, ChooseRow
from onelayer.tasks.texts import TextRow, encode_texts
from onelayer.tokens.encodings import Cut, Encodings, EncodingsBuilder, cumulate, joined
from onelayer.tokens.pieces import Pieces, windows
from onelayer.tokens.template import Template
from onelayer.tokens.tokenizer import Tokenizer

HERE = Place("rows.jsonl")

texts = st.text("abc京 the\ud800", max_size=24)


def by_hand(
    groups: list[list[tuple[str, ...]]], tokenizer: Tokenizer, max_length: int
) -> Encodings:
    """Sequences of one or two texts for each row, cut one token at a time."""
    builder = EncodingsBuilder()
    for group in groups:
        sequences = [[e.ids for e in tokenizer.encode(parts)] for parts in group]
        whole = sum(len(ids) for pieces in sequences for ids in pieces)
        for pieces in sequences:
            while sum(map(len, pieces)) > max_length - 1 - len(pieces):
                pieces[int(np.argmax([len(ids) for ids in pieces]))].pop()
        left = sum(len(ids) for pieces in sequences for ids in pieces)
        builder.start_row(whole, lost=whole - left)
        for pieces in sequences:
            first = [tokenizer.cls_id, *pieces[0], tokenizer.sep_id]
            second = [*pieces[1], tokenizer.sep_id] if len(pieces) > 1 else []
            builder.add(first + second, len(first))
    return builder.build(examples_are_rows=True)


def text_rows(rows: Sequence[tuple[str, str | None]]) -> list[TextRow]:
    return [TextRow(a, b, None, HERE) for a, b in rows]


def same(one: Encodings, other: Encodings) -> None:
    for name in ("ids", "segment_ids", "cu_seqlens", "reads", "cu_reads", "cu_examples", "cu_rows"):
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.dtype == b.dtype, name
    assert one.cut == other.cut


@pytest.mark.slow
@settings(max_examples=200)
@given(
    rows=st.lists(st.tuples(texts, st.none() | texts), max_size=5), max_length=st.integers(8, 20)
)
def test_truncated_texts_and_pairs_equal_the_reference(
    rows: list[tuple[str, str | None]], max_length: int, tokenizer: Tokenizer
) -> None:
    found = encode_texts(text_rows(rows), tokenizer, max_length, 0, "head")
    groups = [[(a,) if b is None else (a, b)] for a, b in rows]
    same(found, by_hand(groups, tokenizer, max_length))


@given(
    rows=st.lists(st.tuples(texts, texts, st.lists(texts, min_size=2, max_size=4)), max_size=4),
    max_length=st.integers(8, 20),
)
def test_options_are_encoded_as_pairs_with_the_context(
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


def test_cut_tokens_are_counted_by_row(tokenizer: Tokenizer) -> None:
    row = ChooseRow("a " * 20, "b", ("c", "d"), 0, HERE)
    short = ChooseRow("a", "b", ("c", "d"), 0, HERE)
    cut = Choose(max_length=13).encode([row, short, row], tokenizer, False).cut
    assert cut == Cut(4 * 12, 2, 4 * 22 + 2 * 3, 3)
    assert str(cut) == "the length limit leaves 48 tokens (51.1%) of 2 of 3 rows unread"


# Windows -----------------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    room=st.integers(2, 40),
    data=st.data(),
)
def test_windows_cover_all_tokens_and_overlap_by_the_stride(
    lengths: list[int], room: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(0, room - 1))
    sizes = np.minimum(lengths, room)
    texts, starts = windows(np.array(lengths), sizes, stride)
    assert set(texts.tolist()) == set(range(len(lengths)))
    for text, (n, size) in enumerate(zip(lengths, sizes.tolist(), strict=True)):
        own = starts[texts == text].tolist()
        assert (own[0], own[-1] + size) == (0, n)
        # Anything that isn't longer than the stride is whole in some window.
        assert all(start < later <= start + size - stride for start, later in pairwise(own))


class Numbered(Tokenizer):
    """A tokenizer with one token per character and unique ids in a batch."""

    def __init__(self) -> None:
        self.template, self.seen = Template((-1,), (-2,), (-2,)), 0

    def pieces(self, texts: Sequence[str]) -> Pieces:
        lengths = np.fromiter(map(len, texts), np.int64)
        first = self.seen
        self.seen += int(lengths.sum())
        return Pieces(np.arange(first, self.seen), cumulate(lengths)[:-1], lengths)


lengths = st.integers(0, 90)
documents = st.lists(
    st.tuples(lengths.map("x".__mul__), st.none() | lengths.map("y".__mul__)), max_size=5
)


def windows_of(encodings: Encodings) -> list[list[tuple[list[int], list[int]]]]:
    """For each row and window, the tokens of the first and of the second text."""
    found = []
    for start, end in pairwise(encodings.cu_seqlens.tolist()):
        ids, segments = encodings.ids[start:end], encodings.segment_ids[start:end]
        assert ids[0] == -1
        assert ids[-1] == -2
        real = ids >= 0
        assert np.count_nonzero(~real) == 2 + int(segments.any())
        assert (np.diff(segments.astype(int)) >= 0).all()
        found.append((ids[real & (segments == 0)].tolist(), ids[real & (segments == 1)].tolist()))
    return [found[a:b] for a, b in pairwise(encodings.cu_rows.tolist())]


@pytest.mark.slow
@settings(max_examples=300)
@given(rows=documents, max_length=st.integers(8, 24), stride=st.integers(0, 12))
def test_windows_read_every_token(
    rows: list[tuple[str, str | None]], max_length: int, stride: int
) -> None:
    encodings = encode_texts(text_rows(rows), Numbered(), max_length, stride, "mean")
    assert max(encodings.lengths, default=0) <= max_length
    total = sum(len(a) + len(b or "") for a, b in rows)
    assert encodings.cut == Cut(0, 0, total, len(rows))
    windows = windows_of(encodings)
    read = {token for row in windows for window in row for part in window for token in part}
    assert read == set(range(total))
    for (a, b), row in zip(rows, windows, strict=True):
        fits = len(a) + len(b or "") <= max_length - 2 - (b is not None)
        assert (len(row) == 1) == fits
        for part, text in ((0, a), (1, b or "")):
            parts = [window[part] for window in row]
            size = len(parts[0])
            assert all(ids == list(range(ids[0], ids[0] + size)) for ids in parts if ids)
            for one, after in pairwise(parts):
                assert len(set(one) & set(after)) >= min(stride, size // 2)
            if size == len(text):  # a short text is whole in every window
                assert all(ids == parts[0] for ids in parts)


@given(rows=documents, max_length=st.integers(8, 24), stride=st.integers(0, 12))
def test_head_and_ends_read_outer_windows_and_count_unread_tokens(
    rows: list[tuple[str, str | None]], max_length: int, stride: int
) -> None:
    every = windows_of(encode_texts(text_rows(rows), Numbered(), max_length, stride, "mean"))
    for pooling in ("head", "ends"):
        encodings = encode_texts(text_rows(rows), Numbered(), max_length, stride, pooling)
        windows = windows_of(encodings)
        assert windows == [
            row[:1] if pooling == "head" or len(row) == 1 else [row[0], row[-1]] for row in every
        ]
        unread = [
            len(a) + len(b or "") - len({t for window in row for part in window for t in part})
            for (a, b), row in zip(rows, windows, strict=True)
        ]
        assert (encodings.cut.tokens, encodings.cut.rows) == (sum(unread), np.count_nonzero(unread))


def test_windows_are_as_few_as_possible() -> None:
    rows = text_rows([("x" * 14, None), ("x" * 15, None), ("x" * 24, None), ("x" * 25, None)])
    encodings = encode_texts(rows, Numbered(), max_length=16, stride=4, pooling="mean")
    assert np.diff(encodings.cu_rows).tolist() == [1, 2, 2, 3]
    assert encodings.n_examples == 8  # each is a training example of its own


@given(
    groups=st.lists(st.lists(st.tuples(texts, texts), min_size=1, max_size=3), min_size=1),
    cuts=st.sets(st.integers(0, 8)),
)
@settings(max_examples=40)
def test_joined_parts_equal_the_whole(
    groups: list[list[tuple[str, ...]]], cuts: set[int], tokenizer: Tokenizer
) -> None:
    whole = by_hand(groups, tokenizer, 12)
    bounds = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    whole = replace(whole, offsets=np.arange(2 * len(whole.reads)).reshape(-1, 2))
    again = joined([whole.part(start, stop) for start, stop in pairwise(bounds)])
    cumulative = ("cu_seqlens", "cu_reads", "cu_examples", "cu_rows")
    for name in ("ids", "segment_ids", "reads", "offsets", *cumulative):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
