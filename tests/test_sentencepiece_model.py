"""SentencePiece's own files: cut as its library cuts, in the vocabulary of each family."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sentencepiece

from onelayer.base.errors import CheckpointError
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.tokenizer_files import (
    ALBERT_UNIGRAM,
    CAMEMBERT_UNIGRAM,
    DEBERTA_UNIGRAM,
    WORDPIECE,
    XLMR_UNIGRAM,
    TokenizerKind,
)
from support.tiny_tokenizers import SENTENCES

TEXTS = (
    *SENTENCES,
    *("", " ", "  two  spaces ", "tab\tand\nline", "ﬁne Ａ ① ½", "\u3000全角 空格", "unknown: ꙮ"),
    *("<s> </s> <unk> [CLS] [SEP] [MASK] <mask> <pad>", "12, 3,000", "café"),
)


class Published(NamedTuple):
    """How a family's encoders are published."""

    kind: TokenizerKind
    file: str
    trained: Mapping[str, Any]
    """Options of SentencePiece's trainer."""
    ours: Callable[[int], int]
    """Our id of a piece's number in the file."""
    flags: Mapping[str, bool] = {}


FAMILIES = {
    "XLM-R": Published(
        XLMR_UNIGRAM, "sentencepiece.bpe.model", {}, lambda piece: piece + 1 if piece else 3
    ),
    "CamemBERT": Published(
        CAMEMBERT_UNIGRAM, "sentencepiece.bpe.model", {}, lambda piece: piece + 4 if piece else 3
    ),
    "DeBERTa": Published(
        DEBERTA_UNIGRAM,
        "spm.model",
        {
            "pad_id": 0,
            "bos_id": 1,
            "eos_id": 2,
            "unk_id": 3,
            "pad_piece": "[PAD]",
            "bos_piece": "[CLS]",
            "eos_piece": "[SEP]",
            "unk_piece": "[UNK]",
        },
        lambda piece: piece,
    ),
    "ALBERT": Published(
        ALBERT_UNIGRAM,
        "spiece.model",
        {
            "pad_id": 0,
            "unk_id": 1,
            "bos_id": -1,
            "eos_id": -1,
            "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
        },
        lambda piece: piece,
        {"do_lower_case": False, "keep_accents": True},
    ),
}


def trained(**options: Any) -> bytes:
    """A SentencePiece file of a few sentences."""
    written = io.BytesIO()
    defaults = {"vocab_size": 115, "model_type": "unigram", "minloglevel": 2, "num_threads": 1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3), model_writer=written, **(defaults | options)
    )
    return written.getvalue()


@pytest.mark.parametrize("name", FAMILIES)
def test_texts_are_cut_as_the_sentencepiece_library_cuts_them(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    data = trained(**family.trained)
    (tmp_path / family.file).write_bytes(data)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(family.flags), encoding="utf-8")
    tokenizer = Tokenizer.read(tmp_path, family.kind)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
    for text in TEXTS:
        (found,) = tokenizer.encode([text])
        assert found.ids == list(map(family.ours, theirs.encode(text))), text
    saved = tmp_path / "saved"
    saved.mkdir()
    tokenizer.write(saved, max_length=512)
    again = Tokenizer.read(saved, family.kind)
    assert [one.ids for one in again.encode(TEXTS)] == [one.ids for one in tokenizer.encode(TEXTS)]
    assert again.template == tokenizer.template


def test_albert_lowercases_and_drops_accents_unless_told_otherwise(tmp_path: Path) -> None:
    family = FAMILIES["ALBERT"]
    (tmp_path / family.file).write_bytes(trained(**family.trained))
    tokenizer = Tokenizer.read(tmp_path, family.kind)
    first, second = (one.ids for one in tokenizer.encode(["The NAÏVE café", "the naive cafe"]))
    assert first == second


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n\x0e", "no SentencePiece model, or a damaged one"),
        (b"", "no SentencePiece model, or a damaged one"),
        (b"\n\x04\n\x02\xff\xfe", "a piece that isn't UTF-8"),
        (b"\n\x03\n\x01a", "no piece for unknown characters"),
        (b"\n\x03\n\x01a\x12\x02\x18\x02", "another kind than Unigram"),
    ],
)
def test_damaged_file_is_refused_in_one_line(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "spm.model").write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer.read(tmp_path, DEBERTA_UNIGRAM)
    assert "\n" not in str(caught.value)
    assert "spm.model" in str(caught.value)


def test_family_without_sentencepiece_refuses_its_file(tmp_path: Path) -> None:
    (tmp_path / "spm.model").write_bytes(trained())
    with pytest.raises(CheckpointError, match=r"save the tokenizer as tokenizer\.json"):
        Tokenizer.read(tmp_path, WORDPIECE)
