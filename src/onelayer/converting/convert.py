"""Converts a checkpoint of the book *Dive into Deep Learning* into a Hugging Face directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from onelayer.base.disk import publish, write_json, write_text
from onelayer.base.errors import CheckpointError, Place, UsageError
from onelayer.base.result import Result, Table
from onelayer.converting.d2l_checkpoint import VOCABULARY, WEIGHTS, read_book
from onelayer.converting.d2l_tokenizer import book_tokenizer
from onelayer.converting.post_norm import Affine, PostNormEncoder, PostNormLayer
from onelayer.converting.spare_head import with_spare_head

SEQUENCES, LONGEST = 4, 64
"""The random sequences of tokens on which a conversion is compared, and their length at most."""

_LAYER = "encoder.layer.{i}"
_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}
"""Transformers' names for the parts of a layer."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Converted(Result):
    """A model directory that was written, and how far its vectors are from the original's."""

    out: str
    layers: int
    width: int
    """With ``spare`` coordinates more, the ``hidden_size``."""
    spare: int
    heads: int
    """Without the spare one."""
    words: int
    endings: int
    """Words that may also end other words, with vectors of their own: see the tokenizer."""
    left_out: int
    """Tensors that only pretraining used."""
    difference: float
    """The largest difference of a number in a token's vector, on random sequences."""
    pooled_difference: float
    """That of the pooled vector."""

    def parts(self) -> list[str | Table]:
        return [
            f"saved {self.out}: {self.layers} layers of {self.heads} + 1 heads, "
            f"{self.width} + {self.spare} wide, {self.words:,} words",
            f"largest difference on random sequences: {self.difference:.1e} in the tokens' "
            f"vectors, {self.pooled_difference:.1e} in the pooled one",
            f"left out, as only pretraining used it: {self.left_out} tensors",
        ]


def convert(folder: str | Path, out: str | Path, *, heads: int | None = None) -> Converted:
    """Convert a checkpoint of d2l.ai into a Hugging Face model directory.

    Parameters
    ----------
    folder
        A directory such as ``bert.small.torch``, with ``pretrained.params`` and ``vocab.json``.
    out
        The directory to write, which must be new or empty.
    heads
        The number of attention heads; by default each is 64 wide.

    Returns
    -------
    Converted
        Sizes, and how far the vectors are from the original's.

    Raises
    ------
    CheckpointError
        For files that are missing, damaged or of another model.
    UsageError
        For a directory that is there already, and a number of heads that doesn't fit.
    OneLayerError
        If the directory can't be written.
    """
    source, target = Path(folder), Path(out)
    if source.is_file():
        hint = f"unpack it if it is an archive, and give the folder with {WEIGHTS} and {VOCABULARY}"
        raise CheckpointError("is a file", place=Place(source), hint=hint)
    if not source.is_dir():
        raise CheckpointError("no such directory", place=Place(source))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("is there already", place=Place(target), hint="name a new directory")
    book = read_book(source, heads)
    try:
        made = book_tokenizer(book.words)
    except CheckpointError as error:
        raise CheckpointError(error.message, place=Place(source / VOCABULARY)) from error
    bare = book.encoder
    bare = replace(bare, words=torch.cat([bare.words, bare.words[list(made.endings)]]))
    wide = _in_fp32(with_spare_head(bare))
    difference, pooled = _differences(bare, wide)
    tensors = dict(_tensors(wide))

    def write(staged: Path) -> None:
        write_json(staged / "config.json", _config(wide, made.specials["<pad>"]))
        save_file(tensors, staged / "model.safetensors", metadata={"format": "pt"})
        (staged / "model.safetensors").chmod((staged / "config.json").stat().st_mode)
        made.write(staged, max_length=len(bare.positions))
        write_text(staged / "README.md", _CARD.format(width=bare.width, spare=wide.width))

    publish(target, write)
    return Converted(
        out=str(out),
        layers=len(bare.layers),
        width=bare.width,
        spare=wide.width - bare.width,
        heads=bare.heads,
        words=len(book.words),
        endings=len(made.endings),
        left_out=book.left_out,
        difference=difference,
        pooled_difference=pooled,
    )


def _differences(bare: PostNormEncoder, wide: PostNormEncoder) -> tuple[float, float]:
    """The largest differences of numbers in the tokens' vectors and in the pooled one; what is
    written computes in fp32, and the original in float64."""
    generator = torch.Generator().manual_seed(0)
    length = min(LONGEST, len(bare.positions))
    largest = [0.0, 0.0]
    for _ in range(SEQUENCES):
        ids = torch.randint(len(bare.words), (length,), generator=generator)
        segments = (torch.arange(length) >= length // 2).long()
        pairs = zip(bare.vectors(ids, segments), wide.vectors(ids, segments), strict=True)
        for i, (expected, found) in enumerate(pairs):
            padded = torch.nn.functional.pad(expected, (0, wide.width - bare.width))
            largest[i] = max(largest[i], float((padded - found).abs().max()))
    return largest[0], largest[1]


def _in_fp32(encoder: PostNormEncoder) -> PostNormEncoder:
    def rounded(part: Affine) -> Affine:
        return Affine(part.weight.float(), part.bias.float())

    def rounded_layer(layer: PostNormLayer) -> PostNormLayer:
        return PostNormLayer(**{f.name: rounded(getattr(layer, f.name)) for f in fields(layer)})

    return replace(
        encoder,
        words=encoder.words.float(),
        segments=encoder.segments.float(),
        positions=encoder.positions.float(),
        embedding_norm=encoder.embedding_norm and rounded(encoder.embedding_norm),
        layers=[rounded_layer(layer) for layer in encoder.layers],
        pooler=rounded(encoder.pooler),
    )


def _tensors(encoder: PostNormEncoder) -> Iterator[tuple[str, Tensor]]:
    """The weights under transformers' names."""
    yield "embeddings.word_embeddings.weight", encoder.words
    yield "embeddings.token_type_embeddings.weight", encoder.segments
    yield "embeddings.position_embeddings.weight", encoder.positions
    modules = {"embeddings.LayerNorm": encoder.embedding_norm, "pooler.dense": encoder.pooler}
    for i, layer in enumerate(encoder.layers):
        for ours, theirs in _NAMES.items():
            modules[f"{_LAYER.format(i=i)}.{theirs}"] = getattr(layer, ours)
    for name, part in modules.items():
        assert part is not None, "a converted encoder has a norm on its embeddings"
        yield f"{name}.weight", part.weight.contiguous()
        yield f"{name}.bias", part.bias.contiguous()


def _config(encoder: PostNormEncoder, pad_id: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(encoder.words),
        "hidden_size": encoder.width,
        "num_hidden_layers": len(encoder.layers),
        "num_attention_heads": encoder.heads,
        "intermediate_size": len(encoder.layers[0].up.bias),
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": len(encoder.positions),
        "type_vocab_size": len(encoder.segments),
        "initializer_range": 0.02,
        "layer_norm_eps": encoder.norm_eps,
        "pad_token_id": pad_id,
        "dtype": "float32",
    }


_CARD = """\
# BERT of *Dive into Deep Learning*, converted

The weights are those of the book's `BERTModel` (https://d2l.ai), written as transformers' BERT by
`onelayer convert`. That BERT has a norm on its embeddings and the book's has none. So each vector
has spare numbers after the book's {width}, {spare} in all, which let the norm pass the embeddings
on. In the last layer the spare numbers are 0. The heads that only pretraining used are left out.
"""
