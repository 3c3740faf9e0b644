"""BERT (Devlin et al., 2019), and models that differ from it only in training: MacBERT, MiniLM,
Chinese RoBERTa-wwm-ext."""

from __future__ import annotations

from onelayer.checkpoint.family import Family, ModelClass, Module

_LAYER = "encoder.layer.{i}"
_ATTENTION = f"{_LAYER}.attention"

BERT = Family(
    model_type="bert",
    title="BERT",
    prefix="bert.",
    modules=(
        Module("embeddings.word", ("embeddings.word_embeddings",), "VD"),
        Module("embeddings.position", ("embeddings.position_embeddings",), "PD"),
        Module("embeddings.segment", ("embeddings.token_type_embeddings",), "SD"),
        Module("embeddings.norm", ("embeddings.LayerNorm",), "D", "D"),
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
        Module("pooler", ("pooler.dense",), "DD", "D"),
    ),
    classes={
        "BertModel": ModelClass(bare=True),
        "BertForPreTraining": ModelClass(),
        "BertForMaskedLM": ModelClass(pooled=False),
        "BertForSequenceClassification": ModelClass("SequenceClassification", "classifier"),
        "BertForTokenClassification": ModelClass("TokenClassification", "classifier", pooled=False),
        "BertForQuestionAnswering": ModelClass(
            "QuestionAnswering", "qa_outputs", pooled=False, rows=2
        ),
        "BertForMultipleChoice": ModelClass("MultipleChoice", "classifier", rows=1),
    },
    only={
        "position_embedding_type": ("absolute", "only 'absolute' is read"),
        "is_decoder": (False, "onelayer reads encoders only"),
        "add_cross_attention": (False, "onelayer reads encoders only"),
    },
    # TensorFlow's names for the parts of a LayerNorm, and a buffer that old versions saved.
    old_endings={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
    buffers=frozenset({"embeddings.position_ids"}),
)
