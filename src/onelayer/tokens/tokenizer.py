"""WordPiece: the vocabulary and rules by which BERT splits text into tokens."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken, Encoding
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, read_json, read_text, refuse_code
from onelayer.tokens.components import check_components
from onelayer.tokens.encodings import Pieces, cumulate

_SPECIALS = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
_REQUIRED = ("cls_token", "sep_token", "unk_token", "pad_token")

_FLAGS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")

MOST_TOKENS = 1_000_000

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TokenizerKind:
    """The kind of tokenizer that an encoder family has."""

    model: str
    """The model's type in ``tokenizer.json``."""
    classes: tuple[str, ...]
    """Transformers' classes that split text by ``vocab.txt`` and the flags of
    ``tokenizer_config.json``. We write the first one."""


WORDPIECE = TokenizerKind("WordPiece", ("BertTokenizer", "BertTokenizerFast"))


class Tokenizer:
    """A WordPiece tokenizer that only gives ids and character offsets.

    It never truncates, pads or adds special tokens: tasks make sequences of its pieces. A user's
    text never becomes a special token: ``[SEP]`` in it is three ordinary pieces.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        specials: Mapping[str, str],
        kind: TokenizerKind = WORDPIECE,
    ) -> None:
        """``specials`` has the special token of each role: ``cls_token``, ``sep_token``, ...

        Raises CheckpointError if the vocabulary lacks one that BERT needs, or if the tokenizer
        would find one in a user's text.
        """
        self._kind = kind
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # which means: as any other text
        self._backend = backend
        self._specials = {**specials, "unk_token": backend.model.unk_token}
        self.cls_id, self.sep_id, self.unk_id, self.pad_id = map(self._special_id, _REQUIRED)
        self.vocab_size = 1 + max(backend.get_vocab(with_added_tokens=True).values())
        """The rows that an embedding table needs: one more than the highest id."""
        normalizer = backend.normalizer
        self.lowercases = normalizer is not None and normalizer.normalize_str("A") == "a"
        self._refuse_leaking_specials()

    @classmethod
    def read(cls, folder: str | Path, kind: TokenizerKind = WORDPIECE) -> Tokenizer:
        """Reads the tokenizer of a model directory: its ``tokenizer.json``, else its ``vocab.txt``.

        Raises CheckpointError for missing or damaged files and for a tokenizer of another kind.
        """
        folder = Path(folder)
        settings = _settings(folder)
        build: Callable[[Path, Mapping[str, Any], TokenizerKind], tokenizers.Tokenizer]
        if path := find(folder, "tokenizer.json"):
            build = _from_tokenizer_json
        elif path := find(folder, "vocab.txt"):
            build = _from_vocabulary
        else:
            raise CheckpointError(
                "holds no tokenizer",
                place=Place(folder),
                hint="a model comes with tokenizer.json or vocab.txt",
            )
        try:
            specials = {role: settings[role] for role in _SPECIALS}
            return cls(build(path, settings, kind), specials, kind)
        except CheckpointError as error:
            place = error.place or Place(path)
            raise CheckpointError(error.message, place=place, hint=error.hint) from error

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The pieces of each text: ``.ids``, and ``.offsets`` in characters of the text."""
        return self._backend.encode_batch(_scrubbed(texts), add_special_tokens=False)

    def pieces(self, texts: Sequence[str]) -> Pieces:
        """The ids of each text, without offsets, which is faster than ``encode``."""
        batch = self._backend.encode_batch_fast(_scrubbed(texts), add_special_tokens=False)
        ids = [encoding.ids for encoding in batch]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        cu = cumulate(lengths)
        all_ids = np.fromiter(chain.from_iterable(ids), np.int32, int(cu[-1]))
        return Pieces(all_ids, cu[:-1], lengths)

    def encode_words(self, words: Sequence[Sequence[str]]) -> list[Encoding]:
        """The pieces of texts that are given as words: ``.ids``, and each piece's word in
        ``.word_ids``.

        A word that normalization makes empty, such as a zero-width space, has no pieces.
        """
        batch = list(map(_scrubbed, words))
        return self._backend.encode_batch(batch, is_pretokenized=True, add_special_tokens=False)

    @property
    def continues_word(self) -> NDArray[np.bool_]:
        """(vocab_size,) whether a token continues a word, as ``##ing`` does."""
        continues = np.zeros(self.vocab_size, np.bool_)
        prefix = self._backend.model.continuing_subword_prefix
        for token, number in self._backend.get_vocab(with_added_tokens=True).items():
            continues[number] = bool(prefix) and token.startswith(prefix)
        return continues

    @property
    def digest(self) -> str:
        """A digest of everything that decides how a text is split."""
        ids = [self.cls_id, self.sep_id, self.unk_id]
        return hashlib.blake2b(f"{ids} {self._backend.to_str()}".encode()).hexdigest()

    def write(self, folder: str | Path, *, max_length: int) -> None:
        """Writes ``tokenizer.json``, ``tokenizer_config.json`` and ``vocab.txt``.

        ``max_length`` is the model's number of positions, to which transformers truncates.
        """
        folder = Path(folder)
        _write_text(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        settings = {
            **self._class_and_flags(),
            **{role: text for role, text in self._specials.items() if self._knows(text)},
            "model_max_length": max_length,
        }
        _write_text(
            folder / "tokenizer_config.json",
            json.dumps(settings, ensure_ascii=False, indent=2) + "\n",
        )
        if (lines := self._vocabulary_lines()) is not None:
            _write_text(folder / "vocab.txt", "".join(f"{line}\n" for line in lines))

    def _knows(self, token: str) -> bool:
        return self._backend.token_to_id(token) is not None

    def _special_id(self, role: str) -> int:
        token = self._specials[role]
        if (found := self._backend.token_to_id(token)) is None:
            raise CheckpointError(
                f"a vocabulary without {token}, the {role}",
                hint=f"name the model's own in tokenizer_config.json as {role}",
            )
        return found

    def _refuse_leaking_specials(self) -> None:
        """Raises CheckpointError for a tokenizer that finds special tokens in a user's text, as one
        whose pre-tokenizer keeps ``[SEP]`` in one piece does."""
        ids = {self.cls_id, self.sep_id, self.pad_id}
        written = list(self._specials.values())
        if any(ids.intersection(encoding.ids) for encoding in self.encode(written)):
            raise CheckpointError(
                "a tokenizer that takes '[SEP]' in a user's text for the real one",
                hint="use BERT's own pre-tokenizer, BertPreTokenizer",
            )

    def _class_and_flags(self) -> dict[str, Any]:
        """The class and flags by which transformers rebuilds this tokenizer: BERT's if they
        describe it completely, else the class that reads ``tokenizer.json`` as it is."""
        normalizer = self._backend.normalizer
        if not isinstance(normalizer, BertNormalizer) or not isinstance(
            self._backend.pre_tokenizer, BertPreTokenizer
        ):
            return {"tokenizer_class": "PreTrainedTokenizerFast"}
        return {
            "tokenizer_class": self._kind.classes[0],
            "do_lower_case": normalizer.lowercase,
            "strip_accents": normalizer.strip_accents,
            "tokenize_chinese_chars": normalizer.handle_chinese_chars,
        }

    def _vocabulary_lines(self) -> list[str] | None:
        """The lines of ``vocab.txt``: line n is token n. None if a token has a line break."""
        vocabulary = self._backend.get_vocab(with_added_tokens=False)
        if any("\n" in token or "\r" in token for token in vocabulary):
            return None
        # A token that was on two lines has the id of the later one; the earlier line is a gap.
        lines = [f"[gap{number}]" for number in range(1 + max(vocabulary.values()))]
        for token, number in vocabulary.items():
            lines[number] = token
        return lines


def _scrubbed(texts: Sequence[str]) -> list[str]:
    """Texts without lone surrogates, which Rust refuses. Hardly any text has one, so all are
    checked together first."""
    try:
        "".join(texts).encode()
        return list(texts)
    except UnicodeEncodeError:
        return list(map(_scrub, texts))


def _scrub(text: str) -> str:
    """Replaces lone surrogates, which UTF-8 can't hold, by U+FFFD; keeps the length."""
    return _SURROGATE.sub("\ufffd", text)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _settings(folder: Path) -> dict[str, Any]:
    """The settings of ``tokenizer_config.json``; what it lacks is taken from
    ``special_tokens_map.json``, then from BERT's defaults."""
    settings: dict[str, Any] = dict(_SPECIALS)
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if path := find(folder, name):
            settings |= read_json(path)
            _check_settings(settings, path)
    return settings


def _check_settings(settings: dict[str, Any], path: Path) -> None:
    refuse_code(settings, path)
    if not isinstance(name := settings.get("tokenizer_class"), str | None) or (
        name and not name.isidentifier()
    ):
        raise CheckpointError(f"tokenizer_class is {name!r}, not a class", place=Place(path))
    for role, usual in _SPECIALS.items():
        token = settings[role]
        if isinstance(token, dict):  # a token with rules for matching, which BERT doesn't need
            token = token.get("content")
        settings[role] = usual if token is None else token
        if not isinstance(settings[role], str):
            raise CheckpointError(f"{role} is {token!r}, not a token's text", place=Place(path))
        settings[role] = _scrub(settings[role])
    for flag in _FLAGS:
        if not isinstance(settings.get(flag), bool | None):
            raise CheckpointError(f"{flag} is {settings[flag]!r}, not a boolean", place=Place(path))
        if flag in settings and settings[flag] is None and flag != "strip_accents":
            del settings[flag]


def _from_tokenizer_json(
    path: Path, settings: Mapping[str, Any], kind: TokenizerKind
) -> tokenizers.Tokenizer:
    data = read_json(path)
    check_components(data, kind.model)
    for token in data.get("added_tokens") or []:
        # Markers that somebody added for use in texts, such as "[E1]", are found there. Only
        # BERT's own five special tokens must not be.
        token["special"] = token["content"] in [settings[role] for role in _SPECIALS]
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(data))
    except Exception as error:  # the Rust side raises bare Exceptions
        raise CheckpointError(f"can't be read: {error}", hint="fetch the file again") from error
    found = type(backend.model).__name__  # old files don't say their model's type
    if found != kind.model:
        raise CheckpointError(f"a {found} tokenizer, and this model's is {kind.model}")
    normalizer = backend.normalizer
    if isinstance(normalizer, BertNormalizer) and _goes_by_flags(settings, kind):
        # Where the two files differ, transformers follows the flags of tokenizer_config.json.
        normalizer.lowercase = settings.get("do_lower_case", normalizer.lowercase)
        normalizer.strip_accents = settings.get("strip_accents", normalizer.strip_accents)
        normalizer.handle_chinese_chars = settings.get(
            "tokenize_chinese_chars", normalizer.handle_chinese_chars
        )
    return backend


