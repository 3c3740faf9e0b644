"""The compiled kernels, compared with their PyTorch versions, and their other guarantees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from onelayer.base.compiled_code import compiler, machine_name
from onelayer.base.machine import instructions, remembered
from onelayer.nn import compiled, linear, ops, reference
from onelayer.nn.disentangled_reference import disentangled_attention, disentangled_attention_once
from onelayer.nn.kernel_builds import V3, kernel_code
from onelayer.nn.kernels import declare, kernels, why_no_kernels
from onelayer.nn.packed import Packed, pack
from onelayer.nn.room import BLOCK, in_blocks, roomy, whole_blocks
from onelayer.tokens.encodings import EncodingsBuilder

needs_kernels = pytest.mark.skipif(
    kernels() is None, reason=why_no_kernels() or "kernels are there"
)


some_sequences_and_heads = given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    heads=st.sampled_from([(1, 32), (3, 64), (4, 16)]),
    seed=st.integers(0, 99),
)
"""Lengths of sequences, the number and the width of heads, and a seed."""


def close(ours: Tensor, theirs: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-5)


def packed(lengths: list[int], reads: int = 1) -> Packed:
    builder = EncodingsBuilder()
    for length in lengths:
        builder.start_row()
        builder.add(list(range(length)), length, tuple(range(min(reads, length))))
    return pack(builder.build(examples_are_rows=True), np.arange(len(lengths)))


def both_ways(
    function: Callable[..., Tensor], *inputs: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """A function's output for copies of the inputs, and its gradients for a fixed direction."""
    copies = [x.clone().requires_grad_() for x in inputs]
    out = function(*copies)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    out.backward(direction)
    return out.detach(), [x.grad for x in copies]


def same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *inputs: Tensor) -> None:
    (out, grads), (their_out, their_grads) = both_ways(ours, *inputs), both_ways(theirs, *inputs)
    close(out, their_out)
    for grad, their_grad in zip(grads, their_grads, strict=True):
        assert grad is not None
        assert their_grad is not None
        close(grad, their_grad, atol=2e-5)


