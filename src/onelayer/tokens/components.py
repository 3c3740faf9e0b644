"""Checks a ``tokenizer.json`` before the tokenizers library reads it: only known parts, and none
that never ends, breaks off, or makes pages of a letter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from onelayer.base.errors import CheckpointError
from onelayer.tokens.charsmap import check_charsmap

MOST_TOKENS = 1_000_000
LONGEST_WORD = 1000
"""Characters; a longer word becomes [UNK]. The time for a word grows with the square of its
length."""
LONGEST_PREFIX = 100
"""Characters of the mark before a word's second and later pieces, ``##``."""
LONGEST_PIECE = 1000
"""Characters of a token. At each character of a text Unigram looks at all tokens that begin
there."""
MOST_PARTS = 16
"""Components of a sequence. Each reads the whole text."""
DEEPEST = 4
"""Sequences within sequences."""

_SEQUENCES = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
_NORMALIZERS = (
    *("BertNormalizer", "Lowercase", "StripAccents", "Strip"),
    *("NFC", "NFD", "NFKC", "NFKD"),
)
_PRE_TOKENIZERS = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits")
_POST_PROCESSORS = ("TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel")
# Of decoders nothing is run here: they are for those who make texts of tokens.
_DECODERS = (
    *("WordPiece", "ByteLevel", "Metaspace", "BPEDecoder"),
    *("Replace", "ByteFallback", "Fuse", "Strip"),
)
_WORDPIECE = {
    "normalizer": _NORMALIZERS,
    "pre_tokenizer": _PRE_TOKENIZERS,
    "post_processor": _POST_PROCESSORS,
    "decoder": _DECODERS,
}
_MARKED = {
    "normalizer": (*_NORMALIZERS, "Nmt", "Replace", "Precompiled"),
    "pre_tokenizer": (*_PRE_TOKENIZERS, "ByteLevel", "Metaspace", "Split"),
    "post_processor": _POST_PROCESSORS,
    "decoder": _DECODERS,
}
"""For models whose tokens carry a mark where a word begins."""

# The regular expressions of published encoders. Others may take longer than anybody waits.
_PATTERNS = (
    " {2,}",
    r"\s+",
    r"\s{2,}|[\n\r\t]",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)


def check_components(data: Mapping[str, Any]) -> str:
    """Checks the content of a ``tokenizer.json``, and returns its model's type.

    Raises CheckpointError for other models than WordPiece, BPE and Unigram, and for parts that
    published encoders of the kind don't have.
    """
    model = data.get("model")
    if not isinstance(model, dict):
        raise CheckpointError("holds no model", hint="fetch the file again")
    kind = model.get("type", _old_type(model))
    if not isinstance(kind, str) or kind not in _MODELS:
        raise CheckpointError(
            f"a {kind!s:.80} tokenizer", hint=f"onelayer reads {', '.join(_MODELS)}"
        )
    check_model, parts = _MODELS[kind]
    for part, known in parts.items():
        _check_part(data, part, known)
    check_model(model)
    if kind == "BPE" and not model.get("unk_token") and not model.get("byte_fallback"):
        names = [component["type"] for component in components_of(data, "pre_tokenizer")]
        if "ByteLevel" not in names:
            raise CheckpointError("a BPE tokenizer that leaves out unknown characters")
    tokens = data.get("added_tokens") or []
    if not isinstance(tokens, list) or not all(
        isinstance(token, dict) and isinstance(token.get("content"), str) for token in tokens
    ):
        raise CheckpointError("added_tokens is no list of tokens")
    return kind


def _check_part(data: Mapping[str, Any], part: str, known: Sequence[str]) -> None:
    components = list(components_of(data, part))
    if len(components) > MOST_PARTS:
        raise CheckpointError(f"the {part} has {len(components):,} components")
    for component in components:
        name: Any = component.get("type")
        if name not in known:
            raise CheckpointError(
                f"the {part} {name!r:.80} is not read", hint=f"known are {', '.join(known)}"
            )
        if check := _COMPONENTS.get(name):
            check(component)


def _old_type(model: Mapping[str, Any]) -> str:
    """The type of a model in an old file, which doesn't say it."""
    if "merges" in model:
        return "BPE"
    return "Unigram" if isinstance(model.get("vocab"), list) else "WordPiece"


def components_of(data: Mapping[str, Any], part: str) -> Iterator[Mapping[str, Any]]:
    """The components of a part of a ``tokenizer.json``, such as its ``post_processor``."""
    return _components(data.get(part), part)


