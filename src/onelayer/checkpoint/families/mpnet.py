"""MPNet (Song et al., 2020): BERT without segments, with a bias for the distance of two tokens."""

from __future__ import annotations

from onelayer.checkpoint.families.bert import BERTS_BUFFERS, ENCODERS_ONLY, TENSORFLOWS_ENDINGS
from onelayer.checkpoint.family import Family, ModelClass, Module
from onelayer.nn.bricks import Bricks, PoolerShape
from onelayer.tokens.tokenizer_files import MPNET_WORDPIECE

_LAYER = "encoder.layer.{i}"
_ATTENTION = f"{_LAYER}.attention"
_BUCKETS = 32
_PADDING = 1
"""The row of the padding token's position; transformers has it fixed."""

MPNET = Family(
    model_type="mpnet",
    title="MPNet",
    prefix="mpnet.",
    modules=(
        Module("embeddings.word", ("embeddings.word_embeddings",), "VD"),
        Module("embeddings.position", ("embeddings.position_embeddings",), "PD"),
        Module("embeddings.norm", ("embeddings.LayerNorm",), "D", "D"),
        Module("distances", ("encoder.relative_attention_bias",), "BH"),
        Module(
            "layers.{i}.attention.qkv",
            tuple(f"{_ATTENTION}.attn.{part}" for part in "qkv"),
            "DD",
            "D",
        ),
        Module("layers.{i}.attention.output", (f"{_ATTENTION}.attn.o",), "DD", "D"),
        Module("layers.{i}.attention.norm", (f"{_ATTENTION}.LayerNorm",), "D", "D"),
        Module("layers.{i}.feed_forward.up", (f"{_LAYER}.intermediate.dense",), "FD", "F"),
        Module("layers.{i}.feed_forward.down", (f"{_LAYER}.output.dense",), "DF", "D"),
        Module("layers.{i}.feed_forward.norm", (f"{_LAYER}.output.LayerNorm",), "D", "D"),
    ),
    classes={
        "MPNetModel": ModelClass(pooler="pooler.dense", bare=True),
        "MPNetForMaskedLM": ModelClass(),
        "MPNetForSequenceClassification": ModelClass(
            "SequenceClassification",
            "classifier.out_proj",
            pooler="classifier.dense",
            pooler_shape=PoolerShape(dropped=True),
        ),
        "MPNetForTokenClassification": ModelClass("TokenClassification", "classifier"),
        "MPNetForQuestionAnswering": ModelClass("QuestionAnswering", "qa_outputs", rows=2),
        "MPNetForMultipleChoice": ModelClass(
            "MultipleChoice", "classifier", pooler="mpnet.pooler.dense", rows=1
        ),
    },
    fixed={"type_vocab_size": 0, "classifier_dropout": None},
    defaults={"pad_token_id": _PADDING},
    only=ENCODERS_ONLY
    | {
        "relative_attention_num_buckets": (
            _BUCKETS,
            f"transformers computes {_BUCKETS} in any case",
        )
    },
    bricks=lambda _: Bricks(first_position=_PADDING + 1, distance_buckets=_BUCKETS),
    old_endings=TENSORFLOWS_ENDINGS,
    buffers=BERTS_BUFFERS,
    tokenizer=MPNET_WORDPIECE,
)
