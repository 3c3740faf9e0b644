"""The encoder's tensors under our names and a family's, with their shapes. A server checks bundles
with it, so it needs no torch.

Letters of shapes: see `Module`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import Family


@dataclass(frozen=True, slots=True)
class Parameter:
    """A weight or a bias of the encoder."""

    ours: str
    theirs: tuple[str, ...]
    """The tensors of transformers whose rows are stacked in ours."""
    letters: str
    """The shape of each of theirs."""

    def their_shape(self, config: EncoderConfig) -> tuple[int, ...]:
        """The shape of each of theirs in a model."""
        sizes = _sizes(config)
        return tuple(sizes[letter] for letter in self.letters)

    def our_shape(self, config: EncoderConfig) -> tuple[int, ...]:
        """The shape of ours in a model."""
        rows, *rest = self.their_shape(config)
        return (len(self.theirs) * rows, *rest)


def parameters_of(config: EncoderConfig) -> Iterator[Parameter]:
    """All that a model has."""
    own_layers = config.bricks.own_layers or config.num_hidden_layers
    yield from family_parameters(config.family, own_layers, config)


def pooler_parameters(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of the dense layer before the output layer under our names, with their shapes, in
    the classes of a family that have one."""
    bricks, width = config.bricks, config.hidden_size
    found: dict[str, tuple[int, ...]] = {"pooler.weight": (width, width)}
    if bricks.head_bias:
        found["pooler.bias"] = (width,)
    if any(one.pooler_norm for one in config.family.classes.values()):
        found["pooler.norm.weight"] = (width,)
        if bricks.norm_bias:
            found["pooler.norm.bias"] = (width,)
    return found


def family_parameters(
    family: Family, own_layers: int, config: EncoderConfig | None = None
) -> Iterator[Parameter]:
    """All that a family can have, or all of one model.

    Parameters
    ----------
    family
        Whose modules.
    own_layers
        The number of layers with weights of their own.
    config
        The model; None for all that its family can have.
    """
    for module in family.modules:
        if config is not None and not module.when(config):
            continue
        bias = module.bias if config is None or module.biased(config) else ""
        for i in range(module.first, own_layers if "{i}" in module.ours else 1):
            for kind, letters in (("weight", module.weight), ("bias", bias)):
                if letters:
                    theirs = tuple(f"{name.format(i=i)}.{kind}" for name in module.theirs)
                    yield Parameter(f"{module.ours.format(i=i)}.{kind}", theirs, letters)


def _sizes(config: EncoderConfig) -> dict[str, int]:
    bricks = config.bricks
    return {
        "V": config.vocab_size,
        "P": config.max_position_embeddings,
        "S": config.type_vocab_size,
        "E": bricks.embedding_size or config.hidden_size,
        "D": config.hidden_size,
        "F": config.intermediate_size,
        "G": 2 * config.intermediate_size,
        "Q": 3 * config.hidden_size,
        "B": 2 * bricks.disentangled.span if bricks.disentangled else bricks.distance_buckets,
        "H": config.num_attention_heads,
        "K": bricks.convolution.kernel if bricks.convolution else 0,
    }
