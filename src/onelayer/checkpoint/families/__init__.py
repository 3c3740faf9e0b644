"""The registry of encoder families that can be fine-tuned. Each has a file, and an entry here."""

from __future__ import annotations

from onelayer.checkpoint.families.albert import ALBERT
from onelayer.checkpoint.families.bert import BERT
from onelayer.checkpoint.families.deberta import DEBERTA_V2
from onelayer.checkpoint.families.distilbert import DISTILBERT
from onelayer.checkpoint.families.electra import ELECTRA
from onelayer.checkpoint.families.modernbert import MODERNBERT
from onelayer.checkpoint.families.mpnet import MPNET
from onelayer.checkpoint.families.roberta import CAMEMBERT, ROBERTA, XLM_ROBERTA
from onelayer.checkpoint.family import Family

_ALL = (
    *(BERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, DISTILBERT, ELECTRA, MPNET, ALBERT, DEBERTA_V2),
    MODERNBERT,
)

FAMILIES: dict[str, Family] = {family.model_type: family for family in _ALL}
"""Families by the ``model_type`` of ``config.json``."""

UNNAMED = BERT.model_type
"""The family of a ``config.json`` without ``model_type``, a key that the first BERTs lack."""


def family_with_class(name: str) -> Family:
    """The family that has one of transformers' classes. Raises KeyError for an unknown class."""
    for family in FAMILIES.values():
        if name in family.classes:
            return family
    raise KeyError(name)