@needs_kernels
@pytest.mark.slow
def test_kernels_with_narrower_registers_equal_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those for processors without AVX-512, whose vectors are narrower; a build takes a second."""
    levels = {"x86_64": "-march=x86-64-v3", "aarch64": "-march=armv8-a"}
    level = levels.get(machine_name())
    if level is None or (level.endswith("v3") and not instructions() >= V3):
        pytest.skip("no narrower registers")
    narrow = declare(kernel_code(level).load(compiler() or "cc"))
    monkeypatch.setattr("onelayer.nn.compiled.kernels", lambda: narrow)
    torch.manual_seed(0)
    batch, qkv = packed([40, 3, 17]), torch.randn(60, 3 * 64)
    x, h, weight, bias = torch.randn(60, 64), torch.randn(60, 64), torch.randn(64), torch.randn(64)
    same(
        lambda x: compiled.Attend.apply(x, None, batch.cu_seqlens, 2, 0.0),
        lambda x: reference.attend(x, batch.runs, 2, 0.0),
        qkv,
    )
    same(
        lambda x, *by: compiled.AttendByDistance.apply(x, None, *by, batch.cu_seqlens, 2, 0.0),
        lambda x, *by: disentangled_attention(x, *by, batch.runs, 2, 0.0),
        *(qkv, torch.randn(79, 64), torch.randn(79, 64)),
    )
    same(compiled.Gelu.apply, F.gelu, x)
    same(
        lambda *tensors: compiled.AddNorm.apply(*tensors, 1e-12, 0.0),
        lambda *tensors: reference.add_norm(*tensors, 1e-12, 0.0),
        *(x, h, weight, bias),
    )
    mask = compiled.Dropout.apply(torch.ones(70, 64), 0.3)
    assert 0.6 < (mask > 0).float().mean() < 0.8


@needs_kernels
@settings(max_examples=25)
@some_sequences_and_heads
def test_attention_equals_the_reference(
    lengths: list[int], heads: tuple[int, int], seed: int
) -> None:
    n_heads, d = heads
    batch = packed(lengths)
    torch.manual_seed(seed)
    qkv = torch.randn(sum(lengths), 3 * n_heads * d)
    same(
        lambda x: compiled.Attend.apply(x, None, batch.cu_seqlens, n_heads, 0.0),
        lambda x: reference.attend(x, batch.runs, n_heads, 0.0),
        qkv,
    )
    q, kv = torch.randn(len(lengths), n_heads * d), torch.randn(sum(lengths), 2 * n_heads * d)
    same(
        lambda q, kv: compiled.Attend.apply(kv, q, batch.cu_seqlens, n_heads, 0.0),
        lambda q, kv: reference.attend_once(q, kv, batch.runs, n_heads, 0.0),
        q,
        kv,
    )


@needs_kernels
@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=4),
    reach=st.integers(0, 100),
    seed=st.integers(0, 99),
)
def test_attention_to_near_tokens_equals_the_reference(
    lengths: list[int], reach: int, seed: int
) -> None:
    batch = packed(lengths)
    torch.manual_seed(seed)
    same(
        lambda x: ops.attend(x, batch, 2, 0.0, None, reach),
        lambda x: reference.attend(x, batch.runs, 2, 0.0, None, reach),
        torch.randn(sum(lengths), 3 * 64),
    )


@needs_kernels
@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    reach=st.sampled_from([None, 20]),
    seed=st.integers(0, 99),
)
def test_attention_with_a_bias_by_distance_equals_the_reference(
    lengths: list[int], reach: int | None, seed: int
) -> None:
    batch, n_heads = packed(lengths), 3
    torch.manual_seed(seed)
    # As after the longest of other micro-batches: there may be more distances than in this one.
    bias = torch.randn(n_heads, 2 * (max(lengths) + seed % 3) - 1)
    width = n_heads * 32
    same(
        lambda x, b: compiled.Attend.apply(x, None, batch.cu_seqlens, n_heads, 0.0, reach, b),
        lambda x, b: reference.attend(x, batch.runs, n_heads, 0.0, b, reach),
        torch.randn(sum(lengths), 3 * width),
        bias,
    )
    places = torch.tensor([seed % length for n, length in batch.runs for _ in range(n)])
    same(
        lambda q, kv, b: compiled.Attend.apply(
            kv, q, batch.cu_seqlens, n_heads, 0.0, None, b, places
        ),
        lambda q, kv, b: reference.attend_once(q, kv, batch.runs, n_heads, 0.0, b, places),
        torch.randn(len(lengths), width),
        torch.randn(sum(lengths), 2 * width),
        bias,
    )


@needs_kernels
@settings(max_examples=25)
@some_sequences_and_heads
def test_attention_by_distances_equals_the_reference(
    lengths: list[int], heads: tuple[int, int], seed: int
) -> None:
    batch, (n_heads, d) = packed(lengths), heads
    torch.manual_seed(seed)
    width = n_heads * d
    tables = torch.randn(2, 2 * max(lengths) - 1, width).unbind()
    same(
        lambda x, *by: compiled.AttendByDistance.apply(
            x, None, *by, batch.cu_seqlens, n_heads, 0.0
        ),
        lambda x, *by: disentangled_attention(x, *by, batch.runs, n_heads, 0.0),
        torch.randn(sum(lengths), 3 * width),
        *tables,
    )
    places = torch.tensor([seed % length for n, length in batch.runs for _ in range(n)])
    same(
        lambda q, kv, *by: compiled.AttendByDistance.apply(
            kv, q, *by, batch.cu_seqlens, n_heads, 0.0, places
        ),
        lambda q, kv, *by: disentangled_attention_once(
            q, kv, *by, batch.runs, places, n_heads, 0.0
        ),
        torch.randn(len(lengths), width),
        torch.randn(sum(lengths), 2 * width),
        *tables,
    )


@needs_kernels
def test_attention_by_distances_drops_the_same_forward_and_backward() -> None:
    """With unit vectors as values, the output is the probabilities after dropout."""
    n, p = 48, 0.25
    batch = packed([n])
    torch.manual_seed(3)
    qkv = torch.randn(n, 3 * n)
    qkv[:, 2 * n :] = torch.eye(n)
    tables = torch.randn(2, 2 * n - 1, n).unbind()

    def ours(x: Tensor, *by: Tensor) -> Tensor:
        torch.manual_seed(11)
        out: Tensor = compiled.AttendByDistance.apply(x, None, *by, batch.cu_seqlens, 1, p)
        return out

    undropped = disentangled_attention(qkv, *tables, batch.runs, 1, 0.0)
    mask = ours(qkv, *tables) / undropped
    kept = mask > 0.5
    close(mask, kept / (1 - p))
    assert 0.6 < float(kept.double().mean()) < 0.9

    def plain(x: Tensor, *by: Tensor) -> Tensor:
        units = torch.cat([x[:, : 2 * n], torch.eye(n)], dim=1)
        return (disentangled_attention(units, *by, batch.runs, 1, 0.0) * mask) @ x[:, 2 * n :]

    same(ours, plain, qkv, *tables)


@needs_kernels
@pytest.mark.parametrize(
    ("n", "reach", "spread"), [(32, None, 0.0), (96, 20, 0.0), (64, None, 1.0)]
)
def test_attention_dropout_uses_one_mask_forward_and_backward(
    n: int, reach: int | None, spread: float
) -> None:
    """With unit vectors as values, the output *is* the probabilities after dropout. Plain attention
    with the mask taken from them must give the same gradients."""
    p = 0.25
    batch = packed([n])
    far = torch.zeros(n, n) if reach is None else reference.within(n, reach, torch.device("cpu"))
    torch.manual_seed(3)
    qkv = torch.randn(n, 3 * n)
    qkv[:, 2 * n :] = torch.eye(n)
    bias = spread * torch.randn(1, 2 * n - 1)

    def ours(x: Tensor, bias: Tensor) -> Tensor:
        torch.manual_seed(11)
        out: Tensor = compiled.Attend.apply(x, None, batch.cu_seqlens, 1, p, reach, bias)
        return out

    def plain(x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = x.split(n, dim=1)
        scores = q @ k.t() / n**0.5 + far + reference.by_places(bias, n)[0]
        return (scores.softmax(1) * mask) @ v

    dropped = ours(qkv, bias)
    undropped = reference.attend(qkv, batch.runs, 1, 0.0, bias, reach)
    near = far == 0
    mask = torch.where(near, dropped / undropped, 0.0)
    kept = mask > 0.5
    close(mask, kept / (1 - p))
    assert 0.6 < float(kept[near].double().mean()) < 0.9
    same(ours, plain, qkv, bias)


@needs_kernels
@pytest.mark.parametrize("shape", [(1, 32), (5, 96), (130, 64)])
def test_gelu_and_add_norm_equal_the_reference(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, h = 3 * torch.randn(shape), torch.randn(shape)
    weight, bias = torch.randn(shape[1]), torch.randn(shape[1])
    same(compiled.Gelu.apply, F.gelu, x)
    same(
        lambda *tensors: compiled.AddNorm.apply(*tensors, 1e-12, 0.0),
        lambda *tensors: reference.add_norm(*tensors, 1e-12, 0.0),
        *(x, h, weight, bias),
    )


@needs_kernels
def test_gated_gelu_and_rotation_equal_the_reference() -> None:
    """Only the first heads of a row are turned; the rest is copied."""
    torch.manual_seed(0)
    x, turns, places = torch.randn(37, 192), torch.randn(50, 2, 16), torch.randint(50, (37,))
    assert compiled.kernels_take(x, 96, 16)
    same(lambda x: ops.gate(x, ops.gelu), lambda x: F.gelu(x[:, :96]) * x[:, 96:], x)
    for n_heads in (2, 4, 6):
        same(
            lambda x, n=n_heads: ops.rotate(x, places, turns, n),
            lambda x, n=n_heads: reference.rotate(x, places, turns, n),
            x,
        )


def test_gelu_is_right_for_extreme_inputs() -> None:
    x = torch.tensor([-1e30, -80.0, -10.0, -0.0, 0.0, 1e-30, 10.0, 80.0] * 4).view(1, 32)
    close(ops.gelu(x), F.gelu(x), atol=1e-6)


@needs_kernels
def test_add_norm_uses_one_mask_forward_and_backward() -> None:
    torch.manual_seed(0)
    x, h = torch.zeros(70, 64), torch.randn(70, 64)
    norm = nn.LayerNorm(64)
    torch.manual_seed(5)
    with torch.no_grad():  # the same seed gives the same mask, visible on ones
        mask = compiled.Dropout.apply(torch.ones(70, 64), 0.3)

    def ours(x: Tensor, h: Tensor) -> Tensor:
        torch.manual_seed(5)
        return ops.add_norm(x, h, norm, 0.3)

    same(ours, lambda x, h: norm(x + h * mask), x, h)


@needs_kernels
@settings(max_examples=25)
@given(m=st.integers(1, 600), n=st.sampled_from([8, 24, 64]), k=st.sampled_from([32, 64, 96, 160]))
def test_linear_gradients_equal_the_reference(m: int, n: int, k: int) -> None:
    torch.manual_seed(m)
    x, weight, bias = torch.randn(m, k), torch.randn(n, k) / k, torch.randn(n)
    (ours, our_grads), (theirs, their_grads) = (
        both_ways(function, x, weight, bias) for function in (linear.linear, F.linear)
    )
    close(ours, theirs)
    for ours_, theirs_ in zip(our_grads, their_grads, strict=True):
        torch.testing.assert_close(ours_, theirs_, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("product", [F.linear, linear._onednn])
def test_every_matrix_product_gives_the_same_result(
    product: linear.Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest one is chosen by measuring on the user's machine, so all must agree."""
    monkeypatch.setattr(linear, "fastest_product", lambda: product)
    torch.manual_seed(0)
    same(linear.linear, F.linear, torch.randn(9, 40), torch.randn(12, 40) / 9, torch.randn(12))