def _components(component: Any, part: str, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """A component, or the components of a sequence."""
    if component is None:
        return
    if not isinstance(component, dict):
        raise CheckpointError(f"the {part} is no object with a type")
    if component.get("type") != "Sequence":
        yield component
        return
    parts = component.get(_SEQUENCES[part])
    if not isinstance(parts, list):
        raise CheckpointError(f"the {part} is a sequence without a list of parts")
    if depth == DEEPEST:
        raise CheckpointError(f"the {part} has sequences nested too deeply")
    for inner in parts:
        yield from _components(inner, part, depth + 1)


def _check_wordpiece(model: Mapping[str, Any]) -> None:
    longest, prefix = model.get("max_input_chars_per_word"), model.get("continuing_subword_prefix")
    if type(longest) is not int or not 0 < longest <= LONGEST_WORD:
        raise CheckpointError(
            f"max_input_chars_per_word is {longest!r}, and must be a whole number to {LONGEST_WORD}"
        )
    if not isinstance(prefix, str) or len(prefix) > LONGEST_PREFIX:
        raise CheckpointError(f"continuing_subword_prefix is {prefix!r:.80}, not a mark such as ##")
    if not isinstance(model.get("unk_token"), str):
        raise CheckpointError(f"unk_token is {model.get('unk_token')!r:.80}, not a token's text")


def _check_bpe(model: Mapping[str, Any]) -> None:
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict):
        raise CheckpointError("the vocabulary is no object of tokens and ids")
    _check_pieces(list(vocabulary))
    if model.get("dropout"):
        raise CheckpointError(
            f"dropout is {model['dropout']!r:.80}, which cuts a text differently each time",
            hint="set it to null",
        )
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise CheckpointError(f"{key} is {model[key]!r:.80}, and must be empty")
    unknown = model.get("unk_token")
    if unknown is not None and (not isinstance(unknown, str) or unknown not in vocabulary):
        raise CheckpointError(f"a vocabulary without {unknown!r:.80}, the unk_token")


def _check_unigram(model: Mapping[str, Any]) -> None:
    vocabulary, unknown = model.get("vocab"), model.get("unk_id")
    if not isinstance(vocabulary, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in vocabulary
    ):
        raise CheckpointError("the vocabulary is no list of pieces and scores")
    _check_pieces([piece for piece, _ in vocabulary])
    for piece, score in vocabulary:
        if type(score) not in (int, float) or not math.isfinite(score):
            raise CheckpointError(f"the score of {piece!r:.80} is {score!r:.80}, not a number")
    if type(unknown) is not int or not 0 <= unknown < len(vocabulary):
        raise CheckpointError(f"unk_id is {unknown!r:.80}, and there are {len(vocabulary)} pieces")


def _check_pieces(pieces: Sequence[str]) -> None:
    if len(pieces) > MOST_TOKENS:
        raise CheckpointError(f"more than {MOST_TOKENS:,} tokens, which no vocabulary has")
    longest = max(map(len, pieces), default=0)
    if longest > LONGEST_PIECE:
        raise CheckpointError(f"a token of {longest:,} characters, which no vocabulary has")
    if "" in pieces:
        raise CheckpointError("an empty token")


def _check_replace(component: Mapping[str, Any]) -> None:
    pattern, content = _pattern(component), component.get("content")
    # What a regular expression here finds has one character or more.
    least = len(pattern["String"]) if "String" in pattern else 1
    if not isinstance(content, str) or len(content) > least:
        raise CheckpointError(f"a Replace that lengthens the text, to {content!r:.80}")


def _check_split(component: Mapping[str, Any]) -> None:
    _pattern(component)


def _pattern(component: Mapping[str, Any]) -> Mapping[str, str]:
    pattern = component.get("pattern")
    if isinstance(pattern, dict) and len(pattern) == 1:
        if pattern.get("Regex") in _PATTERNS:
            return pattern
        if isinstance(text := pattern.get("String"), str) and text:
            return pattern
    found = pattern.get("Regex", pattern) if isinstance(pattern, dict) else pattern
    raise CheckpointError(
        f"a {component['type']} with a pattern that no published encoder has: {found!r:.80}"
    )


def _check_metaspace(component: Mapping[str, Any]) -> None:
    if component.get("replacement") != "▁":
        raise CheckpointError(f"a Metaspace with {component.get('replacement')!r:.80} for ▁")


def _check_precompiled(component: Mapping[str, Any]) -> None:
    check_charsmap(component.get("precompiled_charsmap"))


_COMPONENTS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "Replace": _check_replace,
    "Split": _check_split,
    "Metaspace": _check_metaspace,
    "Precompiled": _check_precompiled,
}
_MODELS: Mapping[str, tuple[Callable[[Mapping[str, Any]], None], Mapping[str, Sequence[str]]]] = {
    "WordPiece": (_check_wordpiece, _WORDPIECE),
    "BPE": (_check_bpe, _MARKED),
    "Unigram": (_check_unigram, _MARKED),
}
