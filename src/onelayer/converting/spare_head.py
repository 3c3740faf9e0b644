"""An encoder without a norm on its embeddings, as one of transformers' BERT, which has that norm.

A norm subtracts a vector's mean and divides by its standard deviation. It changes nothing that the
encoder computes where the encoder has one attention head more, whose coordinates are spare:

- *Embeddings.* The spare coordinates hold minus the sum of the others, so the mean is 0, and large
  constants, so the deviation is the same for every token. The norm's scale undoes the division.
- *Every later norm* must find the mean and the deviation that it has without spare coordinates. So
  these hold the mean of the others. The deviation is then smaller by a known factor, which the
  scale and ``norm_eps`` make up for.
- *Where that mean comes from.* The embeddings' norm gives it from the sum. Attention and
  feed-forward have rows for it, the mean of their rows. What the sum with their input adds, four
  more units of the feed-forward pass on, as two linear functions of that input
  (relu(a) - relu(-a) = a). The second one becomes, through the norm, the mean of the norm's own
  output, which the next attention adds to its own.

Two steps are close, not exact: the deviation of the embeddings varies with the token by about
1 / `SWAMPED`, and a layer's deviation has the second function in it, see `RIPPLE`. All else is
algebra, and the spare coordinates of the last layer's vectors are 0.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2

import torch
from torch import Tensor

from onelayer.converting.post_norm import Affine, PostNormEncoder, PostNormLayer

SWAMPED = 1e5
"""How much larger the squared length of the constants is than that of the longest embedding, up to
four times that. With more, rounding in the norm's mean grows; with less, the error of the
deviation."""
RIPPLE = 1e-6
"""The share of a layer's variance that the second function adds, where it is four times as large as
usual. With less, the norm's scale of it grows, and with that the effect of a training step."""
FLOAT_STEP = 2.0**-23
"""The distance of fp32 numbers from 1 to 2."""


def with_spare_head(bare: PostNormEncoder) -> PostNormEncoder:
    """The encoder with a norm on its embeddings and one head more, in float64.

    Its vectors are those of ``bare`` with zeros after them. Raises ValueError for heads of a single
    coordinate, as two are needed.
    """
    width, spare = bare.width, bare.width // bare.heads
    if spare < 2:
        raise ValueError("heads of one coordinate")
    balance = _balance(spare)
    last = len(bare.layers) - 1
    layers = [_widened(layer, balance, is_last=i == last) for i, layer in enumerate(bare.layers)]
    layers[0] = _reading_means(layers[0], width)
    constants = _constants(bare, balance)
    tables = [
        _with_opposite_sum(table.double(), constants)
        for table in (bare.words, bare.segments, bare.positions)
    ]
    tables[1][:, width:] += constants  # every token has exactly one segment
    eps = bare.norm_eps * width / (width + spare)
    return PostNormEncoder(
        words=tables[0],
        segments=tables[1],
        positions=tables[2],
        embedding_norm=_embedding_norm(tables, constants, eps),
        layers=layers,
        pooler=_with_head(bare.pooler, spare),
        heads=bare.heads + 1,
        norm_eps=eps,
    )


def _balance(n: int) -> Tensor:
    """(n,) numbers of sizes from 1 to 2 that add up to 0.

    A number and its opposite are eight places apart where that is possible, as processors add up
    every eighth or sixteenth number: so large sums never arise. Different sizes are rounded
    differently, and that averages out.
    """
    pairs, block = n // 2, 8 if n % 16 == 0 else 1
    sizes = 1 + (0.9 * torch.arange(pairs, dtype=torch.float64) / pairs * 1024).round() / 1024
    found = torch.stack([sizes, -sizes]).unflatten(1, (-1, block)).transpose(0, 1).flatten()
    return torch.cat([found[:-2], found.new_tensor([1, 1, -2])]) if n % 2 else found


# Embeddings --------------------------------------------------------------------------------------


def _constants(bare: PostNormEncoder, balance: Tensor) -> Tensor:
    """The constants of the spare coordinates: see `SWAMPED`."""
    tables = (bare.words, bare.segments, bare.positions)
    longest = sum(float(table.norm(dim=1).max()) for table in tables) or 1.0
    least = longest * (SWAMPED / float(balance.square().sum())) ** 0.5
    return balance * 2.0 ** ceil(log2(least))


def _with_opposite_sum(table: Tensor, constants: Tensor) -> Tensor:
    """A table with minus the sum of each row, shared by the spare coordinates. The shares are whole
    steps of the constants in fp32, so the two are added without rounding."""
    spare, step = len(constants), float(constants.abs().min()) * FLOAT_STEP
    steps = (-table.sum(1, keepdim=True) / step).round()
    each = (steps / spare).floor()
    one_more = torch.arange(spare) < steps - each * spare
    return torch.cat([table, (each + one_more) * step], 1)


