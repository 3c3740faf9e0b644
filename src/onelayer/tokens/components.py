"""What a ``tokenizer.json`` may be made of: known parts, none with a pattern of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onelayer.base.errors import CheckpointError

# What BERTs and those who train their own use; none of these can hold a pattern of its own.
_COMPONENTS = {
    "normalizer": (
        *("BertNormalizer", "Lowercase", "StripAccents", "Strip"),
        *("NFC", "NFD", "NFKC", "NFKD"),
    ),
    "pre_tokenizer": ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"),
    "post_processor": ("TemplateProcessing", "BertProcessing"),
    "decoder": ("WordPiece",),
}
_SEQUENCES = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
LONGEST_WORD = 1000
"""Characters; a word that is longer becomes [UNK]. The time that a word takes grows with the
square of its length."""
LONGEST_PREFIX = 100


def check_components(data: Mapping[str, Any], wanted: str = "WordPiece") -> None:
    """Raises CheckpointError for a model other than ``wanted`` and for parts that aren't known.

    Unknown parts may hold patterns that never end, or make pages of a letter.
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
    """The types of a component and of those it is made of."""
    if component is None:
        return
    if not isinstance(component, dict):
        raise CheckpointError(f"the {part} is no object with a type")
    if component.get("type") != "Sequence":
        yield component.get("type")
        return
    parts = component.get(_SEQUENCES[part])
    if not isinstance(parts, list):
        raise CheckpointError(f"the {part} is a sequence of nothing")
    for inner in parts:
        yield from _kinds_in(inner, part)
