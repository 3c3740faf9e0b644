"""A trimmed vocabulary cuts the texts that it was made for as the whole one does."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from onelayer.base.errors import OneLayerError
from onelayer.tokens.tokenizer import Tokenizer, TokenizerKind
from onelayer.tokens.trimming import TrimmedVocabulary, trimmed
from support.tiny_tokenizers import SENTENCES, TINY

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = [
    *("the", "cat", "sat", "on", "a", "mat", "and", "the", "cats", "were", "sitting", "there"),
    *("我们在北京大学学习", "北京", "学习"),
]
SEEN = ["the cat sat on the mat", "我们在北京", "sitting there, <unk> €"]
UNSEEN = ["cats and mats", "大学学习", "zebra ✓"]


def corpus() -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=8)) for _ in range(300)]


def unigram() -> Backend:
    marked = [f"▁{word}" for word in dict.fromkeys(WORDS)]
    parts = ["the", "sit", "ting", "北京", "大学", "学习", "▁sit", "ca", "ats", "在北"]
    letters = sorted({letter for word in marked for letter in word})
    scored = [(name, 0.0) for name in SPECIAL]
    for score, names in ((-3.0, marked), (-5.0, parts), (-9.0, letters)):
        scored += [(name, score - i / 7) for i, name in enumerate(names)]
    backend = Backend(models.Unigram(scored, unk_id=SPECIAL.index("<unk>")))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return backend


def byte_bpe() -> Backend:
    backend = Backend(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(corpus(), trainer)
    return backend


def wordpiece() -> Backend:
    backend = Backend(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIAL)
    backend.train_from_iterator(corpus(), trainer)
    return backend


KINDS = {"Unigram": unigram, "BPE": byte_bpe, "WordPiece": wordpiece}


@pytest.fixture(params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Tokenizer:
    backend = KINDS[request.param]()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(name, SPECIAL.index(name)) for name in ("<s>", "</s>")],
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    return Tokenizer.read(tmp_path, TokenizerKind(request.param, ()), segments=False)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode([text])[0].ids


def trimmed_to(whole: Tokenizer, texts: list[str]) -> TrimmedVocabulary:
    return trimmed(whole, {i for one in whole.encode(texts) for i in one.ids})


def test_texts_that_it_was_made_for_are_cut_the_same(whole: Tokenizer) -> None:
    smaller = trimmed_to(whole, SEEN)
    assert len(smaller.kept) < whole.vocab_size
    for one, other in zip(whole.encode(SEEN), smaller.tokenizer.encode(SEEN), strict=True):
        np.testing.assert_array_equal(smaller.old_ids(np.array(other.ids)), one.ids)
        assert one.offsets == other.offsets


def test_every_part_of_the_corpus_is_exact_for_its_own_texts(whole: Tokenizer) -> None:
    lines = corpus()
    for i in range(0, len(lines), 60):
        texts = lines[i : i + 3]
        smaller = trimmed_to(whole, texts)
        for one, other in zip(whole.encode(texts), smaller.tokenizer.encode(texts), strict=True):
            assert smaller.old_ids(np.array(other.ids)).tolist() == one.ids


def test_other_texts_are_cut_into_smaller_pieces(whole: Tokenizer) -> None:
    smaller = trimmed_to(whole, SEEN)
    own = smaller.tokenizer
    for text in UNSEEN:
        before, after = ids_of(whole, text), ids_of(own, text)
        assert len(after) >= len(before)
        assert after.count(own.unk_id) <= before.count(whole.unk_id)
    texts = [*UNSEEN, *WORDS]
    assert any(
        smaller.old_ids(np.array(ids_of(own, t))).tolist() != ids_of(whole, t) for t in texts
    )


def test_chinese_words_of_known_characters_are_kept(tmp_path: Path) -> None:
    backend = unigram()
    backend.save(str(tmp_path / "tokenizer.json"))
    whole = Tokenizer.read(tmp_path, TokenizerKind("Unigram", ()), segments=False)
    smaller = trimmed_to(whole, ["我们在北", "京"])
    for text, same in {"北京": True, "在北京": True, "大学": False, "cats": False}.items():
        own = smaller.old_ids(np.array(ids_of(smaller.tokenizer, text))).tolist()
        assert (own == ids_of(whole, text)) == same, text


def test_special_tokens_keep_their_roles_under_new_ids(whole: Tokenizer, tmp_path: Path) -> None:
    smaller = trimmed_to(whole, SEEN)
    own = smaller.tokenizer
    for role in ("cls_id", "sep_id", "unk_id", "pad_id"):
        assert smaller.kept[getattr(own, role)] == getattr(whole, role)
    assert [smaller.kept[i] for i in own.template.ids] == list(whole.template.ids)
    assert own.vocab_size == len(smaller.kept)
    assert list(smaller.kept) == sorted(smaller.kept)

    (tmp_path / "written").mkdir()
    own.write(tmp_path / "written", max_length=64)
    again = Tokenizer.read(tmp_path / "written", own._kind, segments=False)
    assert again.digest == own.digest


def test_bpe_with_marks_in_its_pieces_is_refused(tmp_path: Path) -> None:
    data = json.loads(byte_bpe().to_str())
    data["model"]["end_of_word_suffix"] = "</w>"

    class Marked:
        special_ids = frozenset({0})

        def to_json(self) -> dict[str, object]:
            return data

    with pytest.raises(OneLayerError, match="can't be trimmed"):
        trimmed(Marked(), [])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", TINY)
def test_vocabularies_of_all_families_are_trimmed_exactly(kind: str, tmp_path: Path) -> None:
    tiny = TINY[kind]
    whole = Tokenizer.read(tiny.write(tmp_path), tiny.kind, segments=tiny.segments)
    for sentence in SENTENCES:
        smaller = trimmed_to(whole, [sentence])
        assert len(smaller.kept) < whole.vocab_size
        assert smaller.old_ids(np.array(ids_of(smaller.tokenizer, sentence))).tolist() == ids_of(
            whole, sentence
        )
        own, other = smaller.tokenizer.template, whole.template
        assert [smaller.kept[i] for i in own.ids] == list(other.ids)
        assert own.second_segment == other.second_segment