def _embedding_norm(tables: list[Tensor], constants: Tensor, eps: float) -> Affine:
    """The norm that gives back the sum of three rows, with its mean in the spare coordinates."""
    spare = len(constants)
    width = tables[0].shape[1] - spare
    # The mean squared length of a sum of three independent rows.
    means = [table.mean(0) for table in tables]
    square = sum(float(table.square().sum(1).mean()) for table in tables)
    square += 2 * sum(float(means[i] @ means[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    scale = constants.new_full((width + spare,), (square / (width + spare) + eps) ** 0.5)
    part = spare / width  # a spare coordinate holds the others' mean, times -1 / part
    scale[width:] *= -part
    return Affine(scale, torch.cat([constants.new_zeros(width), part * constants]))


# Layers ------------------------------------------------------------------------------------------


def _widened(layer: PostNormLayer, balance: Tensor, *, is_last: bool) -> PostNormLayer:
    """A layer whose norms find the mean of the others in the spare coordinates of their input, and
    whose output has it there, or zeros in the last layer."""
    width, spare = len(layer.norm.weight), len(balance)
    shrink = (width / (width + spare)) ** 0.5  # of a deviation, by coordinates that equal the mean
    mean = balance.new_full((width,), 1 / width)
    scale, shift = layer.norm.weight.double(), layer.norm.bias.double()
    # The norm's output has the mean  shift.mean() + tilt @ z / deviation  for an input z.
    tilt = (scale - scale.mean()) / width
    held = _ripple(tilt, balance) * balance  # how much of that each coordinate holds
    up, down = _feed_forward(layer, mean, tilt, held)
    found = shrink / held  # turns what it holds, over the deviation, into all of it
    if is_last:
        found = torch.zeros_like(found)
    mean_shift = (0 if is_last else shift.mean()) * torch.ones_like(found)
    attention_norm = layer.attention_norm
    return PostNormLayer(
        query=_with_head(layer.query, spare),
        key=_with_head(layer.key, spare),
        value=_with_head(layer.value, spare),
        output=_with_rows(layer.output, mean.expand(spare, -1), inputs=spare),
        attention_norm=Affine(
            _padded(attention_norm.weight.double() * shrink, spare),
            _padded(attention_norm.bias, spare),
        ),
        up=up,
        down=down,
        norm=Affine(torch.cat([scale * shrink, found]), torch.cat([shift, mean_shift])),
    )


def _ripple(tilt: Tensor, balance: Tensor) -> float:
    """How much of the second function the spare coordinates hold: see `RIPPLE`; at most 1."""
    usual = float(tilt.square().sum() * balance.square().sum()) / len(tilt)
    return min(1.0, (RIPPLE / (16 * usual)) ** 0.5) if usual else 1.0


def _feed_forward(
    layer: PostNormLayer, mean: Tensor, tilt: Tensor, held: Tensor
) -> tuple[Affine, Affine]:
    """Both products of the feed-forward. Its output and its input, together z, bring
    ``mean @ z + held * (tilt @ z)`` to the spare coordinates, the input through four units more."""
    spare = len(held)
    functions = torch.stack([mean, -mean, tilt, -tilt])
    up = Affine(
        _padded(torch.cat([layer.up.weight.double(), functions]), 0, spare),
        _padded(layer.up.bias, 4),
    )
    down = _with_rows(layer.down, mean + held[:, None] * tilt, inputs=4)
    once = torch.ones_like(held)
    down.weight[-spare:, -4:] = torch.stack([once, -once, held, -held], 1)
    return up, down


def _reading_means(layer: PostNormLayer, width: int) -> PostNormLayer:
    """The first layer, which reads the others' mean from the spare coordinates: there it isn't
    rounded as much as in the others, which the norm of the embeddings shifts together."""

    def reading(product: Affine) -> Affine:
        weight = product.weight.clone()
        sums = weight[:, :width].sum(1, keepdim=True)
        weight[:, :width] -= sums / width
        weight[:, width:] = sums / (weight.shape[1] - width)
        return Affine(weight, product.bias)

    return replace(
        layer,
        query=reading(layer.query),
        key=reading(layer.key),
        value=reading(layer.value),
    )


def _with_head(product: Affine, spare: int) -> Affine:
    """A product with one head more, whose outputs are 0."""
    return Affine(_padded(product.weight, spare, spare), _padded(product.bias, spare))


def _with_rows(product: Affine, functions: Tensor, *, inputs: int) -> Affine:
    """A product with rows for linear ``functions`` of its outputs, and with inputs of weight 0."""
    weight, bias = product.weight.double(), product.bias.double()
    rows = torch.cat([weight, functions @ weight])
    return Affine(_padded(rows, 0, inputs), torch.cat([bias, functions @ bias]))


def _padded(tensor: Tensor, rows: int, columns: int = 0) -> Tensor:
    """A tensor in float64, with zeros after its rows, and after its columns if it has any."""
    shape = [tensor.shape[0] + rows, *(n + columns for n in tensor.shape[1:])]
    found = torch.zeros(shape, dtype=torch.float64)
    found[tuple(slice(n) for n in tensor.shape)] = tensor
    return found
