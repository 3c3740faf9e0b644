"""ModernBERT (Warner et al., 2024): BERT with rotary positions and gated feed-forwards. Most layers
attend only to the tokens nearby, norms come first, and hardly anything has a bias.

All classes read through a dense layer with a norm, which the pretrained model has too. Those that
sort and choose texts read the first vector or, as ``classifier_pooling`` says, the mean of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from onelayer.checkpoint.families.bert import ENCODERS_ONLY
from onelayer.checkpoint.family import Family, ModelClass, Module, flag, one_of, rate_or, size_or
from onelayer.nn.bricks import Bricks, PoolerShape, Rotation
from onelayer.tokens.tokenizer_files import TokenizerKind

if TYPE_CHECKING:
    from onelayer.checkpoint.config import EncoderConfig

_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_BASES = {_GLOBAL: ("global_rope_theta", 160_000.0), _LOCAL: ("local_rope_theta", 10_000.0)}
"""By kind of layer, the key of old files with the base of its rotations, and the usual one."""
MOST_LAYERS, MOST_POSITIONS = 1000, 131_072
"""What ``config.json`` may count: layers are listed, and turns computed, before any weights can
tell that it is wrong. The turns of all positions take at most 32 MB for a head of width 64."""


def _renewed(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Old files have a number for the layers, and one for each rotation, where today's have lists
    and objects."""
    renewed = dict(data)
    n_layers, every = data.get("num_hidden_layers"), data.get("global_attn_every_n_layers", 3)
    if data.get("layer_types") is None and _is_size(n_layers) and _is_size(every):
        listed = range(min(n_layers, MOST_LAYERS + 1))
        renewed["layer_types"] = [_LOCAL if i % every else _GLOBAL for i in listed]
    given = data.get("rope_parameters")
    given = {} if given is None else given
    if isinstance(given, Mapping):
        # Old files may have null for local layers, which then turn as the global ones do.
        shared = data.get("global_rope_theta", _BASES[_GLOBAL][1])
        bases = {kind: data.get(*names) for kind, names in _BASES.items()}
        renewed["rope_parameters"] = {
            kind: _rotation(given.get(kind), shared if base is None else base)
            for kind, base in bases.items()
        }
    return renewed


def _rotation(given: object, base: object) -> object:
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        return given
    return {"rope_type": "default", "rope_theta": base, **given}


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _layer_types(value: object) -> object:
    if not isinstance(value, list) or not all(kind in (_GLOBAL, _LOCAL) for kind in value):
        raise ValueError(f"a list of {_GLOBAL!r} and {_LOCAL!r}, one a layer")
    if len(value) > MOST_LAYERS:
        raise ValueError(f"a list of at most {MOST_LAYERS} layers")
    return value