@settings(max_examples=30)
@given(rows=st.integers(0, 100), width=st.integers(1, 40), begin=st.integers(0, 3))
def test_rows_are_padded_to_blocks_without_a_copy_if_memory_allows(
    rows: int, width: int, begin: int
) -> None:
    """For a matrix with spare memory, one without, and a part of a larger one."""
    own, tight = roomy(rows, width), torch.randn(rows, width)
    part = torch.randn(begin + rows + BLOCK, width)[begin : begin + rows]
    for x, has_room in ((own.normal_(), True), (tight, rows % BLOCK == 0), (part, True)):
        blocks = in_blocks(x, torch.float32)
        assert blocks.shape == (whole_blocks(rows), width)
        assert torch.equal(blocks[:rows], x)
        assert (blocks.data_ptr() == x.data_ptr()) == (has_room or x.numel() == 0)
        if not has_room:
            assert not blocks[rows:].any()
    halves = in_blocks(own, torch.bfloat16)
    assert torch.equal(halves[:rows], own.bfloat16())
    assert not halves[rows:].any()


def test_bfloat16_products_are_close_and_return_fp32() -> None:
    torch.manual_seed(0)
    tensors = torch.randn(50, 64), torch.randn(32, 64) / 8, torch.randn(32)
    (half, half_grads), (full, full_grads) = (
        both_ways(lambda *x, bf16=bf16: linear.linear(*x, bf16=bf16), *tensors)
        for bf16 in (True, False)
    )
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, atol=0.05, rtol=0.05)
    for ours, theirs in zip(half_grads, full_grads, strict=True):
        assert ours is not None
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.3, rtol=0.05)


