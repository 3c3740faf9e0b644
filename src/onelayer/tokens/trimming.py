"""A smaller vocabulary that cuts the texts it was made for exactly as the whole one does.

It has the pieces of these texts, all special tokens, and all single characters and bytes, so that
any other text is cut too, into smaller pieces where a longer one is gone. It also has the words of
Chinese and Korean that are spelled with characters of these texts. There are few of them for each
character, and other texts need them: with 450 Chinese headlines, 12 % of the pieces of others would
be gone without these words, and 3 % with them. Why nothing changes for a text whose pieces are all
kept:

- WordPiece takes the longest match from left to right. A piece that is gone was no match.
- Unigram takes the cut with the highest sum of scores. It is still there, and nothing is new. The
  score of an unknown character follows from the lowest of all scores, so the piece that has it is
  kept.
- BPE merges pairs in the order of their ranks. All merges that make a kept piece are kept; what is
  gone would have been merged where it was possible, so it was not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from onelayer.base.errors import OneLayerError
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TrimmedVocabulary:
    """A tokenizer with a part of another one's vocabulary."""

    tokenizer: Tokenizer
    kept: Ints
    """(n,) the old id of each piece, ascending: the rows of the embedding to keep."""

    def old_ids(self, ids: Ints) -> Ints:
        """(N,) the ids of the same pieces in the whole vocabulary."""
        return np.asarray(self.kept[ids])

    def in_whole(self, encodings: Encodings) -> Encodings:
        """The same pieces of texts by their ids in the whole vocabulary."""
        return replace(encodings, ids=self.old_ids(encodings.ids).astype(encodings.ids.dtype))


def trimmed(tokenizer: Tokenizer, used: Iterable[int]) -> TrimmedVocabulary:
    """Reduces a vocabulary.

    Parameters
    ----------
    tokenizer
        The tokenizer with the whole vocabulary, of any kind.
    used
        Ids to keep: those in the texts that must not be cut otherwise.

    Raises
    ------
    OneLayerError
        If the kind of tokenizer can't be trimmed.
    """
    data = tokenizer.to_json()
    model = data["model"]
    pieces = _pieces(model)
    always = {*tokenizer.special_ids, *(token["id"] for token in data.get("added_tokens") or [])}
    keep = {*map(int, used), *always}
    keep.update(_spelled_alike(pieces, keep))
    keep.update(number for piece, number in pieces.items() if _is_basic(piece, model))
    match model["type"]:
        case "Unigram":
            keep.add(min(pieces.values(), key=lambda number: model["vocab"][number][1]))
        case "BPE":
            if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
                raise OneLayerError("a BPE vocabulary with marks in its pieces can't be trimmed")
            names = {number: piece for piece, number in pieces.items()}
            made = (names[number] for number in sorted(keep - always) if number in names)
            keep |= {pieces[piece] for piece in _parts(made, model["merges"]) if piece in pieces}
    new_ids = {old: new for new, old in enumerate(sorted(keep))}
    data["model"] = _reduced(model, new_ids)
    data["added_tokens"] = [
        {**token, "id": new_ids[token["id"]]} for token in data.get("added_tokens") or []
    ]
    return TrimmedVocabulary(tokenizer.with_vocabulary(data, new_ids), np.array(list(new_ids)))


def _pieces(model: Mapping[str, Any]) -> dict[str, int]:
    """The id of each piece."""
    if model["type"] == "Unigram":
        return {piece: number for number, (piece, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _is_basic(piece: str, model: Mapping[str, Any]) -> bool:
    """Whether a piece is a single character, at the beginning of a word or inside one, or a
    byte."""
    bare = piece.removeprefix(model.get("continuing_subword_prefix") or "▁")
    is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
    return len(bare) <= 1 or is_byte


def _spelled_alike(pieces: Mapping[str, int], used: Set[int]) -> Iterator[int]:
    """The pieces with ideographs or syllables of Hangul that have only characters of used ones."""
    known = {character for piece, number in pieces.items() if number in used for character in piece}
    scripts = ("CJK UNIFIED", "HANGUL SYLLABLE")
    large = {one for one in known if unicodedata.name(one, "").startswith(scripts)}
    known.add("▁")
    for piece, number in pieces.items():
        if not large.isdisjoint(piece) and known.issuperset(piece):
            yield number


def _reduced(model: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """The model of a ``tokenizer.json`` with the kept pieces under their new ids."""
    if model["type"] == "Unigram":
        vocab = model["vocab"]
        unk = model.get("unk_id")
        reduced = [vocab[old] for old in new_ids if old < len(vocab)]
        return {**model, "vocab": reduced, "unk_id": None if unk is None else new_ids[unk]}
    pieces = {
        piece: new_ids[old]
        for piece, old in sorted(model["vocab"].items(), key=lambda item: item[1])
        if old in new_ids
    }
    if model["type"] != "BPE":
        return {**model, "vocab": pieces}
    merges = [[a, b] for a, b in map(_pair, model["merges"]) if {a, b, a + b} <= pieces.keys()]
    return {**model, "vocab": pieces, "merges": merges}


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """Old files have the two parts of a merge in one string."""
    a, b = merge.split(" ") if isinstance(merge, str) else merge
    return a, b


def _parts(made: Iterable[str], merges: Sequence[str | Sequence[str]]) -> Iterator[str]:
    """Every piece from which BPE makes one of these, on the way from their characters."""
    ranks = {_pair(merge): rank for rank, merge in enumerate(merges)}
    for piece in made:
        symbols = list(piece)
        yield from symbols
        while found := [
            (ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in ranks
        ]:
            _, at = min(found)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
            yield symbols[at]
