"""WordPiece: the vocabulary and rules by which BERT splits text into tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, read_json, read_text
from onelayer.tokens.components import check_components
from onelayer.tokens.encodings import Pieces, cumulate
from onelayer.tokens.special_tokens import USUAL, TokenizerSettings, scrub
from onelayer.tokens.template import Template

_REQUIRED = ("cls_token", "sep_token", "unk_token", "pad_token")

MOST_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenizerKind:
    """The kind of tokenizer that an encoder family has."""

    model: str
    """The model's type in ``tokenizer.json``."""
    classes: tuple[str, ...]
    """Transformers' classes that split text by ``vocab.txt`` and the flags of
    ``tokenizer_config.json``. We write the first one."""
    separators: int = 1
    """Separators between the two texts of a pair, where the files don't say."""


WORDPIECE = TokenizerKind(
    "WordPiece",
    tuple(
        f"{family}Tokenizer{fast}"
        for family in ("Bert", "DistilBert", "Electra")
        for fast in ("", "Fast")
    ),
)
MPNET_WORDPIECE = TokenizerKind("WordPiece", ("MPNetTokenizer", "MPNetTokenizerFast"), separators=2)


class Tokenizer:
    """A WordPiece tokenizer that only gives ids and character offsets.

    It never truncates, pads or adds special tokens: tasks make sequences of its pieces, with the
    special tokens of its ``template``. A user's text never becomes a special token: ``[SEP]`` in it
    is three ordinary pieces.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        settings: TokenizerSettings,
        kind: TokenizerKind = WORDPIECE,
        *,
        segments: bool = True,
    ) -> None:
        """``segments`` is whether the model tells the two texts of a pair apart by segments.

        Raises CheckpointError if the vocabulary lacks a special token that is needed, if the
        post-processor puts others around a text, or if the tokenizer would find one in a user's
        text.
        """
        self._kind = kind
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # which means: as any other text
        self._backend = backend
        self._roles = settings.roles(self._knows) | {"unk_token": backend.model.unk_token}
        self.cls_id, self.sep_id, self.unk_id, self.pad_id = map(self._special_id, _REQUIRED)
        self.template = self._template(segments)
        self.vocab_size = 1 + max(backend.get_vocab(with_added_tokens=True).values())
        """The rows that an embedding table needs: one more than the highest id."""
        normalizer = backend.normalizer
        self.lowercases = normalizer is not None and normalizer.normalize_str("A") == "a"
        self._refuse_leaking_specials()

    @classmethod
    def read(
        cls, folder: str | Path, kind: TokenizerKind = WORDPIECE, *, segments: bool = True
    ) -> Tokenizer:
        """Reads the tokenizer of a model directory: its ``tokenizer.json``, else its ``vocab.txt``.

        Raises CheckpointError for missing or damaged files and for a tokenizer of another kind.
        """
        folder = Path(folder)
        settings = TokenizerSettings.read(folder)
        build: Callable[[Path, TokenizerSettings, TokenizerKind], tokenizers.Tokenizer]
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
            return cls(build(path, settings, kind), settings, kind, segments=segments)
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
        parts = f"{self.template} {self.unk_id} {self._backend.to_str()}"
        return hashlib.blake2b(parts.encode()).hexdigest()

    def write(self, folder: str | Path, *, max_length: int) -> None:
        """Writes ``tokenizer.json``, ``tokenizer_config.json`` and ``vocab.txt``.

        ``max_length`` is the model's number of positions, to which transformers truncates.
        """
        folder = Path(folder)
        data = json.loads(self._backend.to_str())
        roles = {self.cls_id: "cls_token", self.sep_id: "sep_token"}
        names = {number: self._roles[role] for number, role in roles.items()}
        data["post_processor"] = self.template.to_json(names)
        _write_text(folder / "tokenizer.json", json.dumps(data, ensure_ascii=False) + "\n")
        settings = {
            **self._class_and_flags(),
            **{role: text for role, text in self._roles.items() if self._knows(text)},
            "model_max_length": max_length,
            "model_input_names": [
                "input_ids",
                *(["token_type_ids"] if self.template.second_segment else []),
                "attention_mask",
            ],
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
        token = self._roles[role]
        if (found := self._backend.token_to_id(token)) is None:
            raise CheckpointError(
                f"a vocabulary without {token}, the {role}",
                hint=f"name the model's own in tokenizer_config.json as {role}",
            )
        return found

    def _template(self, segments: bool) -> Template:
        """The post-processor's template, else the family's."""
        usual = Template.of(self.cls_id, self.sep_id, self._kind.separators)
        found = Template.read(self._backend) or usual
        for role, wanted, (given,) in (
            ("cls_token", self.cls_id, found.before),
            ("sep_token", self.sep_id, found.after),
        ):
            if given != wanted:
                name = self._backend.id_to_token(given)
                raise CheckpointError(
                    f"the post_processor has {name} where {role} is {self._roles[role]}",
                    hint=f"name the model's own in tokenizer_config.json as {role}",
                )
        return found if segments else replace(found, second_segment=0)

    def _refuse_leaking_specials(self) -> None:
        """Raises CheckpointError for a tokenizer that finds special tokens in a user's text, as one
        whose pre-tokenizer keeps ``[SEP]`` in one piece does."""
        ids = {self.cls_id, self.sep_id, self.pad_id}
        for token in self._roles.values():
            if any(ids.intersection(one.ids) for one in self.encode([token, f"a{token}b"])):
                raise CheckpointError(
                    f"a tokenizer that takes {token!r} in a user's text for the real one",
                    hint="use BERT's own pre-tokenizer, BertPreTokenizer",
                )

    def _class_and_flags(self) -> dict[str, Any]:
        """The class and flags by which transformers rebuilds this tokenizer: BERT's if they
        describe it completely, else the class that reads ``tokenizer.json`` as it is."""
        normalizer = self._backend.normalizer
        if (
            not isinstance(normalizer, BertNormalizer)
            or not isinstance(self._backend.pre_tokenizer, BertPreTokenizer)
            or len(self.template.between) != self._kind.separators
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
        return list(map(scrub, texts))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _from_tokenizer_json(
    path: Path, settings: TokenizerSettings, kind: TokenizerKind
) -> tokenizers.Tokenizer:
    data = read_json(path)
    check_components(data, kind.model)
    special = {*settings.named.values(), *chain.from_iterable(USUAL.values())}
    for token in data.get("added_tokens") or []:
        # Markers that somebody added for use in texts, such as "[E1]", are found there;
        # the model's own special tokens must not be.
        token["special"] = token["content"] in special
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
        flags = settings.flags
        normalizer.lowercase = flags.get("do_lower_case", normalizer.lowercase)
        normalizer.strip_accents = flags.get("strip_accents", normalizer.strip_accents)
        normalizer.handle_chinese_chars = flags.get(
            "tokenize_chinese_chars", normalizer.handle_chinese_chars
        )
    return backend


def _goes_by_flags(settings: TokenizerSettings, kind: TokenizerKind) -> bool:
    return settings.tokenizer_class in (None, *kind.classes)


def _from_vocabulary(
    path: Path, settings: TokenizerSettings, kind: TokenizerKind
) -> tokenizers.Tokenizer:
    """Builds the tokenizer that BERT's release and transformers build from a ``vocab.txt``."""
    if not _goes_by_flags(settings, kind):
        raise CheckpointError(
            f"vocab.txt alone doesn't say how {settings.tokenizer_class} cuts text",
            hint="save the tokenizer as tokenizer.json",
        )
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