def _rope_parameters(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError(f"an object with {_GLOBAL!r} and {_LOCAL!r}")
    for kind in (_GLOBAL, _LOCAL):
        rotation = value.get(kind)
        if not isinstance(rotation, Mapping) or rotation.get("rope_type") != "default":
            raise ValueError(f"an object whose {kind!r} has the rope_type 'default'")
        base = rotation.get("rope_theta")
        if isinstance(base, bool) or not isinstance(base, int | float) or not 1 < base < 1e12:
            raise ValueError(f"an object whose {kind!r} has a rope_theta above 1")
    return value


def _bricks(config: EncoderConfig) -> Bricks:
    own = config.own
    if len(own["layer_types"]) != config.num_hidden_layers:
        listed = len(own["layer_types"])
        raise ValueError(f"layer_types lists {listed} of {config.num_hidden_layers} layers")
    if config.max_position_embeddings > MOST_POSITIONS:
        raise ValueError(f"max_position_embeddings must be at most {MOST_POSITIONS}")
    if config.hidden_size // config.num_attention_heads % 2:
        raise ValueError("heads have an odd width, and rotations need pairs of coordinates")
    reach = {_GLOBAL: None, _LOCAL: own["local_attention"] // 2}
    bases = {kind: float(one["rope_theta"]) for kind, one in own["rope_parameters"].items()}
    return Bricks(
        positions=False,
        rotations=tuple(Rotation(bases[kind], reach[kind]) for kind in own["layer_types"]),
        pre_norm=True,
        gated=True,
        attention_bias=own["attention_bias"],
        feed_forward_bias=own["mlp_bias"],
        norm_bias=own["norm_bias"],
        head_bias=own["classifier_bias"],
        attention_dropout=config.attention_probs_dropout_prob,
        feed_forward_dropout=own["mlp_dropout"],
        mean=own["classifier_pooling"] == "mean",
    )


def _norm_bias(config: EncoderConfig) -> bool:
    return config.bricks.norm_bias


def _attention_bias(config: EncoderConfig) -> bool:
    return config.bricks.attention_bias


def _feed_forward_bias(config: EncoderConfig) -> bool:
    return config.bricks.feed_forward_bias


def _class(form: str, rows: int | None = None) -> ModelClass:
    """All classes have the same head, and differ in what it reads."""
    return ModelClass(
        form,
        "classifier",
        pooler="head.dense",
        pooler_norm="head.norm",
        pooler_shape=PoolerShape(activation="gelu", normed=True),
        rows=rows,
    )


_LAYER = "layers.{i}"

MODERNBERT = Family(
    model_type="modernbert",
    title="ModernBERT",
    prefix="model.",
    modules=(
        Module("embeddings.word", ("embeddings.tok_embeddings",), "VD"),
        Module("embeddings.norm", ("embeddings.norm",), "D", "D", biased=_norm_bias),
        Module(
            f"{_LAYER}.attention.qkv", (f"{_LAYER}.attn.Wqkv",), "QD", "Q", biased=_attention_bias
        ),
        Module(
            f"{_LAYER}.attention.output", (f"{_LAYER}.attn.Wo",), "DD", "D", biased=_attention_bias
        ),
        Module(
            f"{_LAYER}.attention.norm",
            (f"{_LAYER}.attn_norm",),
            "D",
            "D",
            biased=_norm_bias,
            first=1,
        ),
        Module(
            f"{_LAYER}.feed_forward.up", (f"{_LAYER}.mlp.Wi",), "GD", "G", biased=_feed_forward_bias
        ),
        Module(
            f"{_LAYER}.feed_forward.down",
            (f"{_LAYER}.mlp.Wo",),
            "DF",
            "D",
            biased=_feed_forward_bias,
        ),
        Module(f"{_LAYER}.feed_forward.norm", (f"{_LAYER}.mlp_norm",), "D", "D", biased=_norm_bias),
        Module("norm", ("final_norm",), "D", "D", biased=_norm_bias),
    ),
    classes={
        "ModernBertModel": ModelClass(bare=True),
        "ModernBertForMaskedLM": ModelClass(),
        "ModernBertForSequenceClassification": _class("SequenceClassification"),
        "ModernBertForTokenClassification": _class("TokenClassification"),
        "ModernBertForQuestionAnswering": _class("QuestionAnswering", rows=2),
        "ModernBertForMultipleChoice": _class("MultipleChoice", rows=1),
    },
    keys={
        "hidden_act": "hidden_activation",
        "hidden_dropout_prob": "embedding_dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "layer_norm_eps": "norm_eps",
    },
    fixed={"type_vocab_size": 0},
    defaults={
        "max_position_embeddings": 8192,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": 0.0,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 50283,
    },
    only={
        # Positions are rotations, whatever position_embedding_type says: mmBERT has "sans_pos".
        **{key: rule for key, rule in ENCODERS_ONLY.items() if key != "position_embedding_type"},
        "classifier_activation": ("gelu", "only 'gelu' is read"),
        "rope_scaling": (None, "onelayer doesn't scale rotations"),
    },
    own={
        "layer_types": _layer_types,
        "rope_parameters": _rope_parameters,
        "local_attention": size_or(128),
        "attention_bias": flag(False),
        "mlp_bias": flag(False),
        "norm_bias": flag(False),
        "classifier_bias": flag(False),
        "mlp_dropout": rate_or(0.0),
        "classifier_pooling": one_of("cls", "mean"),
    },
    by_layer=frozenset({"layer_types"}),
    renewed=_renewed,
    bricks=_bricks,
    tokenizer=TokenizerKind("BPE", ()),  # it came with no files but tokenizer.json
)