@needs_kernels
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_masks_pass_statistical_tests(p: float) -> None:
    """The shares kept in all, by column and by row, and the correlations of pairs that should be
    independent, are within five standard deviations."""
    torch.manual_seed(0)
    n, width = 4000, 384
    ones = torch.ones(n, width)
    kept = (ops.dropout(ones, p, True) > 0).double()
    again = (ops.dropout(ones, p, True) > 0).double()
    share, spread = 1 - p, (p * (1 - p)) ** 0.5
    assert abs(float(kept.mean()) - share) < 5 * spread / (n * width) ** 0.5
    assert float((kept.mean(0) - share).abs().max()) < 5 * spread / n**0.5
    assert float((kept.mean(1) - share).abs().max()) < 5 * spread / width**0.5

    def correlation(a: Tensor, b: Tensor) -> float:
        return float(((a - share) * (b - share)).mean()) / spread**2

    pairs = {
        "next column": (kept[:, 1:], kept[:, :-1]),
        "columns of one hash": (kept[:, 16:32], kept[:, :16]),
        "next row": (kept[1:], kept[:-1]),
        "next mask": (kept, again),
    }
    for what, (a, b) in pairs.items():
        assert abs(correlation(a, b)) < 5 / a.numel() ** 0.5, what


@needs_kernels
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    batch = packed([40, 7, 7, 90, 33])
    torch.manual_seed(0)
    x, weight, bias = torch.randn(177, 64), torch.randn(192, 64), torch.randn(2, 179)
    table = torch.randn(179, 64)

    def everything() -> list[Tensor]:
        torch.manual_seed(1)
        norm = nn.LayerNorm(64)

        def layer(x: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
            qkv = linear.linear(x, weight, torch.zeros(192))
            mixed = ops.attend(qkv, batch, 2, 0.1, bias)
            mixed = mixed + ops.attend_disentangled(qkv, table, 2 * table, batch, 2, 0.1)
            return ops.gelu(ops.add_norm(x, mixed, norm, 0.1))

        out, grads = both_ways(layer, x, weight, bias, table)
        return [out, *(grad for grad in grads if grad is not None)]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = everything()
        torch.set_num_threads(3)
        three = everything()
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(one, three, strict=True):
        assert torch.equal(a, b)


CHILD = """
import torch
from onelayer.nn import ops
from onelayer.nn import kernels
print(kernels.kernels() is None, kernels.why_no_kernels())
print(float(ops.gelu(torch.ones(1, 32))[0, 0]))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ONELAYER_KERNELS", "0", "ONELAYER_KERNELS=0"),
        ("CC", "false", "could not build"),
    ],
)
def test_fallback_without_kernels_works_and_reports_the_reason(
    variable: str, value: str, message: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), variable: value}
    lines = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert lines[0].startswith("True ")
    assert message in lines[0]
    assert float(lines[1]) == pytest.approx(0.8413447)


def test_damaged_measurement_is_replaced(cache_home: Path) -> None:
    assert remembered(("bf16", 8, 8), lambda: 2.0) == 2.0
    (path,) = (cache_home / "onelayer").glob("*.json")
    for text in ("", "[", "NaN", "Infinity", '"x"'):
        path.write_text(text)
        assert remembered(("bf16", 8, 8), lambda: 3.0) == 3.0
        assert json.loads(path.read_text()) == 3.0


def test_measurement_is_remembered(cache_home: Path) -> None:
    """A repeated question gets the stored answer; another question is measured."""
    figures = iter([2.0, 1.0, 3.0])
    assert remembered(("bf16", 8, 8), lambda: next(figures)) == 2.0
    assert remembered(("bf16", 8, 8), lambda: next(figures)) == 2.0
    assert remembered(("bf16", 16, 8), lambda: next(figures)) == 1.0
    for path in (cache_home / "onelayer").glob("*.json"):
        path.write_text("")
    assert remembered(("bf16", 8, 8), lambda: next(figures)) == 3.0


def test_measurement_is_repeated_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    figures = iter([2.0, 1.0])
    assert [remembered(("bf16", 8, 8), lambda: next(figures)) for _ in range(2)] == [2.0, 1.0]
