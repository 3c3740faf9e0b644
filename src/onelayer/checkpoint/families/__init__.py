"""The encoder families that can be fine-tuned: one file each, and its entry here."""

from __future__ import annotations

from onelayer.checkpoint.families.bert import BERT
from onelayer.checkpoint.family import Family

FAMILIES: dict[str, Family] = {family.model_type: family for family in (BERT,)}
"""By the ``model_type`` of ``config.json``."""

UNNAMED = BERT.model_type
"""What a ``config.json`` without ``model_type`` is: the first BERTs came before that key."""


def family_with_class(name: str) -> Family:
    """The family of one of transformers' classes. Raises KeyError for a class of none."""
    for family in FAMILIES.values():
        if name in family.classes:
            return family
    raise KeyError(name)
