"""AdamW, what it leaves alone, and the learning rate over time."""

from __future__ import annotations

import math

import torch
from torch import nn

from onelayer.errors import UsageError
from onelayer.nn.model import Model


def freeze(model: Model, what: str) -> None:
    """``none``, ``embeddings``, the lowest N layers with the embeddings, or the ``encoder``."""
    frozen: list[nn.Module] = []
    if what == "encoder":
        frozen = [model.encoder, *([model.pooler] if model.pooler is not None else [])]
    elif what != "none":
        n_layers = 0 if what == "embeddings" else int(what)
        layers = list(model.encoder.layers)
        if n_layers > len(layers):
            raise UsageError(f"--freeze {n_layers}: the model has {len(layers)} layers")
        frozen = [model.encoder.embeddings, *layers[:n_layers]]
    for module in frozen:
        module.requires_grad_(False)


def adamw(model: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with bias correction (Loshchilov & Hutter, 2019); no decay on biases and LayerNorm."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.dim() > 1]
    vectors = [parameter for parameter in trained if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, fused=True)


def lr_factor(step: int, total: int, warmup: float) -> float:
    """The share of the peak learning rate at a step counted from 0: a linear rise over the first
    ``warmup`` of the steps, then a linear fall to zero after the last."""
    rising = math.ceil(total * warmup)
    if step < rising:
        return (step + 1) / rising
    return (total - step) / max(1, total - rising)
