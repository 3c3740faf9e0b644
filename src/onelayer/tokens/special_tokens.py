"""Special tokens by role, and the other settings that stand next to a vocabulary."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, read_json, refuse_code

USUAL = {
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "unk_token": ("[UNK]", "<unk>"),
    "pad_token": ("[PAD]", "<pad>"),
    "mask_token": ("[MASK]", "<mask>"),
}
"""The roles, and the tokens that have them where a model's files don't say."""
ALSO_CALLED = {"cls_token": "bos_token", "sep_token": "eos_token"}
"""The roles whose tokens some files name as the beginning and the end of a text only."""

WITHOUT_SEGMENTS = ("DistilBertTokenizer", "DistilBertTokenizerFast", "TokenizersBackend")
"""Transformers' classes for any family that give no segments unless ``model_input_names`` has
them."""

_FLAGS = (
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space"),
    *("keep_accents", "split_by_punct"),
)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """What ``tokenizer_config.json`` says; what it lacks is taken from ``special_tokens_map.json``,
    and the class from ``config.json``."""

    named: Mapping[str, str]
    """The special token of each role that is named."""
    tokenizer_class: str | None
    """Transformers' class."""
    flags: Mapping[str, Any]
    """Rules for splitting text of those classes that read ``vocab.txt``."""
    segments: bool = True
    """Whether the class gives a pair's texts segments, if the model has any."""

    @classmethod
    def read(cls, folder: Path) -> TokenizerSettings:
        """Reads a model directory's settings. Raises CheckpointError for those that name code or
        have a wrong type."""
        named: dict[str, str] = {}
        others: dict[str, Any] = {}
        segments: bool | None = None
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if path := find(folder, name):
                data = read_json(path)
                refuse_code(data, path)
                for role in (*USUAL, *ALSO_CALLED.values()):
                    if (token := _token(data.get(role), role, path)) is not None:
                        named[role] = token
                    elif role in data:
                        named.pop(role, None)
                others |= _others(data, path)
                if isinstance(inputs := data.get("model_input_names"), list):
                    segments = "token_type_ids" in inputs
        if others.get("tokenizer_class") is None and (path := find(folder, "config.json")):
            config = read_json(path)
            others |= _others({"tokenizer_class": config.get("tokenizer_class")}, path)
        tokenizer_class = others.pop("tokenizer_class", None)
        if segments is None:
            segments = tokenizer_class not in WITHOUT_SEGMENTS
        return cls(named, tokenizer_class, others, segments)

    def roles(self, knows: Callable[[str], bool]) -> dict[str, str]:
        """The token of each role. Where none is named, it is the usual one that the vocabulary
        ``knows``, and the first of the usual ones if it knows none."""
        found = {}
        for role, usual in USUAL.items():
            token = self.named.get(role, self.named.get(ALSO_CALLED.get(role, "")))
            found[role] = token or next((name for name in usual if knows(name)), usual[0])
        return found


def scrub(text: str) -> str:
    """Replaces lone surrogates, which UTF-8 can't hold, by U+FFFD; keeps the length."""
    return _SURROGATE.sub("\ufffd", text)


def _token(token: Any, role: str, path: Path) -> str | None:
    if isinstance(token, dict):  # a token with rules for matching, which we never use
        token = token.get("content")
    if token is None:
        return None
    if not isinstance(token, str):
        raise CheckpointError(f"{role} is {token!r}, not a token's text", place=Place(path))
    return scrub(token)


def _others(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not isinstance(name := data.get("tokenizer_class"), str | None) or (
        name and not name.isidentifier()
    ):
        raise CheckpointError(f"tokenizer_class is {name!r}, not a class", place=Place(path))
    if "tokenizer_class" in data:
        found["tokenizer_class"] = name
    for flag in _FLAGS:
        if not isinstance(value := data.get(flag), bool | None):
            raise CheckpointError(f"{flag} is {value!r}, not a boolean", place=Place(path))
        if flag in data and (value is not None or flag == "strip_accents"):
            found[flag] = value
    return found
