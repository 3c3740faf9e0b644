"""Tokenizers of every kind: a text's ids and character offsets, and nothing else."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from onelayer.base.errors import CheckpointError, Place
from onelayer.tokens.marked_words import MarkedWords
from onelayer.tokens.pieces import Pieces
from onelayer.tokens.special_tokens import TokenizerSettings, scrub
from onelayer.tokens.splitters import SeparateWords, Span, Splitter, TextPieces, WithWords
from onelayer.tokens.template import Template
from onelayer.tokens.tokenizer_files import (
    WORDPIECE,
    TokenizerFile,
    TokenizerKind,
    file_of,
    read_files,
)

_REQUIRED = ("cls_token", "sep_token", "unk_token", "pad_token")


class Tokenizer:
    """A tokenizer that only gives ids and character offsets.

    It never truncates, pads or adds special tokens: tasks make sequences of its pieces, with the
    special tokens of its ``template``. A user's text never becomes a special token: ``[SEP]`` in it
    is three ordinary pieces.
    """

    def __init__(
        self,
        file: TokenizerFile,
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
        self._kind, self._file = kind, file
        self._backend = backend = file.backend
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # which means: as any other text
        self._is_wordpiece = isinstance(backend.model, WordPiece)
        self._roles = settings.roles(self._knows)
        self._roles["unk_token"] = file.unknown or self._roles["unk_token"]
        self.cls_id, self.sep_id, self.unk_id, self.pad_id = map(self._special_id, _REQUIRED)
        self.template = self._template(segments)
        self._marked = None if self._is_wordpiece else MarkedWords(backend)
        self._splitter: Splitter = self._marked or SeparateWords(backend)
        self.vocab_size = 1 + max(backend.get_vocab(with_added_tokens=True).values())
        """The rows that an embedding table needs: one more than the highest id."""
        normalizer = backend.normalizer
        self.lowercases = normalizer is not None and normalizer.normalize_str("A") == "a"
        self._refuse_leaking_specials()

    @classmethod
    def read(
        cls, folder: str | Path, kind: TokenizerKind = WORDPIECE, *, segments: bool = True
    ) -> Tokenizer:
        """Reads the tokenizer of a model directory: its ``tokenizer.json``, else the older files of
        the family's ``kind``.

        Raises CheckpointError for missing or damaged files, and for rules that aren't known.
        """
        folder = Path(folder)
        settings = TokenizerSettings.read(folder)
        file = read_files(folder, settings, kind)
        try:
            return cls(file, settings, kind, segments=segments and settings.segments)
        except CheckpointError as error:
            place = error.place or Place(file.path)
            raise CheckpointError(error.message, place=place, hint=error.hint) from error

    def pieces(self, texts: Sequence[str], *, with_spans: bool = False) -> Pieces:
        """The ids of each text's pieces, and ``with_spans`` the characters of each, too."""
        return self._splitter.pieces(_scrubbed(texts), with_spans=with_spans)

    def encode(self, texts: Sequence[str]) -> list[TextPieces]:
        """The pieces of each text as lists: ``.ids``, and the characters of each, ``.offsets``."""
        found = self.pieces(texts, with_spans=True)
        assert found.spans is not None
        ids, spans = found.ids.tolist(), list(map(tuple, found.spans.tolist()))
        ends = (found.starts + found.lengths).tolist()
        parts = map(slice, found.starts.tolist(), ends)
        return [TextPieces(ids[part], spans[part]) for part in parts]

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[Span]]
    ) -> Sequence[WithWords]:
        """The pieces of the words of each text: ``.ids``, and each piece's word in ``.word_ids``.

        A word that normalization makes empty, such as a zero-width space, has no pieces.

        Parameters
        ----------
        texts
            B texts.
        words
            For each text, the character spans of its words in their order.
        """
        return self._splitter.encode_words(_scrubbed(texts), words)

    def split_by(self, splitter: Splitter) -> Tokenizer:
        """The same tokenizer, whose texts another program splits. It has to give the same."""
        other = copy.copy(self)
        other._splitter = splitter
        return other

    @property
    def continues_word(self) -> NDArray[np.bool_]:
        """(vocab_size,) whether a token continues a word, as ``##ing`` does."""
        continues = np.zeros(self.vocab_size, np.bool_)
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        if self._marked:
            for token, number in vocabulary.items():
                continues[number] = self._marked.continues_word(token)
            special = (self._file.id_of(token) for token in self._roles.values())
            continues[[number for number in special if number is not None]] = False
            return continues
        prefix = self._backend.model.continuing_subword_prefix
        for token, number in vocabulary.items():
            continues[number] = bool(prefix) and token.startswith(prefix)
        return continues

    @property
    def digest(self) -> str:
        """A digest of everything that decides how a text is split."""
        parts = f"{self.template} {self.unk_id} {self._file.hidden} {self._backend.to_str()}"
        return hashlib.blake2b(parts.encode()).hexdigest()

    @property
    def special_ids(self) -> set[int]:
        """The ids of all special tokens that the vocabulary has."""
        found = map(self._file.id_of, self._roles.values())
        return {number for number in found if number is not None}

    def to_json(self) -> dict[str, Any]:
        """The content of ``tokenizer.json``."""
        data = self._file.to_json()
        roles = {self.cls_id: "cls_token", self.sep_id: "sep_token"}
        names = {number: self._roles[role] for number, role in roles.items()}
        data["post_processor"] = self.template.to_json(names)
        return data

    def with_vocabulary(self, data: dict[str, Any], new_ids: Mapping[int, int]) -> Tokenizer:
        """The tokenizer that ``data`` describes, the content of a ``tokenizer.json``, with the same
        special tokens under new ids."""
        template = self.template.renumbered(new_ids)
        roles = {self.cls_id: "cls_token", self.sep_id: "sep_token"}
        names = {new_ids[number]: self._roles[role] for number, role in roles.items()}
        data = {**data, "post_processor": template.to_json(names)}
        settings = TokenizerSettings(self._roles, None, {})
        file = file_of(self._file.path, data, settings)
        segments = bool(template.second_segment)
        return Tokenizer(file, settings, self._kind, segments=segments)

    def write(self, folder: str | Path, *, max_length: int, vocab_txt: bool = True) -> None:
        """Writes ``tokenizer.json`` and ``tokenizer_config.json``.

        Parameters
        ----------
        folder
            The model's directory.
        max_length
            The model's number of positions, to which transformers truncates.
        vocab_txt
            Whether ``vocab.txt`` is written, too, for a tokenizer of WordPiece. It repeats the
            pieces of ``tokenizer.json`` for programs that read nothing else.
        """
        folder = Path(folder)
        text = json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"))
        _write_text(folder / "tokenizer.json", text + "\n")
        _write_text(
            folder / "tokenizer_config.json",
            json.dumps(self.settings(max_length), ensure_ascii=False, indent=2) + "\n",
        )
        if not vocab_txt or not self._is_wordpiece:
            return
        if (lines := self._vocabulary_lines()) is not None:
            _write_text(folder / "vocab.txt", "".join(f"{line}\n" for line in lines))

    def settings(self, max_length: int) -> dict[str, Any]:
        """What ``tokenizer_config.json`` holds."""
        return {
            **self._class_and_flags(),
            **{role: text for role, text in self._roles.items() if self._knows(text)},
            "model_max_length": max_length,
            "model_input_names": [
                "input_ids",
                *(["token_type_ids"] if self.template.second_segment else []),
                "attention_mask",
            ],
        }

    def _knows(self, token: str) -> bool:
        return self._file.id_of(token) is not None

    def _special_id(self, role: str) -> int:
        token = self._roles[role]
        found = self._file.id_of(token)
        if role == "unk_token" and self._is_wordpiece:  # it has to be one of the model's own
            found = self._backend.model.token_to_id(token)
        if found is None:
            raise CheckpointError(
                f"a vocabulary without {token}, the {role}",
                hint=f"name the model's own in tokenizer_config.json as {role}",
            )
        return found

    def _template(self, segments: bool) -> Template:
        """The post-processor's template, else the family's."""
        usual = Template.of(self.cls_id, self.sep_id, self._kind.separators)
        found = self._file.template or usual
        for role, wanted, (given,) in (
            ("cls_token", self.cls_id, found.before),
            ("sep_token", self.sep_id, found.after),
        ):
            if given != wanted:
                raise CheckpointError(
                    f"the post_processor has token {given} where {role} is "
                    f"{self._roles[role]}, token {wanted}",
                    hint=f"name the model's own in tokenizer_config.json as {role}",
                )
        return found if segments else replace(found, second_segment=0)

    def _refuse_leaking_specials(self) -> None:
        """Raises CheckpointError for a tokenizer that finds special tokens in a user's text, as one
        whose pre-tokenizer keeps ``[SEP]`` in one piece does."""
        ids = {*self.template.ids, self.pad_id}
        hint = "use BERT's own pre-tokenizer, BertPreTokenizer" if self._is_wordpiece else None
        for token in self._roles.values():
            texts = [token, f" {token} a", f"a{token}a"]
            if any(ids.intersection(one.ids) for one in self.encode(texts)):
                raise CheckpointError(
                    f"a tokenizer that takes {token!r} in a user's text for the real one", hint=hint
                )

    def _class_and_flags(self) -> dict[str, Any]:
        """The class and flags by which transformers rebuilds this tokenizer: BERT's if they
        describe it completely, else the class that reads ``tokenizer.json`` as it is."""
        normalizer = self._backend.normalizer
        if (
            self._kind.model != "WordPiece"
            or not self._is_wordpiece
            or not isinstance(normalizer, BertNormalizer)
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
