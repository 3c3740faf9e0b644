"""A moving average of the weights, which is steadier than where they happen to stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

EVERY = 10
"""Steps between two looks at the weights. A look reads all of them, rows of the word table that lag
behind are brought up to date for it; at every step it would cost a small model a quarter more."""


class WeightAverage:
    """Exponential moving average of what a model learns (Polyak & Juditsky, 1992).

    ``decay`` is by step: what the weights were n steps ago counts decay**n. As Adam's moments, the
    average is corrected for its beginning (Kingma & Ba, 2015, section 3): the first look counts
    whole, and the weights before training not at all.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._step = 0
        """As of the last look."""
        self._learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._means = {n: torch.zeros_like(p.detach()) for n, p in self._learned.items()}

    def due(self, step: int) -> bool:
        return step % EVERY == 0

    @torch.no_grad()
    def look(self, step: int) -> None:
        """Takes in the weights as they are after ``step`` steps, all of them up to date."""
        if step == self._step:
            return
        share = (1 - self.decay ** (step - self._step)) / (1 - self.decay**step)
        torch._foreach_lerp_(list(self._means.values()), list(self._learned.values()), share)
        self._step = step

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """For as long as it lasts the model has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._learned.items():
            parameter.data, self._means[name] = self._means[name], parameter.data

    def state(self) -> dict[str, Tensor]:
        """All that a run that goes on needs: `load` takes it."""
        return {"step": torch.tensor(self._step), **self._means}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._step = int(state["step"])
        for name, mean in self._means.items():
            mean.copy_(state[name])
