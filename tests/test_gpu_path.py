"""The code path of a GPU, run on a CPU: bf16, variable-length attention, few compilations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.read import read_checkpoint
from onelayer.nn import ops, reference, varlen
from onelayer.nn.model import Model
from onelayer.nn.packed import FILLED_TO, Packed, pack
from onelayer.tasks import Classify
from onelayer.tokens.encodings import EncodingsBuilder
from support.oracle import SHAPES
from support.tiny_bert import MakeBert


@torch.library.custom_op("onelayer_tests::ragged", mutates_args=())
def ragged_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    max_q: int,
    max_k: int,
    reach: int,
) -> Tensor:
    """``varlen_attn`` as documented by PyTorch, one sequence at a time."""
    assert int(cu_q.diff().max()) <= max_q
    assert int(cu_k.diff().max()) <= max_k
    out = torch.empty_like(q)
    for i in range(len(cu_k) - 1):
        of_q, of_k = slice(cu_q[i], cu_q[i + 1]), slice(cu_k[i], cu_k[i + 1])
        heads = (x.float().transpose(0, 1) for x in (q[of_q], k[of_k], v[of_k]))
        mask = reference.within(len(k[of_k]), reach, q.device) if reach >= 0 else None
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=mask)
        out[of_q] = mixed.transpose(0, 1).to(q.dtype)
    return out


@ragged_attention.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    max_q: int,
    max_k: int,
    reach: int,
) -> Tensor:
    return torch.empty_like(q)


def documented(*tensors: Tensor, window_size: tuple[int, int] = (-1, -1)) -> Tensor:
    """``ragged_attention`` with the argument's name in PyTorch."""
    found: Tensor = ragged_attention(*tensors, window_size[0])
    return found


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(varlen.varlen, "varlen_attn", documented)
    monkeypatch.setattr(ops, "TAKES_REACH", True)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def packed(lengths: list[int], reads: int = 1) -> Packed:
    builder = EncodingsBuilder()
    for length in lengths:
        builder.start_row()
        builder.add(list(np.arange(length) % 40), length, reads=list(range(reads)))
    return pack(builder.build(examples_are_rows=True), np.arange(len(lengths)))


def test_half_precision_uses_variable_length_attention() -> None:
    batch = packed([9, 3, 3, 30])
    torch.manual_seed(0)
    qkv = torch.randn(45, 96)
    full = reference.attend(qkv, batch.runs, 2, 0.0)
    half = ops.attend(qkv.bfloat16(), batch, 2, 0.0)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), full, atol=0.03, rtol=0.03)
    near = reference.attend(qkv, batch.runs, 2, 0.0, None, 5)
    half = ops.attend(qkv.bfloat16(), batch, 2, 0.0, None, 5)
    torch.testing.assert_close(half.float(), near, atol=0.03, rtol=0.03)
    q, kv = torch.randn(4, 32), torch.randn(45, 64)
    once = reference.attend_once(q, kv, batch.runs, 2, 0.0)
    half = ops.attend_once(q.bfloat16(), kv.bfloat16(), batch, 2, 0.0)
    torch.testing.assert_close(half.float(), once, atol=0.03, rtol=0.03)


def compiled_model(folder: Path) -> tuple[Model, torch.nn.Module, CompileCounter]:
    model = build_model(
        read_checkpoint(folder), Classify(labels=("a", "b", "c"), max_length=64)
    ).model
    counter = CompileCounter()
    model.train_in("bf16")
    return model, torch.compile(model.train(), dynamic=True, backend=counter), counter


@pytest.fixture(params=["bert", "modernbert"])
def any_model(request: pytest.FixtureRequest, bert: Path, make_bert: MakeBert) -> Path:
    """Of each kind of layer and of reading that there is on a GPU."""
    if request.param == "bert":
        return bert
    changes = SHAPES["modernbert"] | {"classifier_pooling": "mean"}
    return make_bert("ModernBertModel", **changes)


@pytest.mark.slow
def test_compiled_model_gives_the_same_logits(any_model: Path) -> None:
    batch = packed([9, 3, 3, 30])
    model, network, counter = compiled_model(any_model)
    logits = network(batch)
    assert counter.frame_count > 0
    with torch.no_grad():
        torch.testing.assert_close(logits, model.eval()(batch), atol=0.05, rtol=0.05)


@pytest.mark.slow
def test_new_batch_shapes_do_not_recompile(any_model: Path) -> None:
    _, network, counter = compiled_model(any_model)
    rng = np.random.default_rng(0)
    shapes = [[*rng.integers(3, 40, size=rng.integers(5, 30)), 45] for _ in range(12)]
    for lengths in shapes[:3]:
        network(packed(lengths))
    compiled_so_far = counter.frame_count
    for lengths in shapes[3:]:
        network(packed(lengths))
    assert counter.frame_count == compiled_so_far


@pytest.mark.parametrize("reads", [1, 3], ids=["one vector read", "several vectors read"])
def test_filled_batch_gives_the_same_logits_and_gradients(bert: Path, reads: int) -> None:
    task = Classify(labels=("a", "b", "c"), max_length=64)
    model = build_model(read_checkpoint(bert), task).model.train()
    batch = packed([9, 3, 3, 30], reads)
    filled = batch.filled()
    assert len(filled.ids_T) % FILLED_TO == 0
    found = []
    for each in (batch, filled):
        logits = model(each)
        (logits * torch.arange(1.0, 4.0)).sum().backward()
        grads = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
        found.append((logits, grads))
        model.zero_grad()
    torch.testing.assert_close(found[1], found[0])


def test_filled_batch_always_has_one_sequence_more() -> None:
    batch = packed([FILLED_TO])
    assert len(batch.filled().cu_seqlens) == len(batch.cu_seqlens) + 1
    assert len(batch.filled().ids_T) == 2 * FILLED_TO