def _goes_by_flags(settings: Mapping[str, Any], kind: TokenizerKind) -> bool:
    return settings.get("tokenizer_class") in (None, *kind.classes)


def _from_vocabulary(
    path: Path, settings: Mapping[str, Any], kind: TokenizerKind
) -> tokenizers.Tokenizer:
    """Builds the tokenizer that BERT's release and transformers build from a ``vocab.txt``."""
    if not _goes_by_flags(settings, kind):
        raise CheckpointError(
            f"vocab.txt alone doesn't say how {settings['tokenizer_class']} cuts text",
            hint="save the tokenizer as tokenizer.json",
        )
    vocabulary = _read_vocabulary(path)
    backend = tokenizers.Tokenizer(WordPiece(vocabulary, unk_token=settings["unk_token"]))
    backend.normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    backend.pre_tokenizer = BertPreTokenizer()
    backend.decoder = WordPieceDecoder(prefix="##")
    known = [settings[role] for role in _SPECIALS if settings[role] in vocabulary]
    backend.add_special_tokens([AddedToken(token, special=True) for token in known])
    cls, sep = settings["cls_token"], settings["sep_token"]
    if cls in vocabulary and sep in vocabulary:
        backend.post_processor = TemplateProcessing(
            single=f"{cls}:0 $A:0 {sep}:0",
            pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
            special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
        )
    return backend


def _read_vocabulary(path: Path) -> dict[str, int]:
    """Reads a vocabulary: a token's id is the number of its line, from 0. Only line feeds end
    lines: U+2028 is a token."""
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise CheckpointError("a NUL byte, which no vocabulary has")
    if text.count("\n") > MOST_TOKENS:
        raise CheckpointError(f"more than {MOST_TOKENS:,} lines, which no vocabulary has")
    lines = text.removesuffix("\n").split("\n") if text else []
    if not lines:
        raise CheckpointError("an empty vocabulary")
    return {token: number for number, token in enumerate(lines)}
