"""ALBERT (Lan et al., 2020): narrow embeddings, and layers that share their weights."""

from __future__ import annotations

from onelayer.checkpoint.families.bert import BERTS_BUFFERS, ENCODERS_ONLY, TENSORFLOWS_ENDINGS
from onelayer.checkpoint.family import Family, ModelClass, Module, size_or
from onelayer.nn.bricks import Bricks
from onelayer.tokens.tokenizer_files import ALBERT_UNIGRAM

_LAYER = "encoder.albert_layer_groups.{i}.albert_layers.0"
_ATTENTION = f"{_LAYER}.attention"
_POOLER = "albert.pooler"

ALBERT = Family(
    model_type="albert",
    title="ALBERT",
    prefix="albert.",
    modules=(
        Module("embeddings.word", ("embeddings.word_embeddings",), "VE"),
        Module("embeddings.position", ("embeddings.position_embeddings",), "PE"),
        Module("embeddings.segment", ("embeddings.token_type_embeddings",), "SE"),
        Module("embeddings.norm", ("embeddings.LayerNorm",), "E", "E"),
        Module("embeddings.widen", ("encoder.embedding_hidden_mapping_in",), "DE", "D"),
        Module(
            "layers.{i}.attention.qkv",
            tuple(f"{_ATTENTION}.{part}" for part in ("query", "key", "value")),
            "DD",
            "D",
        ),
        Module("layers.{i}.attention.output", (f"{_ATTENTION}.dense",), "DD", "D"),
        Module("layers.{i}.attention.norm", (f"{_ATTENTION}.LayerNorm",), "D", "D"),
        Module("layers.{i}.feed_forward.up", (f"{_LAYER}.ffn",), "FD", "F"),
        Module("layers.{i}.feed_forward.down", (f"{_LAYER}.ffn_output",), "DF", "D"),
        Module("layers.{i}.feed_forward.norm", (f"{_LAYER}.full_layer_layer_norm",), "D", "D"),
    ),
    classes={
        "AlbertModel": ModelClass(pooler="pooler", bare=True),
        "AlbertForPreTraining": ModelClass(pooler=_POOLER),
        "AlbertForMaskedLM": ModelClass(),
        "AlbertForSequenceClassification": ModelClass(
            "SequenceClassification", "classifier", pooler=_POOLER
        ),
        "AlbertForTokenClassification": ModelClass("TokenClassification", "classifier"),
        "AlbertForQuestionAnswering": ModelClass("QuestionAnswering", "qa_outputs", rows=2),
        "AlbertForMultipleChoice": ModelClass(
            "MultipleChoice", "classifier", pooler=_POOLER, rows=1
        ),
    },
    keys={"classifier_dropout": "classifier_dropout_prob"},
    defaults={
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": 0.1,
    },
    only=ENCODERS_ONLY | {"inner_group_num": (1, "only groups of one layer are read")},
    own={"embedding_size": size_or(128), "num_hidden_groups": size_or(1)},
    bricks=lambda config: Bricks(
        embedding_size=config.own["embedding_size"], own_layers=config.own["num_hidden_groups"]
    ),
    old_endings=TENSORFLOWS_ENDINGS,
    buffers=BERTS_BUFFERS,
    tokenizer=ALBERT_UNIGRAM,
)
