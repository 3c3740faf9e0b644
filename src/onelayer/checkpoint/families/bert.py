"""BERT (Devlin et al., 2019), and models that differ from it only in training: MacBERT, MiniLM,
Chinese RoBERTa-wwm-ext."""

from __future__ import annotations

from onelayer.checkpoint.family import Family, ModelClass, Module

_LAYER = "encoder.layer.{i}"
_ATTENTION = f"{_LAYER}.attention"
_POOLER = "bert.pooler.dense"

BERTS_MODULES = (
    Module("embeddings.word", ("embeddings.word_embeddings",), "VE"),
    Module("embeddings.position", ("embeddings.position_embeddings",), "PE"),
    Module("embeddings.segment", ("embeddings.token_type_embeddings",), "SE"),
    Module("embeddings.norm", ("embeddings.LayerNorm",), "E", "E"),
    Module(
        "layers.{i}.attention.qkv",
        tuple(f"{_ATTENTION}.self.{part}" for part in ("query", "key", "value")),
        "DD",
        "D",
    ),
    Module("layers.{i}.attention.output", (f"{_ATTENTION}.output.dense",), "DD", "D"),
    Module("layers.{i}.attention.norm", (f"{_ATTENTION}.output.LayerNorm",), "D", "D"),
    Module("layers.{i}.feed_forward.up", (f"{_LAYER}.intermediate.dense",), "FD", "F"),
    Module("layers.{i}.feed_forward.down", (f"{_LAYER}.output.dense",), "DF", "D"),
    Module("layers.{i}.feed_forward.norm", (f"{_LAYER}.output.LayerNorm",), "D", "D"),
)
"""The modules of BERT, and of all families that renamed no part of it."""

ENCODERS_ONLY = {
    "position_embedding_type": ("absolute", "only 'absolute' is read"),
    "is_decoder": (False, "onelayer reads encoders only"),
    "add_cross_attention": (False, "onelayer reads encoders only"),
}
"""Keys that would make it another model, for all of these families."""

TENSORFLOWS_ENDINGS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""TensorFlow's names for the parts of a LayerNorm, in old files."""

BERTS_BUFFERS = frozenset({"embeddings.position_ids"})
"""What old versions saved, too."""

BERT = Family(
    model_type="bert",
    title="BERT",
    prefix="bert.",
    modules=BERTS_MODULES,
    classes={
        "BertModel": ModelClass(pooler="pooler.dense", bare=True),
        "BertForPreTraining": ModelClass(pooler=_POOLER),
        "BertForMaskedLM": ModelClass(),
        "BertForSequenceClassification": ModelClass(
            "SequenceClassification", "classifier", pooler=_POOLER
        ),
        "BertForTokenClassification": ModelClass("TokenClassification", "classifier"),
        "BertForQuestionAnswering": ModelClass("QuestionAnswering", "qa_outputs", rows=2),
        "BertForMultipleChoice": ModelClass("MultipleChoice", "classifier", pooler=_POOLER, rows=1),
    },
    only=ENCODERS_ONLY,
    old_endings=TENSORFLOWS_ENDINGS,
    buffers=BERTS_BUFFERS,
)
