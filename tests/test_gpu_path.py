"""The code path of a GPU, run on a CPU: bf16, variable-length attention, few compilations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.family import BERTS_POOLER
from onelayer.checkpoint.read import read_checkpoint
from onelayer.nn import ops, reference, varlen
from onelayer.nn.batch_shapes import LEAST_TOKENS, bucketed, shape_of
from onelayer.nn.distances import DistanceBias
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed, pack
from onelayer.tasks import Classify
from onelayer.tokens.encodings import EncodingsBuilder
from onelayer.training import gpu_steps
from onelayer.training.gpu_steps import GpuSteps, Work, compiled
from onelayer.training.optimizer import TorchAdamW
from onelayer.training.weight_updates import update_weights
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


@pytest.fixture(autouse=True)
def _without_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's layers are compiled for matrices by rows."""
    monkeypatch.setattr("onelayer.nn.encoder.has_bf16_products", lambda: False)


def documented(*tensors: Tensor, window_size: tuple[int, int] = (-1, -1)) -> Tensor:
    """``ragged_attention`` with the argument's name in PyTorch."""
    found: Tensor = ragged_attention(*tensors, window_size[0])
    return found


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(varlen.varlen, "varlen_attn", documented)
    monkeypatch.setattr(varlen, "TAKES_REACH", True)
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


def for_head(name: str, seed: int = 0) -> Packed:
    """A batch with targets that a head can learn from."""
    rng = np.random.default_rng(seed)
    builder = EncodingsBuilder()
    per_read = {"labels": 3, "span": 2, "three-way": 3}.get(name)
    for length in rng.integers(3, 40, size=9):
        builder.start_row()
        for _ in range(int(rng.integers(1, 4)) if name == "option" else 1):
            reads = range(length // 2) if name in ("tags", "span", "three-way") else (0,)
            builder.add(rng.integers(0, 40, size=length).tolist(), length // 2, reads=list(reads))
    encodings = builder.build(examples_are_rows=True)
    n = len(encodings.reads)
    targets: NDArray[np.generic] = rng.integers(-1, 3, size=n)
    if name in ("label", "tags"):
        targets[targets < 0] = IGNORED
    else:
        targets = rng.random(n if per_read is None else (n, per_read)).round().astype(np.float32)
    return pack(replace(encodings, targets=targets), np.arange(9))


def model_for(folder: Path, name: str) -> Model:
    config, outputs = read_checkpoint(folder).config, {"value": 1, "option": 1, "span": 2}
    torch.manual_seed(0)
    return Model(
        config,
        HEADS[name],
        n_outputs=outputs.get(name, 3),
        head_dropout=0.0,
        pooler_shape=BERTS_POOLER if HEADS[name].pooled else None,
    ).train()


@pytest.mark.parametrize("name", HEADS)
def test_bucketed_batch_has_the_same_loss_and_gradients(bert: Path, name: str) -> None:
    model, head, batch = model_for(bert, name), HEADS[name], for_head(name)
    full = bucketed(batch, head.blank[1])
    assert len(full.ids_T) % LEAST_TOKENS == 0
    assert int(full.cu_seqlens.diff().min()) > 0
    found = []
    for each in (batch, full):
        loss = head.total_loss(model(each), each, None)
        loss.backward()
        grads = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
        found.append((loss.detach(), grads))
        model.zero_grad()
    assert found[0][0] > 0
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)


def test_bucketed_batches_have_few_shapes() -> None:
    rng = np.random.default_rng(0)
    batches = [packed(rng.integers(20, 150, size=32).tolist()) for _ in range(60)]
    full = [bucketed(batch, 0.0) for batch in batches]
    own, computed = (sum(len(each.ids_T) for each in some) for some in (batches, full))
    assert len({shape_of(each) for each in full}) < 12 < len({shape_of(each) for each in batches})
    assert computed < 1.06 * own


class PlainGraph:
    """A CUDA graph that does its work when it is replayed."""

    def __init__(self, work: Work) -> None:
        self.replay = work


class PlainRecorder:
    def __init__(self, device: torch.device) -> None:
        self.recorded = 0

    def stream(self) -> AbstractContextManager[None]:
        return nullcontext()

    def enter_thread(self) -> None:
        pass

    def record(self, work: Work) -> PlainGraph:
        self.recorded += 1
        return PlainGraph(work)


@pytest.mark.parametrize("name", ["label", "span"])
def test_replayed_steps_train_as_plain_ones(
    bert: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_steps, "Recorder", PlainRecorder)
    head = HEADS[name]
    batches = [[for_head(name, seed=3 * i), for_head(name, seed=1)] for i in range(8)]

    def losses(make: Callable[[Model, TorchAdamW], Callable[[list[Packed]], float]]) -> list[float]:
        model = model_for(bert, name)
        parameters = list(model.parameters())
        optimizer = TorchAdamW(parameters, [], lr=1e-3, weight_decay=0.01)
        update = make(model, optimizer)
        return [update(parts) for parts in batches]

    def plain(model: Model, optimizer: TorchAdamW) -> Callable[[list[Packed]], float]:
        return lambda parts: update_weights(model, head, parts, optimizer, 1.0, None)

    replayed: list[GpuSteps] = []

    def recorded(model: Model, optimizer: TorchAdamW) -> Callable[[list[Packed]], float]:
        steps = GpuSteps(model, head, optimizer, 1.0, None)
        replayed.append(steps)
        return lambda parts: steps.update_weights(steps.prepare(parts))

    np.testing.assert_allclose(losses(recorded), losses(plain), rtol=1e-4)
    shapes = {shape_of(bucketed(part, head.blank[1])) for parts in batches for part in parts}
    recorder = replayed[0]._recorder
    assert isinstance(recorder, PlainRecorder)
    assert 2 <= recorder.recorded <= len(shapes) + 1


def test_layers_share_one_compilation(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = CompileCounter()
    whole = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda work, **options: whole(work, **options, backend=counter)
    )
    config = replace(read_checkpoint(bert).config, num_hidden_layers=12)
    head = HEADS["tags"]
    model = Model(config, head, pooler_shape=None, n_outputs=3, head_dropout=0.0).train()
    model.train_in("bf16")
    network = compiled(model)
    for seed in range(4):
        network(for_head("tags", seed))
    assert list(map(id, network.parameters())) == list(map(id, model.parameters()))
    assert counter.frame_count <= 4


def test_batches_prepared_ahead_are_those_of_their_steps(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_steps, "Recorder", PlainRecorder)
    model = model_for(bert, "label")
    optimizer = TorchAdamW(list(model.parameters()), [], lr=1e-3, weight_decay=0.0)
    steps = GpuSteps(model, HEADS["label"], optimizer, 1.0, None)
    for step in (0, 1, 3):  # a resumed run begins anywhere
        batch = steps.prepared(lambda step: [for_head("label", step)], step)
        assert batch.tokens == len(for_head("label", step).ids_T)


def test_attention_by_runs_is_never_recorded(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_steps, "Recorder", PlainRecorder)
    model = model_for(bert, "label")
    model.encoder.distances = DistanceBias(8, 2)
    nn.init.zeros_(model.encoder.distances.weight)
    optimizer = TorchAdamW(list(model.parameters()), [], lr=1e-3, weight_decay=0.0)
    steps = GpuSteps(model, HEADS["label"], optimizer, 1.0, None)
    for _ in range(4):
        steps.update_weights(steps.prepare([for_head("label")]))
    recorder = steps._recorder
    assert isinstance(recorder, PlainRecorder)
    assert recorder.recorded == 1, "the optimizer's step alone"
    assert compiled(model) is model
