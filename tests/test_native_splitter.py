"""Training splits texts with the C++ library, into the pieces that the tokenizers library gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.tokenizer_twins import TextMaker, tokenizers, vocabulary_of
from onelayer.checkpoint.read import describe
from onelayer.engines.native import native_tokenizer
from onelayer.engines.native.library import library, why_no_library
from onelayer.engines.native.native_tokenizer import NativeTokenizer, with_quick_splitter
from onelayer.recipe import Recipe
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import Joints, split_words
from onelayer.training.plan import make_plan
from onelayer.training.progress import Silent

pytestmark = pytest.mark.skipif(
    why_no_library() is not None, reason=why_no_library() or "the library is there"
)


def natively(tokenizer: Tokenizer) -> Tokenizer:
    found, _ = library()
    assert found is not None
    return tokenizer.split_by(NativeTokenizer(found, tokenizer, tokenizer.vocab_size))


def assert_splits_alike(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    native = natively(tokenizer)
    ours, theirs = native.pieces(texts), tokenizer.pieces(texts)
    for name in ("ids", "starts", "lengths"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    for one, other in zip(native.encode(texts), tokenizer.encode(texts), strict=True):
        assert (one.ids, one.offsets) == (other.ids, other.offsets)
    words = [split_words(text, Joints("-'", "@")) for text in texts]
    both = (each.encode_words(texts, words) for each in (native, tokenizer))
    for one_text, other_text in zip(*both, strict=True):
        assert one_text.ids == other_text.ids
        assert list(one_text.word_ids) == list(other_text.word_ids)


@pytest.mark.slow
def test_pieces_are_those_of_the_tokenizers_library() -> None:
    for name, tokenizer in tokenizers(installed=False):
        maker = TextMaker(name, vocabulary_of(tokenizer))
        texts = [text.decode(errors="replace") for text in islice(maker.texts(), 30)]
        assert_splits_alike(tokenizer, [*texts, "", "half a pair \ud83d.", "a\0b", "  "])
        assert_splits_alike(tokenizer, [])


def test_plan_is_the_same_without_the_library(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "A good café 🙂,yes\na bad one,no\n" * 4, encoding="utf-8")
    assert with_quick_splitter(describe(bert).tokenizer)
    found = []
    for at_hand in (lambda: library()[0], lambda: None):
        monkeypatch.setattr(native_tokenizer, "library_at_hand", at_hand)
        plan = make_plan(rows, None, Recipe(model=str(bert)), Silent())
        found.append((plan.identity, plan.data.encodings.ids.tolist(), plan.scored_encodings.ids))
    assert found[0][:2] == found[1][:2]
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_tokenizer_is_itself_where_the_library_would_have_to_be_built(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = describe(bert).tokenizer
    monkeypatch.setattr(native_tokenizer, "library_at_hand", lambda: None)
    assert with_quick_splitter(tokenizer) is tokenizer
