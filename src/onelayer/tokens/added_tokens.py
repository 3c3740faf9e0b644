"""Tokens that somebody added to a vocabulary, such as ``[E1]`` around an entity. A text has them in
one piece."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, read_json

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
_LISTS = ("additional_special_tokens", "extra_special_tokens")


@dataclass(frozen=True, slots=True)
class TokenInText:
    """A token that is found in texts before they are cut."""

    content: str
    number: int | None
    """Its id; None if it is the vocabulary's, or the next one."""
    flags: Mapping[str, bool]
    """How the tokenizers library finds it."""


def read_added_tokens(folder: Path, roles: Collection[str]) -> list[TokenInText]:
    """The tokens that the files beside a vocabulary add to it, ordered by id.

    Parameters
    ----------
    folder
        The model's directory: ``added_tokens_decoder`` in ``tokenizer_config.json``, else
        ``added_tokens.json``, and the lists of special tokens.
    roles
        The tokens with a role, such as ``[SEP]``.

    Raises
    ------
    CheckpointError
        For entries that are no tokens.
    """
    listed: dict[str, dict[str, bool]] = {}
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if path := find(folder, name):
            settings = read_json(path)
            listed |= {
                content: flags
                for key in _LISTS
                for content, flags in _listed(settings.get(key), f"{key} of {name}", path)
            }
    numbered: list[TokenInText] = []
    if (given := settings.get("added_tokens_decoder")) is not None:
        assert path is not None, "it is read from there"
        where = f"added_tokens_decoder of {path.name}"
        for number, token in _entries(given, where, path):
            content, flags = _token(token, where, path)
            numbered.append(TokenInText(content, _number(number, where, path), flags))
    elif path := find(folder, "added_tokens.json"):
        special = {*roles, *listed}
        for content, number in _entries(read_json(path), path.name, path):
            flags = _flags({"normalized": content not in special})
            numbered.append(TokenInText(content, _number(number, path.name, path), flags))
    numbered.sort(key=lambda token: token.number or 0)
    known = {token.content for token in numbered}
    others = (TokenInText(text, None, flags) for text, flags in listed.items() if text not in known)
    return [*numbered, *others]


def add_tokens(
    backend: tokenizers.Tokenizer, tokens: list[TokenInText], roles: Collection[str]
) -> None:
    """Adds those that the tokenizer doesn't have yet. Tokens with a role get an id, and aren't
    found in texts. Raises CheckpointError for one whose id isn't the next one."""
    there = {token.content for token in backend.get_added_tokens_decoder().values()}
    for token in tokens:
        has_role = token.content in roles
        known = backend.token_to_id(token.content)
        if token.content in there or (has_role and known is not None):
            continue
        added = tokenizers.AddedToken(token.content, special=has_role, **token.flags)
        number = token.number
        if number is None:
            number = 1 + max(backend.get_vocab().values()) if known is None else known
        (backend.add_special_tokens if has_role else backend.add_tokens)([added])
        found = backend.token_to_id(token.content)
        if found != number:  # the library counts tokens, and a vocabulary may have gaps
            raise CheckpointError(
                f"{token.content!r:.80} was added as token {number}, and is token {found}",
                hint="save the tokenizer as tokenizer.json",
            )


def _listed(value: Any, where: str, path: Path) -> list[tuple[str, dict[str, bool]]]:
    if isinstance(value, Mapping) and "content" not in value:  # by names of their own
        value = list(value.values())
    return [_token(token, where, path) for token in (value if isinstance(value, list) else [])]


def _token(token: Any, where: str, path: Path) -> tuple[str, dict[str, bool]]:
    """A token's text, and how it is found."""
    data = token if isinstance(token, Mapping) else {"content": token, "normalized": False}
    content = data.get("content")
    if not isinstance(content, str) or not content or len(content) > 1000:
        raise CheckpointError(f"{where}: {content!r:.80} is no token's text", place=Place(path))
    # Of special tokens the library's default is to find them in the text as it stands.
    return content, _flags({"normalized": not data.get("special", False), **data})


def _flags(data: Mapping[str, Any]) -> dict[str, bool]:
    return {flag: data.get(flag) is True for flag in _FLAGS}


def _entries(value: Any, where: str, path: Path) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{where} is no object", place=Place(path))
    return list(value.items())


def _number(value: Any, where: str, path: Path) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise CheckpointError(f"{where}: {value!r:.80} is no token's id", place=Place(path))
    return int(text)
