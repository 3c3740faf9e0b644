"""Chooses the pretrained model where the user names none: by the language of the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onelayer.base.errors import CheckpointError
from onelayer.base.wording import Say
from onelayer.checkpoint.config import read_config, read_tokenizer
from onelayer.checkpoint.named_models import MULTILINGUAL, NAMED_MODELS, STARTER
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
    found = _read_by_starter(texts())
    if found is None or not found.foreign:
        return STARTER
    lacks = f"the English starter's vocabulary lacks {found.cut:.0%} of the words"
    try:
        resolve(MULTILINGUAL)
    except CheckpointError:
        install = NAMED_MODELS[MULTILINGUAL].install
        say(f"{lacks}; --model {MULTILINGUAL} has them, but isn't on this machine: {install}")
        return STARTER
    say(f"model = {MULTILINGUAL}, because {lacks}; --model NAME takes another")
    return MULTILINGUAL


def _read_by_starter(texts: Sequence[str]) -> Coverage | None:
    """How well the starter reads some texts; None where it can't be had."""
    try:
        folder = resolve(STARTER)
        tokenizer = read_tokenizer(folder, read_config(folder)[0])
    except CheckpointError:
        return None  # the error comes when the starter is opened
    return coverage(tokenizer, texts)
