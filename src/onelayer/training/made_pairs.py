"""Pairs made of the rows' own texts, for a model that learns from itself to read pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onelayer.tokens.encodings import Encodings, EncodingsBuilder, Ints
from onelayer.tokens.template import Template

LONGEST = 64
"""Tokens of a text in these pairs, at most."""


def four_of_each_row(
    rows: Encodings, template: Template, n: int, rng: np.random.Generator
) -> list[Ints]:
    """The token ids of ``n`` texts, four for a row: both of its texts, and each once varied.
    Where there are fewer rows than that, more variations of each follow."""
    order = rng.permutation(len(rows.second_at))
    found = []
    for i in range(n // 4):
        for text in _halves(rows, int(order[i % len(order)]), template):
            varied = [_varied(text, rows.ids, rng) for _ in range(2)]
            found += [text, varied[0]] if i < len(order) else varied
    return found


def _halves(rows: Encodings, sequence: int, template: Template) -> tuple[Ints, Ints]:
    """The ids of a sequence's two texts, without special tokens."""
    start, end = rows.cu_seqlens[sequence : sequence + 2].tolist()
    second = start + int(rows.second_at[sequence])
    first = rows.ids[start + len(template.before) : second - len(template.between)]
    return first[:LONGEST], rows.ids[second : end - len(template.after)][:LONGEST]


def _varied(text: Ints, others: Ints, rng: np.random.Generator) -> Ints:
    """The text with a third of its tokens left out or replaced, in another order, or a part of
    it."""
    n = len(text)
    if n < 2:
        return text
    match int(rng.integers(4)):
        case 0:
            return text[np.sort(rng.permutation(n)[: max(1, 2 * n // 3)])]
        case 1:
            return np.where(rng.random(n) < 1 / 3, rng.choice(others, n), text)
        case 2:
            return text[rng.permutation(n)]
        case _:
            start, stop = np.sort(rng.choice(n + 1, 2, replace=False)).tolist()
            return text[start:stop]


def drawn_pairs(n_texts: int, n: int, rng: np.random.Generator) -> Ints:
    """(n, 2) numbers of texts: two fifths are both texts of a row, a fifth variations of
    one text, and the others any two."""
    row, kind, either = rng.integers(n_texts // 4, size=n), rng.random(n), rng.integers(2, size=n)
    other = rng.integers(2, size=n)
    of_row = np.stack([4 * row + either, 4 * row + 2 + other], axis=1)
    of_text = np.stack([4 * row + 2 * either + other, 4 * row + 2 * either + 1 - other], axis=1)
    any_two = rng.integers(n_texts, size=(n, 2))
    return np.select([kind[:, None] < 0.4, kind[:, None] < 0.6], [of_row, of_text], any_two)


def joined_pairs(pairs: Sequence[tuple[Ints, Ints]], template: Template) -> Encodings:
    """One sequence for each pair; all of its vectors are read."""
    builder = EncodingsBuilder(template.second_segment)
    for first, second in pairs:
        head = template.first(first.tolist())
        ids = [*head, *second.tolist(), *template.after]
        builder.start_row()
        builder.add(ids, len(head), reads=range(len(ids)))
    return builder.build(examples_are_rows=True)
