"""Reads SentencePiece's own files, such as ``spm.model``, as the content of a ``tokenizer.json``.

The file has pieces with scores, and how a text becomes the characters that pieces are made of. Each
encoder family arranges the pieces into its vocabulary in its own way, which its ``PieceRules`` say.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from onelayer.base.errors import CheckpointError
from onelayer.base.protobuf_messages import Schema
from onelayer.tokens.components import MOST_TOKENS

LARGEST_MODEL = 64 << 20
"""Bytes of a file, at most; that of XLM-R, with 250,000 pieces, has 5 MB."""

# The fields of sentencepiece_model.proto that decide how a text is cut.
_MODEL = Schema(
    "pieces",
    {
        "Model": {
            "pieces": (1, "repeated Piece"),
            "trainer_spec": (2, "Trainer"),
            "normalizer_spec": (3, "Normalizer"),
        },
        "Piece": {"piece": (1, "bytes"), "score": (2, "float"), "type": (3, "int32")},
        "Trainer": {
            "model_type": (3, "int32"),
            "treat_whitespace_as_suffix": (24, "bool"),
            "byte_fallback": (35, "bool"),
        },
        "Normalizer": {
            "precompiled_charsmap": (2, "bytes"),
            "add_dummy_prefix": (3, "bool"),
            "remove_extra_whitespaces": (4, "bool"),
            "escape_whitespaces": (5, "bool"),
        },
    },
    syntax="proto2",
)
_UNIGRAM = 1
_UNKNOWN, _USER_DEFINED = 2, 4
"""Types of pieces: what stands for unknown characters, and what is always found in a text."""


@dataclass(frozen=True, slots=True)
class PieceRules:
    """What a family makes of the pieces of its SentencePiece file."""

    before: tuple[str, ...] = ()
    """Tokens before the pieces, in place of the file's first ``replaced`` ones."""
    replaced: int = 0
    after: tuple[str, ...] = ()
    """Tokens after the pieces, where they aren't among them."""
    unknown: str | None = None
    """Of these tokens the one for unknown characters; by default the file's own."""
    english: bool = False
    """As ALBERT reads English: quotes become ``"``, accents are left out unless ``keep_accents`` is
    set, and a number keeps its comma only where no shorter pieces cover it."""
    lowercases: bool = False
    """Whether ``do_lower_case`` is the default."""


_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
XLMR_PIECES = PieceRules(_FAIRSEQ, replaced=3, after=("<mask>",), unknown="<unk>")
CAMEMBERT_PIECES = PieceRules(
    ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"),
    replaced=1,
    after=("<mask>",),
    unknown="<unk>",
)
DEBERTA_PIECES = PieceRules(after=("[MASK]",))
ALBERT_PIECES = PieceRules(english=True, lowercases=True)


def read_pieces(path: Path, rules: PieceRules, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a ``tokenizer.json`` that cuts a text as SentencePiece does.

    Parameters
    ----------
    path
        The file.
    rules
        Those of the model's family.
    flags
        Of ``tokenizer_config.json``: ``do_lower_case``, ``keep_accents``, ``split_by_punct``.

    Raises
    ------
    CheckpointError
        For a damaged file, and for another algorithm than Unigram.
    """
    model = _parsed(path)
    if model.trainer_spec.model_type not in (0, _UNIGRAM):
        raise CheckpointError(
            "a SentencePiece model of another kind than Unigram",
            hint="save the tokenizer as tokenizer.json",
        )
    if model.trainer_spec.treat_whitespace_as_suffix or not _set(
        model.normalizer_spec, "escape_whitespaces"
    ):
        raise CheckpointError("a SentencePiece model that marks the ends of words")
    vocabulary = _vocabulary(model.pieces, rules)
    names = [name for name, _ in vocabulary]
    unknown = rules.unknown or next(
        (_text(piece) for piece in model.pieces if piece.type == _UNKNOWN), None
    )
    if unknown not in names:
        raise CheckpointError("no piece for unknown characters", hint="fetch the file again")
    prefix = "always" if _set(model.normalizer_spec, "add_dummy_prefix") else "never"
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": prefix, "split": True}
    pre_tokenizers: list[dict[str, Any]] = [metaspace]
    if flags.get("split_by_punct"):
        pre_tokenizers.insert(0, {"type": "Punctuation", "behavior": "Isolated"})
    return {
        "version": "1.0",
        "added_tokens": _user_defined(model.pieces, names),
        "normalizer": {
            "type": "Sequence",
            "normalizers": _normalizers(model.normalizer_spec, rules, flags),
        },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizers},
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": names.index(unknown),
            "vocab": [[text, score] for text, score in vocabulary],
            "byte_fallback": model.trainer_spec.byte_fallback,
        },
    }


def _parsed(path: Path) -> Any:
    with path.open("rb") as file:
        data = file.read(LARGEST_MODEL + 1)
    if len(data) > LARGEST_MODEL:
        raise CheckpointError(f"more than {LARGEST_MODEL >> 20} MB, which no such file has")
    model = _MODEL.message("Model")
    try:
        model.ParseFromString(data)
    except DecodeError:
        model.Clear()
    if not model.pieces:
        raise CheckpointError("no SentencePiece model, or a damaged one", hint="fetch it again")
    if len(model.pieces) > MOST_TOKENS:
        raise CheckpointError(f"more than {MOST_TOKENS:,} tokens, which no vocabulary has")
    return model


def _set(message: Any, field: str) -> bool:
    """A flag that is set where the file doesn't say."""
    return bool(getattr(message, field)) if message.HasField(field) else True


def _text(piece: Any) -> str:
    try:
        text: str = piece.piece.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError("a piece that isn't UTF-8", hint="fetch the file again") from error
    return text


def _vocabulary(pieces: Sequence[Any], rules: PieceRules) -> list[tuple[str, float]]:
    """Tokens and scores by id."""
    own = [(_text(piece), float(piece.score)) for piece in pieces[rules.replaced :]]
    if rules.english:
        own = [(text, score - 100 * _ends_in_number_and_comma(text)) for text, score in own]
    known = {text for text, _ in own}
    after = [(token, 0.0) for token in rules.after if token not in known]
    return [*((token, 0.0) for token in rules.before), *own, *after]


def _ends_in_number_and_comma(piece: str) -> bool:
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _user_defined(pieces: Sequence[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    found = [_text(piece) for piece in pieces if piece.type == _USER_DEFINED]
    ids = {name: number for number, name in enumerate(names)}
    return [{"id": ids[text], "content": text, **flags} for text in found if text in ids]


def _normalizers(spec: Any, rules: PieceRules, flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if rules.english:
        for mark in ("``", "''"):
            parts.append({"type": "Replace", "pattern": {"String": mark}, "content": '"'})
        if not flags.get("keep_accents"):
            parts += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if flags.get("do_lower_case", rules.lowercases):
        parts.append({"type": "Lowercase"})
    if table := spec.precompiled_charsmap:
        text = base64.b64encode(table).decode("ascii")
        parts.append({"type": "Precompiled", "precompiled_charsmap": text})
    if _set(spec, "remove_extra_whitespaces"):
        # The table has made a space of each kind of white space.
        parts.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
        parts.append({"type": "Strip", "strip_left": True, "strip_right": True})
    return parts
