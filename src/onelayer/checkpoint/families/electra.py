"""ELECTRA (Clark et al., 2020): BERT, pretrained to find replaced words. In the small ones the
embeddings are narrower than the layers. There is no pooler; the head has a dense layer of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onelayer.checkpoint.families.bert import (
    BERTS_BUFFERS,
    BERTS_MODULES,
    ENCODERS_ONLY,
    TENSORFLOWS_ENDINGS,
)
from onelayer.checkpoint.family import Family, ModelClass, Module, size_or
from onelayer.nn.bricks import Bricks, PoolerShape
from onelayer.tokens.tokenizer_files import ELECTRA_WORDPIECE

if TYPE_CHECKING:
    from onelayer.checkpoint.config import EncoderConfig


def _bricks(config: EncoderConfig) -> Bricks:
    narrow = config.own["embedding_size"]
    return Bricks(embedding_size=None if narrow == config.hidden_size else narrow)


ELECTRA = Family(
    model_type="electra",
    title="ELECTRA",
    prefix="electra.",
    modules=(
        *BERTS_MODULES,
        Module(
            "embeddings.widen",
            ("embeddings_project",),
            "DE",
            "D",
            when=lambda config: config.bricks.embedding_size is not None,
        ),
    ),
    classes={
        "ElectraModel": ModelClass(bare=True),
        "ElectraForPreTraining": ModelClass(),
        "ElectraForMaskedLM": ModelClass(),
        "ElectraForSequenceClassification": ModelClass(
            "SequenceClassification",
            "classifier.out_proj",
            pooler="classifier.dense",
            pooler_shape=PoolerShape(activation="gelu", dropped=True),
        ),
        "ElectraForTokenClassification": ModelClass("TokenClassification", "classifier"),
        "ElectraForQuestionAnswering": ModelClass("QuestionAnswering", "qa_outputs", rows=2),
        "ElectraForMultipleChoice": ModelClass(
            "MultipleChoice",
            "classifier",
            pooler="sequence_summary.summary",
            pooler_shape=PoolerShape(activation="gelu"),
            rows=1,
        ),
    },
    only=ENCODERS_ONLY
    | {
        "summary_type": ("first", "only 'first' is read"),
        "summary_use_proj": (True, "only true is read"),
        "summary_activation": ("gelu", "only 'gelu' is read"),
    },
    own={"embedding_size": size_or(128)},
    bricks=_bricks,
    old_endings=TENSORFLOWS_ENDINGS,
    buffers=BERTS_BUFFERS,
    tokenizer=ELECTRA_WORDPIECE,
)
