"""A checkpoint of a smaller width: all vectors are projected onto fewer coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from onelayer.checkpoint.mean_layer import takes_mean
from onelayer.checkpoint.read import Checkpoint


def can_be_narrower(checkpoint: Checkpoint) -> bool:
    """Whether it is made of the parts that `with_width` knows: those of BERT, RoBERTa, DistilBERT
    and MPNet."""
    bricks = checkpoint.config.bricks
    plain = bricks.embedding_size is None and bricks.own_layers is None and not bricks.rotations
    return plain and bricks.disentangled is None and not bricks.pre_norm and not bricks.gated


def with_width(checkpoint: Checkpoint, basis_DW: Tensor, heads: Sequence[int]) -> Checkpoint:
    """The checkpoint with all vectors in the coordinates of a basis, and with some of its heads.

    A norm takes mean and deviation over fewer coordinates then, so that its weights mean something
    else: they are 1 and 0, for the caller to fit.

    Parameters
    ----------
    checkpoint
        One that `can_be_narrower`.
    basis_DW
        Orthonormal columns: what is left of the width.
    heads
        The numbers of the heads that stay, in every layer. Together they are as wide as the basis.
    """
    width = basis_DW.shape[1]
    head_width = checkpoint.config.hidden_size // checkpoint.config.num_attention_heads
    rows = torch.cat([torch.arange(head_width) + head_width * head for head in heads])

    def narrow(name: str, tensor: Tensor) -> Tensor:
        if name == "distances.weight":  # (buckets, heads)
            return tensor[:, list(heads)]
        if ".qkv." in name:
            own = torch.cat([part[rows] for part in tensor.chunk(3)])
            return own @ basis_DW if own.dim() == 2 else own
        if "norm." in name:
            return torch.ones(width) if name.endswith("weight") else torch.zeros(width)
        if ".attention.output." in name:
            tensor = tensor[:, rows] if tensor.dim() == 2 else tensor
            return basis_DW.T @ tensor
        if ".down." in name:
            return basis_DW.T @ tensor
        if name.endswith(".up.bias"):
            return tensor
        return tensor @ basis_DW  # the embeddings, and the first product of a feed-forward half

    def narrow_pooler(tensor: Tensor) -> Tensor:
        own = basis_DW.T @ tensor
        return own @ basis_DW if own.dim() == 2 else own

    head = dict(checkpoint.head)
    if head:
        head["head.weight"] = (head["head.weight"] @ basis_DW).contiguous()
    encoder = {name: narrow(name, x).contiguous() for name, x in checkpoint.encoder.items()}
    for number in range(checkpoint.config.num_hidden_layers):
        if takes_mean(checkpoint, number):
            encoder |= _mean(checkpoint.encoder, f"layers.{number}.attention.", basis_DW)
    config = replace(checkpoint.config, hidden_size=width, num_attention_heads=len(heads))
    return replace(
        checkpoint,
        config=config,
        encoder=encoder,
        poolers={
            pooler: {name: narrow_pooler(x).contiguous() for name, x in tensors.items()}
            for pooler, tensors in checkpoint.poolers.items()
        },
        head=head,
    )


def _mean(encoder: Mapping[str, Tensor], layer: str, basis_DW: Tensor) -> dict[str, Tensor]:
    """The values and the output of a layer that takes the mean of all tokens. Its heads attend
    alike, so it has one product of output and values, and the heads that stay can hold all that is
    left of it, not only their own part."""
    width = basis_DW.shape[1]
    values_DD = encoder[layer + "qkv.weight"].chunk(3)[2]
    output_DD = encoder[layer + "output.weight"]
    product_WW = basis_DW.T @ (output_DD @ values_DD) @ basis_DW
    # Shared out evenly, so that a step of the optimizer moves values and output alike.
    root = (product_WW.norm() / width**0.5).sqrt()
    narrow = {
        "qkv.weight": torch.cat([torch.zeros(2 * width, width), root * torch.eye(width)]),
        "output.weight": (product_WW / root).contiguous(),
    }
    if (bias := encoder.get(layer + "qkv.bias")) is not None:
        constant_D = output_DD @ bias.chunk(3)[2] + encoder[layer + "output.bias"]
        narrow |= {"qkv.bias": torch.zeros(3 * width), "output.bias": basis_DW.T @ constant_D}
    return {layer + name: tensor for name, tensor in narrow.items()}
