"""Reads a tokenizer's vocabulary and rules: from ``tokenizer.json``, or from the older files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, parse_json, read_json, read_text
from onelayer.tokens.added_tokens import add_tokens, read_added_tokens
from onelayer.tokens.components import MOST_TOKENS, check_components, components_of
from onelayer.tokens.sentencepiece_model import (
    ALBERT_PIECES,
    CAMEMBERT_PIECES,
    DEBERTA_PIECES,
    XLMR_PIECES,
    PieceRules,
    read_pieces,
)
from onelayer.tokens.special_tokens import USUAL, TokenizerSettings
from onelayer.tokens.template import Template


def _classes(*families: str) -> tuple[str, ...]:
    return tuple(f"{family}Tokenizer{fast}" for family in families for fast in ("", "Fast"))


_FLAGGED = (
    (
        _classes("Bert", "DistilBert", "Electra", "MPNet"),
        "normalizer",
        "BertNormalizer",
        {
            "do_lower_case": "lowercase",
            "strip_accents": "strip_accents",
            "tokenize_chinese_chars": "handle_chinese_chars",
        },
    ),
    (_classes("Roberta"), "pre_tokenizer", "ByteLevel", {"add_prefix_space": "add_prefix_space"}),
)
"""Transformers' classes, the component that flags of ``tokenizer_config.json`` change in them, and
the names of these there."""
_SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class TokenizerKind:
    """What an encoder family's own files are. A ``tokenizer.json`` may be of any kind: it says all
    by itself."""

    model: str
    """The type of model that the older files describe: ``vocab.txt`` is WordPiece, ``vocab.json``
    and ``merges.txt`` are byte-level BPE, ``spm.model`` is Unigram."""
    classes: tuple[str, ...]
    """Transformers' classes that split text by these files and the flags of
    ``tokenizer_config.json``. We write the first one for WordPiece."""
    separators: int = 1
    """Separators between the two texts of a pair, where the files don't say."""
    pieces: PieceRules | None = None
    """How a file of SentencePiece becomes the vocabulary."""


WORDPIECE = TokenizerKind("WordPiece", _classes("Bert", "DistilBert", "Electra"))
DISTILBERT_WORDPIECE = TokenizerKind("WordPiece", _classes("DistilBert", "Bert"))
ELECTRA_WORDPIECE = TokenizerKind("WordPiece", _classes("Electra", "Bert"))
MPNET_WORDPIECE = TokenizerKind("WordPiece", _classes("MPNet"), separators=2)
BYTE_BPE = TokenizerKind("BPE", _classes("Roberta"), separators=2)
XLMR_UNIGRAM = TokenizerKind("Unigram", _classes("XLMRoberta"), 2, XLMR_PIECES)
CAMEMBERT_UNIGRAM = TokenizerKind("Unigram", _classes("Camembert"), 2, CAMEMBERT_PIECES)
ALBERT_UNIGRAM = TokenizerKind("Unigram", _classes("Albert"), 1, ALBERT_PIECES)
DEBERTA_UNIGRAM = TokenizerKind("Unigram", _classes("DebertaV2"), 1, DEBERTA_PIECES)


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """What a model directory's files make."""

    path: Path
    backend: tokenizers.Tokenizer
    unknown: str | None
    """The token that the model gives for what it doesn't know."""
    template: Template | None = None
    """The special tokens around texts, where the files say them."""
    hidden: Mapping[str, int] = field(default_factory=dict)
    """Special tokens that the backend knows by other names, and their ids. A Unigram model would
    find them in a text."""

    def id_of(self, token: str) -> int | None:
        """The id of a token; None if there is no such token."""
        found = self.hidden.get(token)
        return self.backend.token_to_id(token) if found is None else found

    def to_json(self) -> dict[str, Any]:
        """The content of a ``tokenizer.json``, special tokens under their own names."""
        data: dict[str, Any] = json.loads(self.backend.to_str())
        for token, number in self.hidden.items():
            data["model"]["vocab"][number][0] = token
            flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            data["added_tokens"].append({"id": number, "content": token, **flags, "special": True})
        data["added_tokens"].sort(key=lambda token: token["id"])
        return data


