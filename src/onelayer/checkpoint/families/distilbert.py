"""DistilBERT (Sanh et al., 2019): BERT without segments and without a pooler."""

from __future__ import annotations

from onelayer.checkpoint.families.bert import BERTS_BUFFERS, TENSORFLOWS_ENDINGS
from onelayer.checkpoint.family import Family, ModelClass, Module
from onelayer.nn.bricks import PoolerShape
from onelayer.tokens.tokenizer_files import DISTILBERT_WORDPIECE

_LAYER = "transformer.layer.{i}"
_POOLER, _RELU = "pre_classifier", PoolerShape(activation="relu")

DISTILBERT = Family(
    model_type="distilbert",
    title="DistilBERT",
    prefix="distilbert.",
    modules=(
        Module("embeddings.word", ("embeddings.word_embeddings",), "VD"),
        Module("embeddings.position", ("embeddings.position_embeddings",), "PD"),
        Module("embeddings.norm", ("embeddings.LayerNorm",), "D", "D"),
        Module(
            "layers.{i}.attention.qkv",
            tuple(f"{_LAYER}.attention.{part}_lin" for part in "qkv"),
            "DD",
            "D",
        ),
        Module("layers.{i}.attention.output", (f"{_LAYER}.attention.out_lin",), "DD", "D"),
        Module("layers.{i}.attention.norm", (f"{_LAYER}.sa_layer_norm",), "D", "D"),
        Module("layers.{i}.feed_forward.up", (f"{_LAYER}.ffn.lin1",), "FD", "F"),
        Module("layers.{i}.feed_forward.down", (f"{_LAYER}.ffn.lin2",), "DF", "D"),
        Module("layers.{i}.feed_forward.norm", (f"{_LAYER}.output_layer_norm",), "D", "D"),
    ),
    classes={
        "DistilBertModel": ModelClass(bare=True),
        "DistilBertForMaskedLM": ModelClass(),
        "DistilBertForSequenceClassification": ModelClass(
            "SequenceClassification", "classifier", pooler=_POOLER, pooler_shape=_RELU
        ),
        "DistilBertForTokenClassification": ModelClass("TokenClassification", "classifier"),
        "DistilBertForQuestionAnswering": ModelClass("QuestionAnswering", "qa_outputs", rows=2),
        "DistilBertForMultipleChoice": ModelClass(
            "MultipleChoice", "classifier", pooler=_POOLER, pooler_shape=_RELU, rows=1
        ),
    },
    keys={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "classifier_dropout": "seq_classif_dropout",
    },
    fixed={"type_vocab_size": 0, "layer_norm_eps": 1e-12},
    defaults={"classifier_dropout": 0.2},
    old_endings=TENSORFLOWS_ENDINGS,
    buffers=BERTS_BUFFERS,
    tokenizer=DISTILBERT_WORDPIECE,
)
