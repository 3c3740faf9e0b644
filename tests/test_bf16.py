"""The operations in bf16 (``nn/bf16.py``) equal those of PyTorch on the same rounded numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from onelayer.base.compiled_code import compiler, machine_name
from onelayer.base.machine import instructions
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import BERTS_POOLER
from onelayer.nn import bf16, reference
from onelayer.nn.bf16 import rows_of, to_blocks, to_rows
from onelayer.nn.heads import HEADS
from onelayer.nn.kernel_builds import BUILDS, kernel_code
from onelayer.nn.kernels import declare, kernels
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed, pack
from onelayer.recipe import Precision
from onelayer.tokens.encodings import EncodingsBuilder

pytestmark = pytest.mark.skipif(kernels() is None, reason="no compiled kernels")

ULP = 2.0**-8
"""The step from a bf16 number to the next, as a share of it, at most."""


@pytest.fixture(
    params=[
        "own",
        pytest.param("bf16", marks=pytest.mark.slow),
        pytest.param("v3", marks=pytest.mark.slow),
    ]
)
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for this machine, and those for others that it can run: they multiply tiles, or
    rows of pairs, or floats."""
    if request.param == "own":
        return
    flags, sets = BUILDS.get(machine_name(), {}).get(request.param, ("", {"none"}))
    if not sets <= instructions():
        pytest.skip("this processor lacks its instructions")
    other = declare(kernel_code(flags).load(compiler() or "cc"))
    monkeypatch.setattr("onelayer.nn.bf16.kernels", lambda: other)


def rounded(*shape: int, scale: float = 1.0) -> Tensor:
    """Random numbers that bf16 has."""
    return (scale * torch.randn(shape)).bfloat16().float()


def both_ways(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """The result and the gradients of all inputs, for a direction of bf16 numbers."""
    copies = [x.clone().requires_grad_() for x in inputs]
    out = function(*copies)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    out.backward(direction.bfloat16().float())
    return (out.detach(), *(x.grad for x in copies if x.grad is not None))


def by_blocks(function: Callable[..., Tensor], n_matrices: int = 1) -> Callable[..., Tensor]:
    """A function of matrices in blocks as one of matrices by rows; weights stay as they are."""

    def by_rows(*inputs: Tensor) -> Tensor:
        matrices = [to_blocks(x) for x in inputs[:n_matrices]]
        return to_rows(function(*matrices, *inputs[n_matrices:]))[: len(inputs[0])]

    return by_rows


def close(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], roundings: int) -> None:
    """Equal, but for this number of roundings to bf16, of numbers as large as the largest."""
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, atol=roundings * ULP * float(y.abs().max()), rtol=0)


def packed(lengths: list[int]) -> Packed:
    builder = EncodingsBuilder()
    for length in lengths:
        builder.start_row()
        builder.add([5 + i % 20 for i in range(length)], length, (0,))
    return pack(builder.build(examples_are_rows=True), np.arange(len(lengths)))


def test_blocks_hold_the_rows() -> None:
    x = rounded(41, 96)
    x_B = to_blocks(x)
    assert x_B.shape == (2, 3, 32, 32)
    assert torch.equal(x_B[1, 2, 3].float(), x[35, 64:])
    assert torch.equal(to_rows(x_B)[:41], x)
    assert not to_rows(x_B)[41:].any()
    assert torch.equal(rows_of(x_B, torch.tensor([40, 2])), x[[40, 2]])


@pytest.mark.parametrize("rows", [1, 31, 32, 300, 1100])
@pytest.mark.usefixtures("build")
def test_a_linear_layer(rows: int) -> None:
    torch.manual_seed(rows)
    tensors = rounded(rows, 64), rounded(160, 64), rounded(160)
    ours = both_ways(by_blocks(bf16.BlockLinear.apply), *tensors)
    close(ours, both_ways(F.linear, *tensors), 1)
    # Gradients of weights are sums in fp32 of products without error.
    for grad, exact in zip(ours[2:], both_ways(F.linear, *tensors)[2:], strict=True):
        torch.testing.assert_close(grad, exact, atol=2e-4, rtol=1e-4)


@pytest.mark.usefixtures("build")
def test_a_linear_layer_with_many_inputs() -> None:
    torch.manual_seed(0)
    tensors = rounded(40, 1600), rounded(32, 1600), rounded(32)
    close(both_ways(by_blocks(bf16.BlockLinear.apply), *tensors), both_ways(F.linear, *tensors), 1)


