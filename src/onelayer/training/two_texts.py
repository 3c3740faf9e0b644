"""Teaches a sentence encoder to keep the two texts of a pair apart, without labels.

A sentence encoder was trained on one text at a time. Of a pair it knows most from two vectors, one
for each text; in ``[CLS] A [SEP] B [SEP]`` every layer mixes the texts, and few labelled rows don't
teach it better. But it can be its own teacher (Hinton et al., 2015): on pairs made of the rows' own
texts, each token of the joined sequence learns to have the vector that it has when its text is read
alone. Then one more layer compares the two (``compare_layer``).

Shape suffixes: T tokens of a batch, N vectors, D model width, R the width that is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onelayer.checkpoint.compare_layer import (
    Outputs,
    Sides,
    compared_width,
    with_compare_layer,
)
from onelayer.checkpoint.read import Checkpoint
from onelayer.engines.torch_engine import best_device
from onelayer.nn.encoder import Encoder, Layer
from onelayer.nn.linear import Linear
from onelayer.nn.ops import by_rows
from onelayer.nn.packed import Packed, pack
from onelayer.recipe import Precision
from onelayer.tokens.encodings import Encodings, EncodingsBuilder, Ints
from onelayer.tokens.template import Template
from onelayer.training.made_pairs import drawn_pairs, four_of_each_row, joined_pairs
from onelayer.training.optimizer import lr_factor

APART_STEPS = 200
"""Steps in which tokens learn to look as if their text were read alone."""
COMPARE_STEPS = 80
"""Steps after these that also learn what the added layer should give."""
PAIRS = 8
"""Pairs of a step. With 16 of them and half of the steps, other pairs were ranked less as the base
itself ranks them: with a Spearman of 0.86 against 0.89, for pairs of MRPC."""
RATE = 0.13
"""The learning rate, times the model's width: 3.4e-4 for 384. Steps of 16 pairs learned the most at
4.8e-4, less at half of it and at 7.8e-4."""
TEXTS = 512
"""Texts that pairs are made of. Half of them are varied, so that a few rows make many."""
DISTANCE = 0.25
"""Half of the distance between the tokens of the two texts, in lengths of a token's vector."""
WEIGHTS = {"side": 300.0, "squares": 0.3, "sums": 0.3}
"""The weights of the other losses against that of the tokens; ``side`` is one number of D."""
SQUEEZE = 0.05
"""The spread of what the pooler gives before tanh. If it grows, tanh bends the two sums, which are
``SUMS`` times as large and say the most of how alike two texts are."""
SUMS, VALUES = 10.0, 0.5
"""How many times the spread of single squares and products that of the two sums is, and that of
differences and sums of the texts. If ``VALUES`` grows, what a text says by itself counts for more,
and how alike the two are for less."""


@dataclass(slots=True)
class Taught:
    """What a base became that keeps two texts apart: all models of a plan begin with it. It has
    seen the texts of all rows, but none of their labels."""

    checkpoint: Checkpoint | None = None

    def of(self, base: Checkpoint, rows: Encodings, precision: Precision) -> Checkpoint:
        if self.checkpoint is None:
            self.checkpoint = kept_apart(base, rows, precision)
        return self.checkpoint


def kept_apart(base: Checkpoint, rows: Encodings, precision: Precision) -> Checkpoint:
    """The base with weights that keep two texts apart, and with the layer that compares them.

    Parameters
    ----------
    base
        A sentence encoder.
    rows
        Pairs. Their targets aren't looked at.
    precision
        Of the student's products.
    """
    template = base.tokenizer.template
    rng = np.random.default_rng(0)
    texts = four_of_each_row(rows, template, TEXTS, rng)
    pairs = drawn_pairs(len(texts), (APART_STEPS + COMPARE_STEPS) * PAIRS, rng)
    joined = joined_pairs([(texts[a], texts[b]) for a, b in pairs.tolist()], template)
    alone = _alone(base, texts, template)
    sides = _sides(base, joined, alone)
    student = _Student(with_compare_layer(base, sides), sides, precision)
    student.learn(alone, pairs, joined)
    student.balance(rows)
    return student.checkpoint()