def read_files(folder: Path, settings: TokenizerSettings, kind: TokenizerKind) -> TokenizerFile:
    """Reads a model directory's ``tokenizer.json``, else the older files of its family.

    Raises CheckpointError for missing or damaged files, and for rules that aren't known.
    """
    read: Callable[[Path, TokenizerSettings, TokenizerKind], TokenizerFile]
    if path := find(folder, "tokenizer.json"):
        read = _from_tokenizer_json
    elif kind.model == "BPE" and (path := find(folder, "vocab.json")):
        read = _from_merges
    elif kind.pieces is not None and (path := _sentencepiece_in(folder)):
        read = _from_sentencepiece
    elif path := find(folder, "vocab.txt"):
        read = _from_vocabulary
    else:
        raise _nothing_in(folder)
    try:
        file = read(path, settings, kind)
        roles = {*settings.named.values(), *chain.from_iterable(USUAL.values())}
        added = read_added_tokens(folder, roles)
        add_tokens(file.backend, [one for one in added if one.content not in file.hidden], roles)
    except CheckpointError as error:
        place = error.place or Place(path)
        raise CheckpointError(error.message, place=place, hint=error.hint) from error
    return file


def _sentencepiece_in(folder: Path) -> Path | None:
    return next((path for name in _SENTENCEPIECE if (path := find(folder, name))), None)


def _nothing_in(folder: Path) -> CheckpointError:
    if path := _sentencepiece_in(folder):
        return CheckpointError(
            "a SentencePiece model, which this family isn't published with",
            place=Place(path),
            hint="save the tokenizer as tokenizer.json",
        )
    return CheckpointError(
        "holds no tokenizer",
        place=Place(folder),
        hint="a model comes with tokenizer.json, spm.model, vocab.txt, "
        "or vocab.json and merges.txt",
    )


def _from_tokenizer_json(
    path: Path, settings: TokenizerSettings, kind: TokenizerKind
) -> TokenizerFile:
    data = read_json(path)
    # Where the two files differ, transformers follows the flags of tokenizer_config.json.
    for classes, part, component, keys in _FLAGGED:
        if goes_by_flags(settings, kind) or settings.tokenizer_class in classes:
            found = data.get(part)
            if isinstance(found, dict) and found.get("type") == component:
                given = settings.flags.keys() & keys.keys()
                data[part] = found | {keys[flag]: settings.flags[flag] for flag in given}
    return file_of(path, data, settings)


def file_of(path: Path, data: dict[str, Any], settings: TokenizerSettings) -> TokenizerFile:
    """What the content of a ``tokenizer.json`` makes. Raises CheckpointError for rules that aren't
    known."""
    kind = check_components(data)
    data["model"]["type"] = kind  # old files don't say it
    template = Template.read(list(components_of(data, "post_processor")))
    model = data["model"]
    unknown = model["vocab"][model["unk_id"]][0] if kind == "Unigram" else model.get("unk_token")
    special = {unknown, *settings.named.values(), *chain.from_iterable(USUAL.values())}
    hidden = {}
    if kind == "Unigram":
        for number, pair in enumerate(model["vocab"]):
            if pair[0] in special:
                hidden[pair[0]] = number
                # No text that reaches the model has a space: Metaspace makes ▁ of it.
                pair[0] = f"{pair[0]} "
    tokens = [token for token in data.get("added_tokens") or [] if token["content"] not in hidden]
    for token in tokens:
        # Markers that somebody added for use in texts, such as "[E1]", are found there;
        # the model's own special tokens must not be.
        token["special"] = token["content"] in special
    # The template does the post-processor's work.
    changes = {"added_tokens": tokens, "post_processor": None}
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(data | changes))
    except Exception as error:  # the Rust side raises bare Exceptions
        raise CheckpointError(f"can't be read: {error}", hint="fetch the file again") from error
    return TokenizerFile(path, backend, unknown, template, hidden)