@pytest.mark.usefixtures("build")
def test_a_linear_layer_without_bias_or_with_frozen_weights() -> None:
    x, weight = rounded(40, 64), rounded(96, 64)
    close(
        both_ways(by_blocks(lambda x, w: bf16.BlockLinear.apply(x, w, None)), x, weight),
        both_ways(F.linear, x, weight),
        1,
    )
    leaf = to_blocks(x).requires_grad_()
    bf16.BlockLinear.apply(leaf, weight, None).sum().backward()
    assert leaf.grad is not None


@pytest.mark.parametrize("rows", [3, 70])
@pytest.mark.usefixtures("build")
def test_the_feed_forward_half(rows: int) -> None:
    torch.manual_seed(rows)
    tensors = (
        rounded(rows, 64),
        rounded(256, 64, scale=0.2),
        rounded(256),
        rounded(64, 256, scale=0.1),
        rounded(64),
    )

    def plain(x: Tensor, up: Tensor, b: Tensor, down: Tensor, c: Tensor) -> Tensor:
        return F.linear(F.gelu(F.linear(x, up, b)), down, c)

    close(
        both_ways(by_blocks(bf16.BlockFeedForward.apply), *tensors),
        both_ways(plain, *tensors),
        3,
    )


@pytest.mark.usefixtures("build")
def test_gelu_is_as_exact_as_bf16() -> None:
    x = torch.linspace(-12, 12, 64 * 100).view(100, 64).bfloat16().float()
    eye, none = torch.eye(64), torch.zeros(64)
    ours = both_ways(by_blocks(lambda x: bf16.BlockFeedForward.apply(x, eye, none, eye, none)), x)
    theirs = both_ways(F.gelu, x)
    torch.testing.assert_close(ours[0], theirs[0], atol=1.5e-4, rtol=ULP)
    torch.testing.assert_close(ours[1], theirs[1], atol=2e-3, rtol=2 * ULP)


@pytest.mark.parametrize(("rows", "width"), [(1, 32), (45, 384)])
@pytest.mark.usefixtures("build")
def test_residual_and_norm(rows: int, width: int) -> None:
    torch.manual_seed(rows)
    tensors = rounded(rows, width), rounded(rows, width), rounded(width), rounded(width)
    close(
        both_ways(by_blocks(lambda *t: bf16.BlockAddNorm.apply(*t, 1e-5, 0.0), 2), *tensors),
        both_ways(lambda x, h, w, b: reference.add_norm(x, h, w, b, 1e-5, 0.0), *tensors),
        2,
    )


@pytest.mark.usefixtures("build")
def test_dropout_before_the_norm_has_one_mask_in_both_passes() -> None:
    torch.manual_seed(0)
    zeros, h = torch.zeros(300, 64), torch.ones(300, 64, requires_grad=True)
    one, none = torch.ones(64), torch.zeros(64)
    y = by_blocks(lambda *t: bf16.BlockAddNorm.apply(*t, 1e-5, 0.3), 2)(zeros, h, one, none)
    y.backward(torch.randn(300, 64))
    assert h.grad is not None
    kept = y.detach() > 0  # of zeros and ones, the ones are above the mean
    assert torch.equal(kept, h.grad != 0)
    assert 0.68 < kept.float().mean() < 0.72


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=5).map(sorted),
    st.sampled_from([(1, 32), (2, 32), (1, 64)]),
    st.integers(0, 99),
)
def test_attention(lengths: list[int], heads: tuple[int, int], seed: int) -> None:
    attention_equals(lengths, heads, seed)


@pytest.mark.usefixtures("build")
def test_attention_in_each_build() -> None:
    attention_equals([1, 32, 33, 200], (2, 64), 0)


def attention_equals(lengths: list[int], heads: tuple[int, int], seed: int) -> None:
    n_heads, d = heads
    torch.manual_seed(seed)
    batch, qkv = packed(lengths), rounded(sum(lengths), 3 * n_heads * d)
    attend = by_blocks(lambda x: bf16.BlockAttend.apply(x, batch.cu_seqlens, n_heads, 0.0))
    ours = both_ways(attend, qkv)
    theirs = both_ways(lambda x: reference.attend(x, batch.runs, n_heads, 0.0), qkv)
    close(ours, theirs, 4)


