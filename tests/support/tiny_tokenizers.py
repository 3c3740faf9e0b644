"""Tiny tokenizers of every kind, trained on a few sentences, as published encoders have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, processors, trainers
from tokenizers import normalizers as n
from tokenizers import pre_tokenizers as p
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import Metaspace as MetaspaceDecoder

from onelayer.tokens.tokenizer_files import (
    ALBERT_UNIGRAM,
    BYTE_BPE,
    CAMEMBERT_UNIGRAM,
    DEBERTA_UNIGRAM,
    MPNET_WORDPIECE,
    XLMR_UNIGRAM,
    TokenizerKind,
)

SENTENCES = (
    "The cat sat on the mat, and two dogs ran to the red house.",
    "A naïve café near the old bridge — 42 people (or more) were there!",
    "我们在北京的胡同里看见了一只猫。今天天气很好，我们去公园。",
    "こんにちは世界。 Привет, мир! Здравствуйте.",
    "emoji 😀 and 👍🏽 and 👨‍👩‍👧 \"quotes\" 'single' x2 x3 <b>tags</b> [1]",
)
ROBERTAS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERTS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True)
class Tiny:
    """A kind of tokenizer with the encoder family that has it."""

    kind: TokenizerKind
    model_type: str
    make: Callable[[], Tokenizer]
    separators: int = 2
    segments: bool = False

    def write(self, folder: Path) -> Path:
        """``tokenizer.json``, without any other file."""
        folder.mkdir(parents=True, exist_ok=True)
        self.make().save(str(folder / "tokenizer.json"))
        return folder

    def write_config(self, folder: Path) -> None:
        """What transformers needs to know of the model."""
        data = {"model_type": self.model_type}
        (folder / "config.json").write_text(json.dumps(data), encoding="utf-8")


def _wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.normalizer, made.pre_tokenizer = n.BertNormalizer(), p.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=150, special_tokens=ROBERTAS, show_progress=False
    )
    made.train_from_iterator(SENTENCES, trainer)
    made.post_processor = _roberta(made)
    return made


def _byte_bpe(prefix: bool = False) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = p.ByteLevel(add_prefix_space=prefix)
    made.decoder = ByteLevelDecoder()
    _train_bytes(made, ROBERTAS)
    made.post_processor = _roberta(made, prefix)
    return made


def _modernbert() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.normalizer, made.pre_tokenizer = n.NFC(), p.ByteLevel(add_prefix_space=False)
    made.decoder = ByteLevelDecoder()
    _train_bytes(made, [])
    made.add_tokens([AddedToken(" " * k, normalized=True) for k in (4, 3, 2)])
    made.add_special_tokens([AddedToken(token, special=True) for token in BERTS])
    made.post_processor = _template(made, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return made


def _train_bytes(made: Tokenizer, specials: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=specials,
        initial_alphabet=p.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES, trainer)


def _unigram(made: Tokenizer, specials: list[str], unknown: str) -> Tokenizer:
    made.decoder = MetaspaceDecoder()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=specials, unk_token=unknown, show_progress=False
    )
    made.train_from_iterator(SENTENCES, trainer)
    return made


def _xlm_roberta() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = n.Sequence([n.Nmt(), n.NFKC(), n.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = p.Sequence([p.WhitespaceSplit(), p.Metaspace()])
    _unigram(made, ROBERTAS, "<unk>")
    made.post_processor = _template(made, "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return made


def _albert() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    quotes = [n.Replace("``", '"'), n.Replace("''", '"')]
    made.normalizer = n.Sequence([*quotes, n.NFKD(), n.StripAccents(), n.Lowercase()])
    made.pre_tokenizer = p.Sequence([p.WhitespaceSplit(), p.Metaspace()])
    _unigram(made, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], "<unk>")
    made.post_processor = _template(made, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return made


def _deberta() -> Tokenizer:
    """White space reaches the model as ▁, and [MASK] is outside of its vocabulary."""
    made = Tokenizer(models.Unigram())
    spaces = n.Replace(Regex(r"\s{2,}|[\n\r\t]"), " ")
    made.normalizer = n.Sequence([spaces, n.NFC(), n.Strip(left=False, right=True)])
    made.pre_tokenizer = p.Sequence([p.Metaspace()])
    _unigram(made, BERTS[:4], "[UNK]")
    made.add_special_tokens([AddedToken("[MASK]", special=True)])
    made.post_processor = _template(made, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return made


def _metaspace_bpe() -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer, made.decoder = p.Metaspace(), MetaspaceDecoder()
    trainer = trainers.BpeTrainer(vocab_size=220, special_tokens=ROBERTAS, show_progress=False)
    made.train_from_iterator(SENTENCES, trainer)
    made.post_processor = _template(made, "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return made


def _roberta(made: Tokenizer, prefix: bool = False) -> processors.RobertaProcessing:
    ids = made.get_vocab()
    return processors.RobertaProcessing(
        ("</s>", ids["</s>"]), ("<s>", ids["<s>"]), add_prefix_space=prefix
    )


def _template(made: Tokenizer, single: str, pair: str) -> processors.TemplateProcessing:
    tokens = [token for token in ("<s>", "</s>", "[CLS]", "[SEP]") if token in single]
    ids = [(token, made.token_to_id(token)) for token in tokens]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


TINY = {
    "WordPiece": Tiny(MPNET_WORDPIECE, "mpnet", _wordpiece),
    "byte-level BPE": Tiny(BYTE_BPE, "roberta", _byte_bpe),
    "byte-level BPE with a first space": Tiny(BYTE_BPE, "roberta", lambda: _byte_bpe(True)),
    "byte-level BPE with added spaces": Tiny(BYTE_BPE, "modernbert", _modernbert, 1, True),
    "Unigram": Tiny(XLMR_UNIGRAM, "xlm-roberta", _xlm_roberta),
    "Unigram that lowercases": Tiny(ALBERT_UNIGRAM, "albert", _albert, 1, True),
    "Unigram with spaces": Tiny(DEBERTA_UNIGRAM, "deberta-v2", _deberta, 1, True),
    "Metaspace BPE": Tiny(CAMEMBERT_UNIGRAM, "camembert", _metaspace_bpe),
}
"""By what is special about them."""
