"""The registry of encoder families that can be fine-tuned. Each has a file, and an entry here."""

from __future__ import annotations

from onelayer.checkpoint.families.bert import BERT
from onelayer.checkpoint.family import Family

FAMILIES: dict[str, Family] = {family.model_type: family for family in (BERT,)}
"""Families by the ``model_type`` of ``config.json``."""

UNNAMED = BERT.model_type
"""The family of a ``config.json`` without ``model_type``, a key that the first BERTs lack."""


def family_with_class(name: str) -> Family:
    """The family that has one of transformers' classes. Raises KeyError for an unknown class."""
    for family in FAMILIES.values():
        if name in family.classes:
            return family
    raise KeyError(name)
