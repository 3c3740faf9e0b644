"""Checks the parts of a ``tokenizer.json``: only known ones, none with a pattern of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onelayer.base.errors import CheckpointError

# The parts that BERT models use. None of them holds a regular expression of its own.
_COMPONENTS = {
    "normalizer": (
        *("BertNormalizer", "Lowercase", "StripAccents", "Strip"),
        *("NFC", "NFD", "NFKC", "NFKD"),
    ),
    "pre_tokenizer": ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"),
    "post_processor": ("TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"),
    "decoder": ("WordPiece",),
}
_SEQUENCES = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
LONGEST_WORD = 1000
"""Characters; a longer word becomes [UNK]. The time for a word grows with the square of its
length."""
LONGEST_PREFIX = 100
"""Characters of the mark before a word's second and later pieces, ``##``."""


def check_components(data: Mapping[str, Any], wanted: str = "WordPiece") -> None:
    """Checks a ``tokenizer.json`` before the tokenizers library reads it.

    Unknown parts may hold regular expressions that never finish, or replace a letter by pages.

    Parameters
    ----------
    data
        The file's content.
    wanted
        The type of model that the encoder family uses.

    Raises
    ------
    CheckpointError
        For another model, and for unknown parts.
    """
    model = data.get("model")
    kind = model.get("type", wanted) if isinstance(model, dict) else None
    if kind != wanted or not isinstance(model, dict):
        raise CheckpointError(
            f"a {kind!s:.80} tokenizer, and this model's is {wanted}" if kind else "holds no model",
            hint="take the tokenizer files of this very model",
        )
    longest, prefix = model.get("max_input_chars_per_word"), model.get("continuing_subword_prefix")
    if type(longest) is not int or not 0 < longest <= LONGEST_WORD:
        raise CheckpointError(
            f"max_input_chars_per_word is {longest!r}, and must be a whole number to {LONGEST_WORD}"
        )
    if not isinstance(prefix, str) or len(prefix) > LONGEST_PREFIX:
        raise CheckpointError(f"continuing_subword_prefix is {prefix!r:.80}, not a mark such as ##")
    for part, known in _COMPONENTS.items():
        for name in _kinds_in(data.get(part), part):
            if name not in known:
                raise CheckpointError(
                    f"the {part} {name!r:.80} is not read",
                    hint=f"known are {', '.join(known)}",
                )
    tokens = data.get("added_tokens") or []
    if not isinstance(tokens, list) or not all(
        isinstance(token, dict) and isinstance(token.get("content"), str) for token in tokens
    ):
        raise CheckpointError("added_tokens is no list of tokens")


def _kinds_in(component: Any, part: str) -> Iterator[Any]:
    """The type of a component, or the types of a sequence's components."""
    if component is None:
        return
    if not isinstance(component, dict):
        raise CheckpointError(f"the {part} is no object with a type")
    if component.get("type") != "Sequence":
        yield component.get("type")
        return
    parts = component.get(_SEQUENCES[part])
    if not isinstance(parts, list):
        raise CheckpointError(f"the {part} is a sequence without a list of parts")
    for inner in parts:
        yield from _kinds_in(inner, part)
