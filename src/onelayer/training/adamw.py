"""AdamW on a CPU that postpones updates of word vectors until they are read.

A batch of 800 tokens contains 300 of 30,522 words. An ordinary optimizer still updates the whole
table of word vectors, which is half of a small BERT: the moments of the other words fade, and
weight decay shrinks their vectors. But nobody reads a vector before a batch contains its word or
the model is evaluated. Until then its updates are postponed; then all of them are applied, step by
step, while the row is in registers. The results are equal to those of the ordinary optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onelayer.nn.kernels import LANES, Learned, Moments, kernels
from onelayer.training.ranks import Ranks

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class State:
    """A parameter and its two moments."""

    parameter: Tensor
    means: Tensor
    squares: Tensor
    decays: bool

    @property
    def moments(self) -> Moments:
        """The addresses, as the kernels take them."""
        weights, means, squares = (
            tensor.data_ptr() for tensor in (self.parameter, self.means, self.squares)
        )
        return Moments(weights, means, squares, BETA1, BETA2, EPS, self.decays)


def unwritten_zeros(shape: Sequence[int]) -> Tensor:
    """fp32 zeros whose memory the system provides when it is first written, a page at a time.

    The moments of words that no text has stay zero. In a vocabulary of 250,000 words these are
    nearly all, and a gigabyte would be filled for nothing.
    """
    n = math.prod(shape)
    zeros = np.zeros(n + LANES, np.float32)
    start = -zeros.ctypes.data % (4 * LANES) // 4  # a cache line holds LANES of them
    return torch.from_numpy(zeros[start : start + n]).view(*shape)


class LazyAdamW:
    """AdamW with bias correction (Loshchilov & Hutter, 2019) and gradient clipping.

    The gradient of the word table is a sparse tensor with a row for each token, as
    ``nn.Embedding(sparse=True)`` gives it. Call `apply_missed_steps` before a batch looks up words,
    and `apply_all_missed_steps` before the whole model is read.
    """

    def __init__(
        self,
        decayed: Sequence[Tensor],
        others: Sequence[Tensor],
        words: Tensor | None,
        *,
        lr: float,
        weight_decay: float,
    ) -> None:
        self.lr = lr
        self._weight_decay = weight_decay
        self._n_steps = 0
        self._steps = np.zeros((1024, 3), dtype=np.float32)
        """The constants of each step so far (``Step`` in ``adamw.c``): a word that missed a step
        needs them later. Grows by doubling."""

        def state(parameter: Tensor, *, decays: bool) -> State:
            means, squares = (unwritten_zeros(parameter.shape) for _ in range(2))
            return State(parameter, means, squares, decays)

        self._dense = [state(p, decays=True) for p in decayed if p is not words]
        self._dense += [state(p, decays=False) for p in others]
        self._words = None if words is None else state(words, decays=True)
        self._all = [*self._dense, *([self._words] if self._words else [])]
        self._steps_made_V = torch.zeros(0 if words is None else len(words), dtype=torch.int32)
        """How many steps each word's vector has made; the others up to ``_n_steps`` it missed."""

    def apply_missed_steps(self, ids_T: Tensor) -> None:
        """Brings the vectors of these words up to date."""
        if self._words is not None:
            self._advance(ids_T.unique())

    def apply_all_missed_steps(self) -> None:
        """Brings the vectors of all words up to date."""
        if self._words is not None:
            self._advance(torch.arange(len(self._steps_made_V)))

    def state(self) -> dict[str, Tensor]:
        """The moments of each parameter, by its number, and the steps' constants (steps, 3).

        Call `apply_all_missed_steps` first: which steps a word missed is not part of the state.
        """
        found = {"steps": torch.from_numpy(self._steps[: self._n_steps].copy())}
        for i, state in enumerate(self._all):
            found |= {f"means.{i}": state.means, f"squares.{i}": state.squares}
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """Takes over a state. The weights have to be those of the moment when it was saved."""
        self._steps = state["steps"].numpy().copy()
        self._n_steps = len(self._steps)
        self._steps_made_V.fill_(self._n_steps)
        for i, own in enumerate(self._all):
            own.means.copy_(state[f"means.{i}"])
            own.squares.copy_(state[f"squares.{i}"])

    def sum_gradients(self, ranks: Ranks) -> None:
        """Replaces the gradients by their sums over the processes of a training."""
        if ranks.count == 1:
            return
        words = None if self._words is None else self._words.parameter
        if words is not None and words.grad is None:
            none, no_ids = words.new_empty(0, words.shape[1]), torch.empty(1, 0, dtype=torch.int64)
            size, checks = words.shape, False
            words.grad = torch.sparse_coo_tensor(no_ids, none, size, check_invariants=checks)
        ranks.sum_gradients([state.parameter for state in self._all])
        if words is not None and words.grad is not None:
            # Among them are words that only other processes have read.
            self.apply_missed_steps(words.grad._indices()[0])

    def step(self, max_norm: float) -> None:
        """Clips the gradient to ``max_norm``, makes a step along it, and drops it."""
        library = kernels()
        assert library is not None, "there were kernels when this was made"
        # A parameter that this batch didn't use, such as an unread head, has no gradient.
        learned = [state for state in self._dense if state.parameter.grad is not None]
        grads = [g.contiguous() for state in learned if (g := state.parameter.grad) is not None]
        rows, sums = self._word_gradient()
        count = len(learned)
        parts = (Learned * (count + 1))(
            *(
                Learned(state.moments, grad.data_ptr(), grad.numel())
                for state, grad in zip(learned, grads, strict=True)
            ),
            Learned(grad=sums.data_ptr(), n=sums.numel()),
        )
        # The norm is that of all gradients together. A word counts once, with its tokens' sum.
        norm = library.gradient_norm(parts, count + 1)
        scale = min(1.0, max_norm / (norm + 1e-6))
        step = self._next_step()
        # The kernels scale the gradient while they read it: clipping needs no pass of its own.
        library.adamw(parts, count, step, scale)
        for state in learned:
            state.parameter.grad = None
        if self._words is not None:
            # Only the rows of this batch make the step. All others miss it, and catch up later.
            library.adamw_rows(
                self._words.moments, step, rows.data_ptr(), *sums.shape,
                self._steps_made_V.data_ptr(), sums.data_ptr(), scale,
            )  # fmt: skip
            self._words.parameter.grad = None

    def _next_step(self) -> int:
        """Stores the constants of the next step and returns their address."""
        if self._n_steps == len(self._steps):
            more = np.zeros((max(1024, self._n_steps), 3), dtype=np.float32)
            self._steps = np.concatenate([self._steps, more])
        self._n_steps += 1
        step_size = self.lr / (1 - BETA1**self._n_steps)
        root = math.sqrt(1 - BETA2**self._n_steps)
        with np.errstate(over="ignore"):  # a rate beyond fp32: the trainer sees that it diverges
            self._steps[self._n_steps - 1] = [1 - self.lr * self._weight_decay, step_size, root]
        return self._steps.ctypes.data + (self._n_steps - 1) * self._steps.itemsize * 3

    def _word_gradient(self) -> tuple[Tensor, Tensor]:
        """The words of the batch, and the sums (words, D) of their tokens' gradients."""
        gradient = None if self._words is None else self._words.parameter.grad
        if gradient is None:
            return torch.empty(0, dtype=torch.int64), torch.empty(0, LANES)
        # A stable sort adds each word's tokens in their order in the batch: a repeated run gets
        # the same bits.
        ids_T, order_T = gradient._indices()[0].sort(stable=True)
        grads_TD = gradient._values().contiguous()
        rows, counts = ids_T.unique_consecutive(return_counts=True)
        bounds = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        sums = grads_TD.new_empty(len(rows), grads_TD.shape[1])
        library = kernels()
        assert library is not None
        library.sum_rows(
            *(t.data_ptr() for t in (grads_TD, order_T, bounds)), *sums.shape, sums.data_ptr()
        )
        return rows, sums

    def _advance(self, rows: Tensor) -> None:
        """Applies all steps that these rows of the word table missed."""
        library, words = kernels(), self._words
        assert library is not None
        assert words is not None
        library.adamw_catch_up(
            words.moments, self._steps.ctypes.data, rows.data_ptr(), len(rows),
            words.parameter.shape[1], self._steps_made_V.data_ptr(), self._n_steps,
        )  # fmt: skip
