"""The new layer in closed form: the best one for the vectors that the encoder gives now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from onelayer.nn.heads import Head
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed, pack
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.packing import micro_batches

MAX_EXAMPLES = 2_000
"""Examples that the layer is fitted to, at most: it has a few thousand weights, and training moves
them further."""
STRENGTH = 1.0
"""The weight of the rows' loss against the layer's size, where vectors have length 1: ``C`` in
scikit-learn. If it grows, few rows are learned by heart; if it shrinks, all classes look alike."""
MAX_ITERATIONS = 200
"""The solver ends earlier, when the loss no longer falls."""
PENALTIES = 2.0 ** np.arange(-4, 9)
"""Weights of the layer's size against squared loss; the rows themselves choose one. ``STRENGTH``
would be one of 0.5: too little where the vectors hold the number almost as it is."""


def fit_layer(
    model: Model,
    encodings: Encodings,
    head: Head,
    class_weights: Tensor | None,
    *,
    token_budget: int,
    seed: int,
) -> None:
    """Sets the output layer to the minimum of the head's loss with an L2 penalty, for the vectors
    that the encoder gives without dropout. The loss is convex in the layer, so there is one. Where
    it is squared, the penalty is the one of `PENALTIES` that predicts left-out rows best.

    A layer that begins with random numbers spends the first hundred steps on what this finds in a
    second, and until then its gradients mislead the encoder (Kumar et al., 2022).
    """
    examples = np.arange(encodings.n_examples)
    if len(examples) > MAX_EXAMPLES:
        drawn = np.random.default_rng(seed).choice(len(examples), MAX_EXAMPLES, replace=False)
        examples = np.sort(drawn)
    x_RD, batch = _read(model, encodings, examples, token_budget)
    # Vectors of another scale would get another strength; the layer takes the scale back.
    scale = x_RD.square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
    if head.squared:
        weight_CD, bias_C = _ridge(x_RD / scale, batch.gold.double().reshape(len(x_RD), -1))
    else:
        weight_CD, bias_C = _minimum(x_RD / scale, batch, model.head, head, class_weights)
    with torch.no_grad():
        model.head.weight.copy_(weight_CD / scale)
        model.head.bias.copy_(bias_C)


@torch.no_grad()
def _read(
    model: Model, encodings: Encodings, examples: Ints, token_budget: int
) -> tuple[Tensor, Packed]:
    """(R, D) the vectors that the layer reads, float64, and one batch with all targets."""
    was_training = model.training
    model.eval()
    device = model.head.weight.device
    vectors, parts = [], []
    for part in micro_batches(encodings.example_lengths(examples), token_budget):
        batch = pack(encodings, examples[part]).to(device)
        vectors.append(model.vectors(batch).double())
        parts.append(batch)
    model.train(was_training)
    together = replace(
        parts[0],
        groups=tuple(size for part in parts for size in part.groups),
        targets=torch.cat([part.gold for part in parts]),
    )
    return torch.cat(vectors), together


def _minimum(
    x_RD: Tensor, batch: Packed, layer: torch.nn.Linear, head: Head, class_weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The layer's weights and biases of the smallest loss, by L-BFGS, from weights of zero."""
    weight_CD = torch.zeros_like(layer.weight, dtype=torch.float64, requires_grad=True)
    bias_C = layer.bias.detach().double().clone().requires_grad_(True)
    if batch.gold.is_floating_point():
        batch = replace(batch, targets=batch.gold.double())
    if class_weights is not None:
        class_weights = class_weights.double()
    solver = torch.optim.LBFGS(
        [weight_CD, bias_C], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        solver.zero_grad()
        # A multiple of the bias would do no harm, but without a pull a class that no row has, or
        # that all have, drives it to infinity.
        logits_RC = F.linear(x_RD, weight_CD, bias_C)
        loss = head.loss(logits_RC, batch, class_weights)
        loss = STRENGTH * loss + weight_CD.square().sum() / 2 + bias_C.square().sum() / 2000
        loss.backward()
        return loss

    solver.step(objective)
    return weight_CD.detach(), bias_C.detach()


def _ridge(x_RD: Tensor, y_RC: Tensor) -> tuple[Tensor, Tensor]:
    """The weights and biases of ridge regression. The penalty is that of the smallest error of rows
    that are left out one by one, which one decomposition gives for all rows and penalties (Golub et
    al., 1979, without their average over the rows)."""
    mean_D, mean_C = x_RD.mean(dim=0), y_RC.mean(dim=0)
    u_RK, s_K, v_KD = torch.linalg.svd(x_RD - mean_D, full_matrices=False)
    wanted_KC = u_RK.T @ (y_RC - mean_C)

    def error_left_out(penalty: float) -> float:
        kept_K = s_K.square() / (s_K.square() + penalty)
        # How much of a row's own value its prediction is made of; the mean is a part of it.
        own_R = u_RK.square() @ kept_K + 1 / len(x_RD)
        off_RC = y_RC - mean_C - u_RK @ (kept_K[:, None] * wanted_KC)
        return float((off_RC / (1 - own_R)[:, None].clamp_min(1e-12)).square().sum())

    penalty = min(PENALTIES.tolist(), key=error_left_out)
    weight_CD = (v_KD.T @ ((s_K / (s_K.square() + penalty))[:, None] * wanted_KC)).T
    return weight_CD, mean_C - weight_CD @ mean_D
