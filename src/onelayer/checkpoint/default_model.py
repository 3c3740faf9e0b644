"""Chooses the pretrained model where the user names none: by the language of the texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from onelayer.base.errors import CheckpointError
from onelayer.base.wording import Say
from onelayer.checkpoint.config import read_config, read_tokenizer
from onelayer.checkpoint.named_models import MULTILINGUAL, NAMED_MODELS, STARTER, place_of
from onelayer.checkpoint.source import resolve
from onelayer.tokens.coverage import Coverage, coverage

SAMPLE_ROWS = 300
"""Rows at the beginning of a file by whose texts the model is chosen."""


def model_for(model: str | None, texts: Callable[[], Sequence[str]], say: Say) -> str:
    """The model that the user named, or the one that reads the texts.

    Parameters
    ----------
    model
        The user's choice; None leaves it open.
    texts
        Reads a sample of the texts, if it is needed.
    say
        Called with the reason for a choice other than the starter.
    """
    if model is not None:
        return model
    sample = texts()
    found = _read_by_starter(sample)
    if found is None and place_of(NAMED_MODELS[STARTER]) is None:
        return _without_starter(sample, say)
    if found is None or not found.foreign:
        return STARTER
    lacks = f"the English starter's vocabulary lacks {found.cut:.0%} of the words"
    try:
        resolve(MULTILINGUAL)
    except CheckpointError as error:
        say(f"{lacks}; --model {MULTILINGUAL} has them, but can't be opened: {error}")
        return STARTER
    say(f"model = {MULTILINGUAL}, because {lacks}; --model NAME takes another")
    return MULTILINGUAL


def _without_starter(texts: Sequence[str], say: Say) -> str:
    """The model where the starter can't be had: ``multilingual`` if it is here, as it reads English
    too. Otherwise the one that the user should get, whose error comes when it is opened."""
    try:
        resolve(MULTILINGUAL)
    except CheckpointError:
        return STARTER if _are_latin(texts) else MULTILINGUAL
    why = f"the English starter isn't on this machine (onelayer models --fetch {STARTER})"
    say(f"model = {MULTILINGUAL}, because {why}; --model NAME takes another")
    return MULTILINGUAL


def _are_latin(texts: Sequence[str]) -> bool:
    """Whether at least half of the letters are Latin ones; true where there are no letters."""
    letters = [one for text in texts for one in text if one.isalpha()]
    latin = sum(one.isascii() or unicodedata.name(one, "").startswith("LATIN") for one in letters)
    return 2 * latin >= len(letters)


def _read_by_starter(texts: Sequence[str]) -> Coverage | None:
    """How well the starter reads some texts; None where it can't be had."""
    try:
        folder = resolve(STARTER)
        tokenizer = read_tokenizer(folder, read_config(folder)[0])
    except CheckpointError:
        return None  # the error comes when the starter is opened
    return coverage(tokenizer, texts)
