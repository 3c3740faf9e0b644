"""AdamW, frozen parameters, and the learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from onelayer.base.errors import UsageError
from onelayer.nn.compiled import kernels_take
from onelayer.nn.model import Model
from onelayer.training.adamw import BETA1, BETA2, EPS, LazyAdamW
from onelayer.training.ranks import Ranks


def freeze(model: Model, what: str) -> None:
    """Excludes parameters from training.

    ``what`` is ``none``, ``embeddings``, a number N (the embeddings and the lowest N layers), or
    ``encoder``. Raises UsageError for more layers than the model has.
    """
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


class Optimizer(Protocol):
    """AdamW as the training loop uses it."""

    lr: float

    def apply_missed_steps(self, ids_T: Tensor) -> None:
        """Call it before a batch looks up these words."""

    def sum_gradients(self, ranks: Ranks) -> None:
        """Replaces the gradients by their sums over the processes of a training."""

    def step(self, max_norm: float) -> None:
        """Clips the gradient to ``max_norm``, makes a step along it, and drops it."""

    def apply_all_missed_steps(self) -> None:
        """Call it before the whole model is read."""

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on besides the weights. First apply all missed steps."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Takes over a state. The weights have to be those of the moment when it was saved."""


class TorchAdamW:
    """PyTorch's AdamW, which updates all parameters at each step."""

    def __init__(
        self,
        decayed: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
    ) -> None:
        self.parameters = [*decayed, *others]
        # On a GPU the rate is on the GPU, too, so that a recorded step reads the current one.
        gpus = {parameter.device for parameter in self.parameters if parameter.is_cuda}
        self._lr_there = torch.tensor(lr, device=gpus.pop()) if gpus else None
        self.lr = lr
        groups = [
            {"params": list(decayed), "weight_decay": weight_decay},
            {"params": list(others), "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW(
            groups,
            lr=lr if self._lr_there is None else self._lr_there,
            betas=(BETA1, BETA2),
            eps=EPS,
            fused=True,
            capturable=self._lr_there is not None,
        )

    def apply_missed_steps(self, ids_T: Tensor) -> None:
        """Does nothing: no step is missed."""

    def apply_all_missed_steps(self) -> None:
        """Does nothing: no step is missed."""

    def state(self) -> dict[str, Tensor]:
        """``step``, ``exp_avg`` and ``exp_avg_sq`` of each parameter, by its number."""
        moments = self._adamw.state_dict()["state"]
        return {f"{i}.{name}": x for i, its in moments.items() for name, x in its.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            i, name = key.split(".")
            moments.setdefault(int(i), {})[name] = tensor
        self._adamw.load_state_dict({**self._adamw.state_dict(), "state": moments})

    def sum_gradients(self, ranks: Ranks) -> None:
        ranks.sum_gradients(self.parameters)

    def step(self, max_norm: float) -> None:
        self.send_lr()
        clip_grad_norm_(self.parameters, max_norm)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)

    def send_lr(self) -> None:
        """Call it before `step_in_place`, which a recorded step repeats without it."""
        if self._lr_there is not None:
            self._lr_there.fill_(self.lr)
        for group in self._adamw.param_groups:  # a restored state brings rates of its own
            group["lr"] = self.lr if self._lr_there is None else self._lr_there

    def step_in_place(self, max_norm: float) -> None:
        """As `step`, but the gradients stay where they are, as zeros."""
        clip_grad_norm_(self.parameters, max_norm)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=False)


def adamw(model: Model, *, lr: float, weight_decay: float) -> Optimizer:
    """AdamW with bias correction (Loshchilov & Hutter, 2019). Biases and LayerNorm don't decay.

    Where our kernels work, it postpones updates of word vectors (`LazyAdamW`).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.dim() > 1]
    others = [parameter for parameter in trained if parameter.dim() <= 1]
    words = model.encoder.embeddings.word
    if not kernels_take(words.weight):
        return TorchAdamW(decayed, others, lr=lr, weight_decay=weight_decay)
    words.sparse = words.weight.requires_grad
    table = words.weight if words.sparse else None
    return LazyAdamW(decayed, others, table, lr=lr, weight_decay=weight_decay)


def lr_factor(step: int, total: int, warmup: float) -> float:
    """The learning rate of a step, as a share of the peak. Steps count from 0.

    It rises linearly over the share ``warmup`` of the steps, then falls linearly to zero, which the
    step after the last one would have.
    """
    rising = math.ceil(total * warmup)
    if step < rising:
        return (step + 1) / rising
    return (total - step) / max(1, total - rising)
