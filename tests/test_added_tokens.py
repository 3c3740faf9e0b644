"""Files beside a vocabulary: tokens that were added to it, the class that cuts text and its flags,
segments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from onelayer.base.errors import CheckpointError
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.tokenizer_files import (
    BYTE_BPE,
    DISTILBERT_WORDPIECE,
    ELECTRA_WORDPIECE,
    WORDPIECE,
    TokenizerKind,
)
from support.tiny_tokenizers import TINY

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "[", "]", "e1"]
N = len(WORDS)
TEXTS = ["the [E1] cats [e1] [E2]", "[E1]the[E1]", "[SEP]the", "[E2] sat", "cat"]
SPECIAL = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)


def written(folder: Path, files: dict[str, Any], model_type: str = "bert") -> Path:
    for name, data in {"config.json": {"model_type": model_type}, **files}.items():
        text = data if isinstance(data, str) else json.dumps(data)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def wordpiece(folder: Path, **files: Any) -> Path:
    names = {name.replace("_json", ".json"): data for name, data in files.items()}
    return written(folder, {"vocab.txt": "\n".join(WORDS) + "\n", **names})


def cuts_as_transformers(folder: Path, kind: TokenizerKind = WORDPIECE) -> Tokenizer:
    ours, theirs = Tokenizer.read(folder, kind), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        if "[SEP]" not in text:
            wanted = theirs(text, add_special_tokens=False)["input_ids"]
            assert ours.encode([text])[0].ids == wanted, text
    return ours


ADDED: dict[str, dict[str, Any]] = {
    "a file of their own": {"added_tokens_json": {"[E2]": N + 1, "[E1]": N}},
    "a file and special ones": {
        "added_tokens_json": {"[E1]": N, "[E2]": N + 1},
        "special_tokens_map_json": {"extra_special_tokens": ["[E1]"]},
    },
    "a list of special ones": {
        "special_tokens_map_json": {"additional_special_tokens": ["[E1]", "[E2]"]}
    },
    "the settings": {
        "tokenizer_config_json": {
            "tokenizer_class": "BertTokenizer",
            "added_tokens_decoder": {
                "3": {"content": "[SEP]", "special": True, **SPECIAL},
                str(N): {"content": "[E1]", "special": True, **SPECIAL},
                str(N + 1): {"content": "[E2]", "special": False, "lstrip": True},
            },
        }
    },
    "words of the vocabulary": {"special_tokens_map_json": {"additional_special_tokens": ["##s"]}},
}


@pytest.mark.parametrize("where", ADDED)
def test_added_tokens_without_tokenizer_json_are_found_as_by_transformers(
    where: str, tmp_path: Path
) -> None:
    tokenizer = cuts_as_transformers(wordpiece(tmp_path, **ADDED[where]))
    assert tokenizer.sep_id not in tokenizer.encode(["[SEP]the"])[0].ids
    saved = tmp_path / "saved"
    saved.mkdir()
    tokenizer.write(saved, max_length=64)
    again = Tokenizer.read(saved)
    assert [one.ids for one in again.encode(TEXTS)] == [one.ids for one in tokenizer.encode(TEXTS)]


def test_tokens_added_to_merges_are_found_as_by_transformers(tmp_path: Path) -> None:
    model = json.loads(TINY["byte-level BPE"].make().to_str())["model"]
    files = {
        "vocab.json": model["vocab"],
        "merges.txt": "#version: 0.2\n" + "\n".join(map(" ".join, model["merges"])) + "\n",
        "added_tokens.json": {"[E1]": len(model["vocab"]), "[E2]": len(model["vocab"]) + 1},
    }
    cuts_as_transformers(written(tmp_path, files, "roberta"), BYTE_BPE)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"added_tokens_json": {"[E1]": N + 5}}, rf"'\[E1\]' was added as token {N + 5}, and is"),
        ({"added_tokens_json": {"[E1]": "x"}}, r"added_tokens\.json: 'x' is no token's id"),
        (
            {"tokenizer_config_json": {"added_tokens_decoder": [1]}},
            r"added_tokens_decoder of tokenizer_config\.json is no object",
        ),
        (
            {"tokenizer_config_json": {"added_tokens_decoder": {str(N): {"content": 7}}}},
            "7 is no token's text",
        ),
    ],
)
def test_wrong_added_tokens_are_refused(
    files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer.read(wordpiece(tmp_path, **files))
    assert "\n" not in str(caught.value)


def test_class_that_only_the_models_config_names_is_heeded(tmp_path: Path) -> None:
    folder = wordpiece(tmp_path, config_json={"tokenizer_class": "BertJapaneseTokenizer"})
    with pytest.raises(CheckpointError, match="doesn't say how BertJapaneseTokenizer cuts"):
        Tokenizer.read(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer_class": "BertTokenizer", "model_input_names": ["input_ids", "attention_mask"]},
        {"tokenizer_class": "DistilBertTokenizer"},
        {"tokenizer_class": "BertTokenizer"},
    ],
)
def test_pairs_have_segments_where_transformers_tokenizer_gives_them(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = wordpiece(tmp_path, tokenizer_config_json=settings)
    theirs = AutoTokenizer.from_pretrained(folder)("the", "cat")
    tokenizer = Tokenizer.read(folder)
    assert tokenizer.template.second_segment == max(theirs.get("token_type_ids", [0]))
    saved = tmp_path / "saved"
    saved.mkdir()
    tokenizer.write(saved, max_length=64)
    assert Tokenizer.read(saved).template == tokenizer.template


@pytest.mark.parametrize("kind", [WORDPIECE, DISTILBERT_WORDPIECE, ELECTRA_WORDPIECE])
@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json"])
def test_flags_are_heeded_with_berts_class_in_each_family_with_its_tokenizer(
    file: str, kind: TokenizerKind, tmp_path: Path
) -> None:
    """Today's transformers writes BERT's class for ELECTRA, too."""
    folder = wordpiece(tmp_path)
    if file == "tokenizer.json":
        Tokenizer.read(folder).write(folder, max_length=64)
        (folder / "vocab.txt").unlink()
        assert Tokenizer.read(folder).lowercases
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert not Tokenizer.read(folder, kind).lowercases


def test_flags_of_berts_class_are_heeded_in_a_family_with_another(tmp_path: Path) -> None:
    """As RoBERTas that were pretrained with BERT's tokenizer have it."""
    folder = wordpiece(tmp_path)
    Tokenizer.read(folder).write(folder, max_length=64)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert not Tokenizer.read(folder, BYTE_BPE).lowercases
