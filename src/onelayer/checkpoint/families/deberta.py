"""DeBERTa-v2 and -v3 (He et al., 2021), mDeBERTa: attention by contents and distances.

The distance of two tokens has a vector, and in most of them a token's own position has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onelayer.checkpoint.families.bert import BERTS_BUFFERS, TENSORFLOWS_ENDINGS
from onelayer.checkpoint.family import Family, ModelClass, Module, flag, one_of, size_or
from onelayer.nn.bricks import Bricks, Convolution, Disentangled, PoolerShape
from onelayer.tokens.tokenizer_files import DEBERTA_UNIGRAM

if TYPE_CHECKING:
    from onelayer.checkpoint.config import EncoderConfig

_GELU = PoolerShape(activation="gelu")
_LAYER = "encoder.layer.{i}"
_ATTENTION = f"{_LAYER}.attention"


def _parts_of_scores(value: object) -> list[str]:
    """Checks ``pos_att_type``: a list, or one string with bars."""
    names = value.lower().split("|") if isinstance(value, str) else value
    names = [str(name).strip() for name in names] if isinstance(names, list) else []
    if not names or not {"c2p", "p2c"}.issuperset(names):
        raise ValueError("a list of c2p, p2c or both")
    return names


def _relative(value: object) -> bool:
    """Checks ``relative_attention``, which transformers takes for false where it is missing."""
    if value is not True:
        raise ValueError("true")
    return True


def _kernel(value: object) -> int:
    """Checks ``conv_kernel_size``, where 0 stands for no convolution."""
    size = size_or(0, 0)(value)
    if size and size % 2 == 0:
        raise ValueError("0 or an odd number")
    return size


def _size_or_none(value: object) -> int:
    """Checks a size that may be -1, for none."""
    return -1 if value in (0, -1) else size_or(-1, 2)(value)


def _bricks(config: EncoderConfig) -> Bricks:
    own = config.own
    farthest = own["max_relative_positions"]
    farthest = config.max_position_embeddings if farthest < 1 else farthest
    buckets = own["position_buckets"]
    kernel = own["conv_kernel_size"]
    return Bricks(
        positions=own["position_biased_input"],
        disentangled=Disentangled(
            span=buckets if buckets > 0 else farthest,
            farthest=farthest if buckets > 0 else None,
            content_to_distance="c2p" in own["pos_att_type"],
            distance_to_content="p2c" in own["pos_att_type"],
            shared=own["share_att_key"],
            normed=own["norm_rel_ebd"] == "layer_norm",
        ),
        convolution=Convolution(kernel=kernel, activation=own["conv_act"]) if kernel else None,
    )


def _convolves(config: EncoderConfig) -> bool:
    return config.bricks.convolution is not None


def _has_weights_for(part: str) -> Callable[[EncoderConfig], bool]:
    """Whether a part of the scores has weights of its own."""
    return lambda config: part in config.own["pos_att_type"] and not config.own["share_att_key"]


DEBERTA_V2 = Family(
    model_type="deberta-v2",
    title="DeBERTa-v2",
    prefix="deberta.",
    modules=(
        Module("embeddings.word", ("embeddings.word_embeddings",), "VD"),
        Module(
            "embeddings.position",
            ("embeddings.position_embeddings",),
            "PD",
            when=lambda config: config.bricks.positions,
        ),
        Module(
            "embeddings.segment",
            ("embeddings.token_type_embeddings",),
            "SD",
            when=lambda config: config.type_vocab_size > 0,
        ),
        Module("embeddings.norm", ("embeddings.LayerNorm",), "D", "D"),
        Module("distances", ("encoder.rel_embeddings",), "BD"),
        Module(
            "distances.norm",
            ("encoder.LayerNorm",),
            "D",
            "D",
            when=lambda config: config.own["norm_rel_ebd"] == "layer_norm",
        ),
        Module(
            "layers.{i}.attention.qkv",
            tuple(f"{_ATTENTION}.self.{part}_proj" for part in ("query", "key", "value")),
            "DD",
            "D",
        ),
        Module(
            "layers.{i}.attention.distance_key",
            (f"{_ATTENTION}.self.pos_key_proj",),
            "DD",
            "D",
            when=_has_weights_for("c2p"),
        ),
        Module(
            "layers.{i}.attention.distance_query",
            (f"{_ATTENTION}.self.pos_query_proj",),
            "DD",
            "D",
            when=_has_weights_for("p2c"),
        ),
        Module("layers.{i}.attention.output", (f"{_ATTENTION}.output.dense",), "DD", "D"),
        Module("layers.{i}.attention.norm", (f"{_ATTENTION}.output.LayerNorm",), "D", "D"),
        Module("layers.{i}.feed_forward.up", (f"{_LAYER}.intermediate.dense",), "FD", "F"),
        Module("layers.{i}.feed_forward.down", (f"{_LAYER}.output.dense",), "DF", "D"),
        Module("layers.{i}.feed_forward.norm", (f"{_LAYER}.output.LayerNorm",), "D", "D"),
        Module("layers.0.convolution", ("encoder.conv.conv",), "DDK", "D", when=_convolves),
        Module("layers.0.convolution.norm", ("encoder.conv.LayerNorm",), "D", "D", when=_convolves),
    ),
    classes={
        "DebertaV2Model": ModelClass(bare=True),
        "DebertaV2ForMaskedLM": ModelClass(),
        "DebertaV2ForSequenceClassification": ModelClass(
            "SequenceClassification", "classifier", pooler="pooler.dense", pooler_shape=_GELU
        ),
        "DebertaV2ForTokenClassification": ModelClass("TokenClassification", "classifier"),
        "DebertaV2ForQuestionAnswering": ModelClass("QuestionAnswering", "qa_outputs", rows=2),
        "DebertaV2ForMultipleChoice": ModelClass(
            "MultipleChoice", "classifier", pooler="pooler.dense", pooler_shape=_GELU, rows=1
        ),
    },
    keys={"classifier_dropout": "cls_dropout"},
    defaults={"type_vocab_size": 0, "layer_norm_eps": 1e-7},
    only={
        "pooler_hidden_act": ("gelu", "only 'gelu' is read"),
        "pooler_dropout": (0, "only 0 is read"),
        "conv_groups": (1, "only 1 is read"),
    },
    own={
        "relative_attention": _relative,
        "pos_att_type": _parts_of_scores,
        "share_att_key": flag(False),
        "position_buckets": _size_or_none,
        "max_relative_positions": _size_or_none,
        "norm_rel_ebd": one_of("none", "layer_norm"),
        "position_biased_input": flag(True),
        "conv_kernel_size": _kernel,
        "conv_act": one_of("tanh", "gelu", "relu"),
    },
    bricks=_bricks,
    old_endings=TENSORFLOWS_ENDINGS,
    buffers=BERTS_BUFFERS,
    tokenizer=DEBERTA_UNIGRAM,
)