def goes_by_flags(settings: TokenizerSettings, kind: TokenizerKind) -> bool:
    """Whether transformers' class of this tokenizer is one that the flags of
    ``tokenizer_config.json`` are for."""
    return settings.tokenizer_class in (None, *kind.classes)


def _refuse_other_class(path: Path, settings: TokenizerSettings, kind: TokenizerKind) -> None:
    if not goes_by_flags(settings, kind):
        raise CheckpointError(
            f"{path.name} alone doesn't say how {settings.tokenizer_class} cuts text",
            hint="save the tokenizer as tokenizer.json",
        )


def _from_sentencepiece(
    path: Path, settings: TokenizerSettings, kind: TokenizerKind
) -> TokenizerFile:
    _refuse_other_class(path, settings, kind)
    assert kind.pieces is not None, "read_files looks for such a file only with rules"
    return file_of(path, read_pieces(path, kind.pieces, settings.flags), settings)


def _from_merges(path: Path, settings: TokenizerSettings, kind: TokenizerKind) -> TokenizerFile:
    """Builds the tokenizer that RoBERTa's release and transformers build from a ``vocab.json`` and
    a ``merges.txt``."""
    _refuse_other_class(path, settings, kind)
    merges = find(path.parent, "merges.txt")
    if merges is None:
        raise CheckpointError("a vocab.json without its merges.txt", hint="fetch both files")
    vocabulary = parse_json(read_text(path), path)
    if not isinstance(vocabulary, dict):
        raise CheckpointError("the vocabulary is no object of tokens and ids")
    pairs = [line.split(" ") for line in _lines(merges) if line and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in pairs):
        raise CheckpointError("a line that isn't two tokens", place=Place(merges))
    roles = settings.roles(vocabulary.__contains__)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": vocabulary[token], "content": token, **flags, "special": True}
        for token in sorted({*roles.values()} & vocabulary.keys(), key=vocabulary.__getitem__)
    ]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": settings.flags.get("add_prefix_space", False),
        "trim_offsets": True,
        "use_regex": True,
    }
    data = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": pairs},
    }
    return file_of(path, data, settings)


def _from_vocabulary(path: Path, settings: TokenizerSettings, kind: TokenizerKind) -> TokenizerFile:
    """Builds the tokenizer that BERT's release and transformers build from a ``vocab.txt``."""
    _refuse_other_class(path, settings, kind)
    vocabulary = _read_vocabulary(path)
    roles, flags = settings.roles(vocabulary.__contains__), settings.flags
    backend = tokenizers.Tokenizer(WordPiece(vocabulary, unk_token=roles["unk_token"]))
    backend.normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=flags.get("tokenize_chinese_chars", True),
        strip_accents=flags.get("strip_accents"),
        lowercase=flags.get("do_lower_case", True),
    )
    backend.pre_tokenizer = BertPreTokenizer()
    backend.decoder = WordPieceDecoder(prefix="##")
    known = [token for token in roles.values() if token in vocabulary]
    backend.add_special_tokens([AddedToken(token, special=True) for token in known])
    return TokenizerFile(path, backend, roles["unk_token"])


def _read_vocabulary(path: Path) -> dict[str, int]:
    """Reads a vocabulary: a token's id is the number of its line, from 0."""
    lines = _lines(path)
    if not lines:
        raise CheckpointError("an empty vocabulary")
    return {token: number for number, token in enumerate(lines)}


def _lines(path: Path) -> list[str]:
    """The lines of a file. Only line feeds end them: U+2028 is a token."""
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise CheckpointError("a NUL byte, which no vocabulary has", place=Place(path))
    if text.count("\n") > MOST_TOKENS:
        raise CheckpointError(
            f"more than {MOST_TOKENS:,} lines, which no vocabulary has", place=Place(path)
        )
    return text.removesuffix("\n").split("\n") if text else []