# What is to be learned. -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Alone:
    """What the base makes of texts that it reads one by one."""

    tokens: list[Tensor]
    """For each text (T, D), the vectors of its tokens, special ones included."""

    @property
    def means(self) -> Tensor:
        return torch.stack([tokens.mean(dim=0) for tokens in self.tokens])


@torch.no_grad()
def _alone(base: Checkpoint, texts: Sequence[Ints], template: Template) -> _Alone:
    builder = EncodingsBuilder()
    for text in texts:
        ids = template.single(text.tolist())
        builder.start_row()
        builder.add(ids, len(ids), reads=range(len(ids)))
    return _Alone(_token_vectors(base, builder.build(examples_are_rows=True)))


@torch.no_grad()
def _token_vectors(base: Checkpoint, encodings: Encodings) -> list[Tensor]:
    """(T, D) for each sequence: the base's vectors of all its tokens."""
    encoder = Encoder(base.config)
    encoder.load_state_dict(base.encoder)
    encoder.to(best_device()).eval()
    found: list[Tensor] = []
    for examples in np.array_split(np.arange(encodings.n_examples), -(-encodings.n_examples // 32)):
        vectors = encoder(pack(encodings, examples).to(best_device()))
        found += vectors.split(encodings.example_lengths(examples).tolist())
    return found


def _sides(base: Checkpoint, joined: Encodings, alone: _Alone) -> Sides:
    """The direction along which the base's vectors tell the two texts of a pair apart best already
    (Fisher's discriminant), and the main directions of texts, among each other turned by chance."""
    some = joined.part(0, min(256, len(joined)))
    x_TD = torch.cat(_token_vectors(base, some)).cpu()
    second_T = torch.from_numpy(_is_second(some, np.arange(len(some))))
    a, b = x_TD[~second_T], x_TD[second_T]
    within = torch.cat([a - a.mean(dim=0), b - b.mean(dim=0)])
    spread = within.T @ within / len(x_TD)
    spread += spread.diagonal().mean() * torch.eye(len(spread))
    direction = torch.linalg.solve(spread, a.mean(dim=0) - b.mean(dim=0))
    direction /= direction.norm().clamp_min(1e-12)
    middle = float(((a @ direction).mean() + (b @ direction).mean()) / 2)
    means = F.normalize(_without(alone.means.cpu(), direction), dim=1)
    _, main = torch.linalg.eigh(means.T @ means)  # the largest come last
    width = compared_width(base.config)
    generator = torch.Generator().manual_seed(0)
    # A linear layer with a penalty treats all numbers alike, so no direction may stand out.
    turned, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    half = DISTANCE * float(x_TD.norm(dim=1).mean())
    return Sides(direction, middle, half, turned @ main[:, -width:].T)


def _is_second(joined: Encodings, examples: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(T,) whether each token is of its sequence's second part, sequence after sequence."""
    lengths, seconds = joined.lengths[examples], joined.second_at[examples]
    parts = [np.arange(n) >= at for n, at in zip(lengths, seconds, strict=True)]
    return np.concatenate(parts)


def _without(x_ND: Tensor, direction_D: Tensor) -> Tensor:
    """The part of each vector that is orthogonal to the direction."""
    return x_ND - (x_ND @ direction_D)[:, None] * direction_D


# The lesson. ----------------------------------------------------------------------------------


class _Student:
    """The model that learns, and its losses."""

    def __init__(self, start: Checkpoint, sides: Sides, precision: Precision) -> None:
        self.start, self.device = start, best_device()
        self.outputs = Outputs.of(start.config)
        still = replace(
            start.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )  # what is to be learned has no noise
        width = start.config.hidden_size
        self.encoder, self.pooler = Encoder(still), Linear(width, width)
        self.encoder.load_state_dict(start.encoder)
        pooler = next(iter(start.poolers.values()))
        self.pooler.load_state_dict({name.split(".")[1]: x for name, x in pooler.items()})
        self.network = nn.ModuleList([self.encoder, self.pooler]).to(self.device).train()
        self.encoder.train_in(precision)
        # Words mean what they meant. Their table is half of the starter's weights.
        self.encoder.embeddings.word.requires_grad_(False)
        self.direction_D = sides.direction_D.to(self.device)
        self.projection_RD = sides.projection_RD.to(self.device)
        self.middle, self.half = sides.middle, sides.half

    def learn(self, alone: _Alone, pairs: Ints, joined: Encodings) -> None:
        """All steps."""
        wanted_ND = self._comparison(alone.means, pairs)
        wanted_ND = (wanted_ND - wanted_ND.mean(dim=0)) * self._scale(wanted_ND)
        learned = [weight for weight in self.network.parameters() if weight.requires_grad]
        rate = RATE / self.start.config.hidden_size
        adamw = torch.optim.AdamW(learned, lr=rate, weight_decay=0.0, fused=True)
        n_steps = APART_STEPS + COMPARE_STEPS
        for step in range(n_steps):
            if step == APART_STEPS:
                self._standardize(joined.part(0, min(256, len(joined))))
            adamw.param_groups[0]["lr"] = rate * lr_factor(step, n_steps, 0.1)
            examples = np.arange(step * PAIRS, (step + 1) * PAIRS)
            batch = pack(joined, examples).to(self.device)
            x_TD = self._hidden(batch)
            loss = self._token_loss(x_TD[batch.reads_R], alone, pairs[examples], joined, examples)
            if step >= APART_STEPS:
                loss = loss + self._comparison_loss(x_TD, batch, joined, examples, wanted_ND)
            adamw.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learned, 1.0)
            adamw.step()

    def _hidden(self, batch: Packed) -> Tensor:
        """(T, D) before the added layer, in the batch's order."""
        return by_rows(self.encoder.before_last(batch), len(batch.ids_T))

    def _token_loss(
        self, x_TD: Tensor, alone: _Alone, pairs: Ints, joined: Encodings, examples: Ints
    ) -> Tensor:
        """How far each token is from its vector when its text is read alone, and from its side."""
        second_T = torch.from_numpy(_is_second(joined, examples)).to(self.device)
        # Of the second text's special tokens only those after it are in the joined sequence.
        skipped = len(self.start.tokenizer.template.before)
        of_first = len(self.start.tokenizer.template.between)
        after = len(self.start.tokenizer.template.after)
        parts = []
        for first, second in pairs.tolist():
            tokens = alone.tokens[first]
            parts += [tokens[: len(tokens) - after + of_first], alone.tokens[second][skipped:]]
        wanted_TD = torch.cat(parts)
        place_T = (x_TD @ self.direction_D - self.middle) / self.half
        side = (place_T - 1.0 + 2.0 * second_T).square().mean()
        off_TD = _without(x_TD - wanted_TD, self.direction_D)
        tokens = off_TD.square().mean() / wanted_TD.var()
        return tokens + WEIGHTS["side"] / x_TD.shape[1] * side

    def _comparison_loss(
        self, x_TD: Tensor, batch: Packed, joined: Encodings, examples: Ints, wanted_ND: Tensor
    ) -> Tensor:
        """How far the squares and their sums are from those of the texts' own vectors."""
        first_T = batch.reads_R[torch.from_numpy(_starts(joined, examples)).to(self.device)]
        place_N = torch.searchsorted(batch.cu_seqlens[:-1].long(), first_T)
        of_cls = replace(batch, only_reads_S=batch.cu_seqlens[:-1].long(), reads_R=place_N)
        added = self.encoder.layers[-1]
        assert isinstance(added, Layer)
        found_ND: Tensor = self.pooler(added.read(x_TD, of_cls))
        off_ND = (found_ND - wanted_ND[torch.from_numpy(examples).to(self.device)]).square()
        sums = [self.outputs.of_products, self.outputs.of_squares]
        single = [off_ND[:, part] for part in self._blocks()]
        squares = torch.cat(single, dim=1).mean()
        return WEIGHTS["squares"] * squares + WEIGHTS["sums"] * off_ND[:, sums].mean()

    def _comparison(self, means_ND: Tensor, pairs: Ints) -> Tensor:
        """(N, D) what the added layer should give of pairs of texts, were it exact."""
        r_NR = F.normalize(means_ND @ self.projection_RD.T, dim=1)
        u_NR, v_NR = (r_NR[torch.from_numpy(pairs[:, i]).to(self.device)] for i in (0, 1))
        squares_NR, products_NR = (u_NR - v_NR).square(), 4 * u_NR * v_NR
        out, found = self.outputs, torch.zeros(len(pairs), means_ND.shape[1], device=self.device)
        n = out.products.stop - out.products.start
        found[:, out.squares] = squares_NR[:, : out.squares.stop]
        found[:, out.products] = products_NR[:, :n]
        found[:, out.values] = torch.cat([(u_NR - v_NR)[:, :n], (u_NR + v_NR)[:, :n]], dim=1)
        found[:, out.of_products] = products_NR.sum(dim=1)
        found[:, out.of_squares] = squares_NR.sum(dim=1)
        return found

    def _blocks(self) -> list[slice]:
        """The outputs of one number each, in blocks of one kind."""
        return [self.outputs.squares, self.outputs.products, self.outputs.values]

    def _scale(self, x_ND: Tensor, floor: float = 1e-6) -> Tensor:
        """(D,) factors that bring each kind of outputs to a spread of 1; 0 for the constants."""
        sums = (self.outputs.of_products, self.outputs.of_squares)
        centred = (x_ND - x_ND.mean(dim=0)).square()
        scale = torch.zeros(x_ND.shape[1], device=x_ND.device)
        for part in (*self._blocks(), *(slice(i, i + 1) for i in sums)):
            scale[part] = 1 / centred[:, part].mean().sqrt().clamp_min(floor)
        return scale

    @torch.no_grad()
    def _outputs(self, encodings: Encodings) -> Tensor:
        """(N, D) of each sequence, what the pooler gives before tanh."""
        starts = np.zeros(len(encodings.lengths), np.int32)
        each = np.arange(len(starts) + 1)
        encodings = replace(
            encodings, reads=starts, cu_reads=each, cu_examples=each, cu_rows=each, targets=None
        )
        self.network.eval()
        parts = np.array_split(np.arange(len(starts)), -(-len(starts) // 32))
        batches = (pack(encodings, part).to(self.device) for part in parts)
        found = torch.cat([self.pooler(self.encoder(batch)) for batch in batches])
        self.network.train()
        return found

    @torch.no_grad()
    def _standardize(self, encodings: Encodings) -> None:
        """Brings what the pooler gives to mean 0 and spread 1."""
        found_ND = self._outputs(encodings)
        self._rescale(found_ND, self._scale(found_ND))

    @torch.no_grad()
    def balance(self, rows: Encodings) -> None:
        """Brings what the pooler gives of the rows to mean 0, and to spreads that suit a layer with
        a penalty."""
        some = rows.part(0, min(512, len(rows)))
        found_ND = self._outputs(some)
        scale_D = SQUEEZE * self._scale(found_ND, floor=0.1)
        scale_D[[self.outputs.of_products, self.outputs.of_squares]] *= SUMS
        scale_D[self.outputs.values] *= VALUES
        self._rescale(found_ND, scale_D)

    def _rescale(self, found_ND: Tensor, scale_D: Tensor) -> None:
        weight, bias = self.pooler.weight, self.pooler.bias
        bias.copy_(scale_D * (bias - found_ND.mean(dim=0)))
        weight.mul_(scale_D[:, None])

    def checkpoint(self) -> Checkpoint:
        encoder = {name: x.detach().cpu() for name, x in self.encoder.state_dict().items()}
        pooler = {
            f"pooler.{name}": x.detach().cpu() for name, x in self.pooler.state_dict().items()
        }
        poolers = dict.fromkeys(self.start.poolers, pooler)
        return replace(self.start, encoder=encoder, poolers=poolers)


def _starts(joined: Encodings, examples: Ints) -> Ints:
    """(N,) where each example begins among the reads of a batch, which are all of its tokens."""
    return np.concatenate(([0], np.cumsum(joined.lengths[examples])[:-1]))