@pytest.mark.usefixtures("build")
def test_attention_dropout_has_one_mask_in_both_passes() -> None:
    """With equal keys every key has the same share. Each value, and each output's gradient, has a
    single one, so both show the mask."""
    torch.manual_seed(0)
    n = 32
    batch, p = packed([n]), 0.25
    qkv = torch.zeros(n, 3 * n)
    qkv[:, 2 * n :] = torch.eye(n)
    qkv.requires_grad_()
    out = by_blocks(lambda x: bf16.BlockAttend.apply(x, batch.cu_seqlens, 1, p))(qkv)
    out.backward(torch.eye(n))
    assert qkv.grad is not None
    shares = out.detach()  # (queries, keys)
    assert set(shares.unique().tolist()) == {0.0, float(torch.tensor(1 / n / (1 - p)).bfloat16())}
    assert 0.2 < (shares == 0).float().mean() < 0.3
    assert torch.equal(qkv.grad[:, 2 * n :], shares.t())  # of values, (keys, queries)


def test_rows_that_are_not_there_have_no_part_in_gradients() -> None:
    torch.manual_seed(0)
    batch = packed([3, 7])
    qkv_B = to_blocks(rounded(10, 96)).requires_grad_()
    out = bf16.BlockAttend.apply(qkv_B, batch.cu_seqlens, 1, 0.0)
    assert not to_rows(out.detach())[10:].any()
    out.backward(to_blocks(rounded(10, 32)))
    assert qkv_B.grad is not None
    assert not to_rows(qkv_B.grad)[10:].any()


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    def all_of_them() -> list[Tensor]:
        torch.manual_seed(0)
        batch = packed([300, 300])
        x, weight, bias = rounded(600, 96), rounded(96, 96), rounded(96)
        linear = both_ways(by_blocks(bf16.BlockLinear.apply), x, weight, bias)
        norm = both_ways(
            by_blocks(lambda *t: bf16.BlockAddNorm.apply(*t, 1e-5, 0.1), 2), x, x, bias, bias
        )
        attend = by_blocks(lambda x: bf16.BlockAttend.apply(x, batch.cu_seqlens, 1, 0.1))
        return [*linear, *norm, *both_ways(attend, x)]

    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(all_of_them())
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for x, y in zip(results[0], other, strict=True):
            assert torch.equal(x, y)


@pytest.fixture
def in_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders compute in blocks on any machine."""
    monkeypatch.setattr("onelayer.nn.encoder.has_bf16_products", lambda: True)


def small_model(n_heads: int = 2) -> Model:
    torch.manual_seed(0)
    config = EncoderConfig(
        model_type="bert",
        vocab_size=30,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=n_heads,
        intermediate_size=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return Model(config, HEADS["label"], pooler_shape=BERTS_POOLER, n_outputs=2, head_dropout=0.0)


@pytest.mark.usefixtures("in_layers")
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("width", [32, 16])  # of a head: attention has blocks of 32 only
def test_a_model_in_bf16_is_close_to_fp32(mean: bool, width: int) -> None:
    model = small_model(64 // width).train()
    model.encoder.mean = mean
    batch = packed([2, 5, 40])

    def results(precision: Precision) -> list[Tensor]:
        model.train_in(precision)
        model.zero_grad()
        logits = model(batch)
        logits.square().sum().backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return [logits.detach(), torch.cat(grads)]

    for ours, exact in zip(results("bf16"), results("fp32"), strict=True):
        assert not torch.equal(ours, exact)
        assert float((ours - exact).norm() / exact.norm()) < 0.03


@pytest.mark.usefixtures("in_layers")
def test_only_training_in_bf16_computes_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Tensor] = []

    def noted(x: Tensor) -> Tensor:
        made.append(x)
        return to_blocks(x)

    monkeypatch.setattr("onelayer.nn.encoder.to_blocks", noted)
    model, batch = small_model(), packed([4])
    cases: list[tuple[Precision, bool, int]] = [
        ("fp32", True, 0), ("bf16", False, 0), ("bf16", True, 1)
    ]  # fmt: skip
    for precision, training, expected in cases:
        model.train_in(precision)
        model.train(training)(batch)
        assert len(made) == expected


@pytest.mark.usefixtures("in_layers")
def test_losses_fall_as_in_fp32() -> None:
    """Without dropout, each loss is that of fp32 within a hundredth."""
    batch, targets = packed([3, 9, 30]), torch.tensor([0, 1, 0])

    def losses(precision: Precision) -> list[float]:
        model = small_model().train()
        model.train_in(precision)
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
        found = []
        for _ in range(20):
            loss = F.cross_entropy(model(batch), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    ours, exact = losses("bf16"), losses("fp32")
    assert exact[-1] < 0.5 * exact[0]
    assert ours == pytest.approx(exact, rel=0.01, abs=0.01)
