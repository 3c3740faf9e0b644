"""DeBERTa's attention by contents and distances, in all the forms that its configuration has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.build import state_of
from onelayer.checkpoint.bundle_weights import read_slices
from onelayer.checkpoint.config import EncoderConfig, read_config
from onelayer.checkpoint.families.deberta import DEBERTA_V2
from onelayer.checkpoint.onnx_file import check_graph
from onelayer.checkpoint.weights import to_theirs
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.products import in_float
from onelayer.nn import compiled
from onelayer.nn.bricks import Disentangled
from onelayer.nn.buckets import rows_of_distances
from onelayer.nn.disentangled_reference import disentangled_attention, disentangled_attention_once
from onelayer.nn.packed import pack
from onelayer.nn.rectangle import Rectangle
from support import graphs
from support.encodings import random_encodings
from support.oracle import (
    LENGTHS,
    SHAPES,
    close,
    encodings_for,
    equals_transformers,
    pair_of,
)
from support.tiny_bert import MakeBert

SIZES = ((19, 24), (17, 8), (17, 8))
"""Of queries, keys and values of 19 tokens, and of keys and queries of 17 distances."""


@pytest.fixture(params=["compiled", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the compiled kernels."""
    if request.param == "plain":
        monkeypatch.setattr(compiled, "kernels", lambda: None)


VARIANTS: dict[str, dict[str, object]] = {
    "weights of its own": {"share_att_key": False},
    "content to distance": {"pos_att_type": "c2p"},
    "distance to content": {"pos_att_type": "p2c", "share_att_key": False},
    "no buckets": {"position_buckets": -1, "max_relative_positions": 8, "norm_rel_ebd": "none"},
    "positions and segments": {"position_biased_input": True, "type_vocab_size": 2},
    "convolution": {"conv_kernel_size": 3, "conv_act": "tanh"},
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("head", ["label", "tags", "option"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_equals_transformers(variant: str, head: str, make_bert: MakeBert) -> None:
    pair = pair_of(DEBERTA_V2, head, make_bert, **VARIANTS[variant])
    has_segments = "type_vocab_size" in VARIANTS[variant]
    encodings = random_encodings(head, LENGTHS) if has_segments else encodings_for(DEBERTA_V2, head)
    equals_transformers(pair, encodings)
    there = load_file(Path(pair.theirs.name_or_path) / "model.safetensors")
    again = to_theirs(state_of(pair.ours), DEBERTA_V2, type(pair.theirs).__name__)
    assert again.keys() == there.keys()


def test_longest_sequence_may_be_in_any_run() -> None:
    """Where a batch is filled for a GPU, the last sequence isn't the longest."""
    qkv_T3D, keys_XD, queries_XD = (torch.randn(n, width) for n, width in SIZES)
    ascending, descending = (
        disentangled_attention(x_T3D, keys_XD, queries_XD, runs, 2, 0.0)
        for x_T3D, runs in (
            (qkv_T3D, ((2, 5), (1, 9))),
            (torch.cat([qkv_T3D[10:], qkv_T3D[:10]]), ((1, 9), (2, 5))),
        )
    )
    close(torch.cat([descending[9:], descending[:9]]), ascending)


def test_rectangle_gives_what_runs_give() -> None:
    """A GPU computes all sequences at once, with padding."""
    batch = pack(random_encodings("label", [9, 5, 5]), np.arange(3))
    qkv_T3D, keys_XD, queries_XD = (torch.randn(n, width) for n, width in SIZES)
    room, others = Rectangle.of(batch), (keys_XD, queries_XD)
    expected = disentangled_attention(qkv_T3D, *others, batch.runs, 2, 0.0)
    found = disentangled_attention(room.filled(qkv_T3D), *others, room.runs, 2, 0.0, room.absent_SL)
    close(found[room.places_T], expected)
    places_S = torch.tensor([0, 4, 2])
    firsts = batch.cu_seqlens[:-1].long() + places_S
    q_SD, kv_T2D = qkv_T3D[firsts, :8], qkv_T3D[:, 8:]
    close(
        disentangled_attention_once(q_SD, kv_T2D, *others, batch.runs, places_S, 2, 0.0),
        expected[firsts],
    )
    found = disentangled_attention_once(
        q_SD, room.filled(kv_T2D), *others, room.runs, places_S, 2, 0.0, room.absent_SL
    )
    close(found, expected[firsts])


@pytest.mark.parametrize("head", ["label", "tags"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_graph_of_a_variant_gives_torchs_logits(
    variant: str, head: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    pair = pair_of(DEBERTA_V2, head, make_bert, **VARIANTS[variant])
    config, data = read_config(Path(pair.theirs.name_or_path))
    encodings = encodings_for(DEBERTA_V2, head)
    architecture, state = data["architectures"][0], graphs.state_of(pair.ours)
    graph = graphs.write_graph(tmp_path, state, config, architecture, in_float)
    check_graph(graph, graphs.WEIGHTS, read_slices(tmp_path / graphs.WEIGHTS))
    found = OnnxEngine(graph, threads=1).logits(encodings)
    np.testing.assert_allclose(found, TorchEngine(pair.ours).logits(encodings), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relative_attention": None}, "relative_attention is None, and must be true"),
        ({"pos_att_type": ["c2c"]}, "pos_att_type is .*, and must be a list of c2p, p2c or both"),
        ({"conv_kernel_size": 4}, "conv_kernel_size is 4, and must be 0 or an odd number"),
        ({"position_buckets": "many"}, "position_buckets is 'many', and must be a whole number"),
        ({"pooler_dropout": 0.1}, "pooler_dropout is 0.1, and only 0 is read"),
        (
            {"model_type": "deberta"},
            "model_type is 'deberta', and onelayer fine-tunes .*deberta-v2",
        ),
    ],
)
def test_other_kinds_are_refused(
    changes: dict[str, object], message: str, make_bert: MakeBert
) -> None:
    folder = make_bert("DebertaV2Model", **SHAPES["deberta-v2"])
    config = json.loads((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match=message):
        EncoderConfig.from_json(config | changes, folder)


@pytest.mark.parametrize(("span", "farthest"), [(256, 512), (12, 64), (8, 3)])
def test_rows_of_distances_equal_transformers(span: int, farthest: int) -> None:
    kind = Disentangled(
        span=span,
        farthest=farthest,
        content_to_distance=True,
        distance_to_content=True,
        shared=True,
        normed=True,
    )
    buckets = transformers.models.deberta_v2.modeling_deberta_v2.make_log_bucket_position
    theirs = buckets(torch.arange(-599, 600), span, farthest).long() + span
    theirs = theirs.clamp(0, 2 * span - 1)
    np.testing.assert_array_equal(rows_of_distances(kind, 600), theirs)
