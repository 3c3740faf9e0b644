"""Reads the pretrained BERTs of *Dive into Deep Learning*: a folder with ``pretrained.params``,
torch's state dict, and ``vocab.json``, the list of its words.

Source: https://d2l.ai, the chapters on BERT and on fine-tuning it for natural language inference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from onelayer.base.errors import CheckpointError, Place, UsageError
from onelayer.base.model_files import find, read_json_value
from onelayer.checkpoint.weight_files import read_pickle
from onelayer.converting.post_norm import Affine, PostNormEncoder, PostNormLayer

WEIGHTS = "pretrained.params"
VOCABULARY = "vocab.json"
SPECIALS = {"cls": "<cls>", "sep": "<sep>", "pad": "<pad>", "unk": "<unk>"}
"""The special tokens that fine-tuning needs, by role."""
HEAD_WIDTH = 64
"""The width of a head in all models of the book. A state dict doesn't tell it."""
NORM_EPS = 1e-5
"""torch's default."""
PRETRAINING = ("mlm.", "nsp.")
"""Beginnings of the names of tensors that only pretraining used."""
TABLES = {
    "words": "encoder.token_embedding.weight",
    "segments": "encoder.segment_embedding.weight",
    "positions": "encoder.pos_embedding",
}
LAYER = {
    "query": "attention.W_q",
    "key": "attention.W_k",
    "value": "attention.W_v",
    "output": "attention.W_o",
    "attention_norm": "addnorm1.ln",
    "up": "ffn.dense1",
    "down": "ffn.dense2",
    "norm": "addnorm2.ln",
}
"""The parts of a layer, by our names; a product of attention may have no bias."""
POOLER = "hidden.0"

_LAYER_NUMBER = re.compile(r"encoder\.blks\.(\d{1,4})\.")
_PARALLEL = "module."  # torch's DataParallel writes it before each name


@dataclass(frozen=True, slots=True)
class BookCheckpoint:
    """A pretrained model of the book."""

    encoder: PostNormEncoder
    words: tuple[str, ...]
    """The vocabulary; a word's position is its id."""
    left_out: int
    """Tensors that only pretraining used."""


def read_book(folder: Path, heads: int | None) -> BookCheckpoint:
    """Reads a folder of the book.

    Parameters
    ----------
    folder
        The folder.
    heads
        The number of attention heads; by default each is 64 wide.

    Raises
    ------
    CheckpointError
        For files that are missing, damaged or of another model.
    UsageError
        For a number of heads that doesn't fit.
    """
    place = _needed(folder, WEIGHTS)
    words = _words(_needed(folder, VOCABULARY))
    state = _State(_tensors_in(place), place)
    encoder = _encoder(state, heads)
    left_out = state.finish()
    if len(encoder.words) != len(words):
        raise CheckpointError(
            f"{len(words):,} words, and {WEIGHTS} has vectors for {len(encoder.words):,}",
            place=Place(folder / VOCABULARY),
            hint="take both files from one model",
        )
    return BookCheckpoint(encoder, words, left_out)


def _needed(folder: Path, name: str) -> Path:
    if path := find(folder, name):
        return path
    raise CheckpointError(
        f"holds no {name}",
        place=Place(folder),
        hint="d2l.ai's bert.small.torch and bert.base.torch hold pretrained.params and vocab.json",
    )


def _tensors_in(path: Path) -> dict[str, Tensor]:
    try:
        return read_pickle(path)
    except CheckpointError as error:
        if not error.message.startswith("holds"):
            raise
        # The file of the book's MXNet version has the same name.
        hint = "take bert.small.torch, or write your own with torch.save(net.state_dict(), PATH)"
        raise CheckpointError(error.message, place=error.place, hint=hint) from error


def _words(path: Path) -> tuple[str, ...]:
    """The vocabulary: a list of words, an object with it as ``idx_to_token``, or an object with
    each word's id."""
    value = read_json_value(path)
    if isinstance(value, dict):
        value = value.get("idx_to_token", value)
    if isinstance(value, dict):
        by_id = {number: word for word, number in value.items() if type(number) is int}
        value = [by_id.get(i) for i in range(len(value))]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise CheckpointError("no list of words", place=Place(path))
    word, count = Counter(value).most_common(1)[0] if value else ("", 0)
    if count > 1:
        raise CheckpointError(f"has {word!r:.80} twice", place=Place(path))
    if lost := [token for token in SPECIALS.values() if token not in value]:
        raise CheckpointError(f"has no {lost[0]}", place=Place(path))
    return tuple(value)


class _State:
    """The tensors of a state dict. Each is checked when it is taken."""

    def __init__(self, tensors: Mapping[str, Tensor], place: Path) -> None:
        self.left = {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
        self.place = place

    def has(self, name: str) -> bool:
        return name in self.left

    def error(self, message: str) -> CheckpointError:
        hint = "is it the PyTorch version of the book's BERT?"
        return CheckpointError(message, place=Place(self.place), hint=hint)

    def take(self, name: str, *shape: int | None) -> Tensor:
        """A tensor in float64; None in ``shape`` stands for any size."""
        if (tensor := self.left.pop(name, None)) is None:
            raise self.error(f"{name} is missing")
        fits = tensor.dim() == len(shape) and all(
            size > 0 and size == (wanted or size)
            for size, wanted in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            found = "×".join(map(str, tensor.shape)) or "a single number"
            wanted = "×".join("any" if size is None else str(size) for size in shape)
            raise self.error(f"{name} is {found}, and must be {wanted}")
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise self.error(f"{name} holds other things than finite numbers")
        return tensor.double()

    def product(self, name: str, outputs: int | None, inputs: int, *, bias: bool = True) -> Affine:
        """A linear layer; with zeros where it may lack its bias, and does."""
        weight = self.take(f"{name}.weight", outputs, inputs)
        if not bias and not self.has(f"{name}.bias"):
            return Affine(weight, weight.new_zeros(len(weight)))
        return Affine(weight, self.take(f"{name}.bias", len(weight)))

    def finish(self) -> int:
        """The number of tensors that only pretraining used. Raises CheckpointError for others that
        are left."""
        if odd := sorted(name for name in self.left if not name.startswith(PRETRAINING)):
            raise self.error(f"has {odd[0]}, which the book's BERT has not")
        return len(self.left)


def _encoder(state: _State, heads: int | None) -> PostNormEncoder:
    words = state.take(TABLES["words"], None, None)
    width = words.shape[1]
    numbers = {int(match[1]) for name in state.left if (match := _LAYER_NUMBER.match(name))}
    if numbers != set(range(len(numbers))) or not numbers:
        raise state.error("has no layers that count from 0" if numbers else "has no layers")
    return PostNormEncoder(
        words=words,
        segments=state.take(TABLES["segments"], 2, width),
        positions=state.take(TABLES["positions"], 1, None, width)[0],
        embedding_norm=None,
        layers=[_layer(state, f"encoder.blks.{i}", width) for i in range(len(numbers))],
        pooler=state.product(POOLER, width, width),
        heads=_heads(width, heads),
        norm_eps=NORM_EPS,
    )


def _layer(state: _State, name: str, width: int) -> PostNormLayer:
    named = {ours: f"{name}.{theirs}" for ours, theirs in LAYER.items()}
    up = state.product(named["up"], None, width)
    inner = len(up.bias)

    def attention(part: str) -> Affine:
        return state.product(named[part], width, width, bias=False)

    def norm(part: str) -> Affine:
        weight = state.take(f"{named[part]}.weight", width)
        return Affine(weight, state.take(f"{named[part]}.bias", width))

    return PostNormLayer(
        query=attention("query"),
        key=attention("key"),
        value=attention("value"),
        output=attention("output"),
        attention_norm=norm("attention_norm"),
        up=up,
        down=state.product(named["down"], width, inner),
        norm=norm("norm"),
    )


def _heads(width: int, asked: int | None) -> int:
    if asked is None and width % HEAD_WIDTH:
        raise UsageError(
            f"can't tell the number of attention heads: {width} is no multiple of {HEAD_WIDTH}",
            hint="give it with --heads N",
        )
    heads = width // HEAD_WIDTH if asked is None else asked
    if heads < 1 or width % heads or width // heads < 2:
        raise UsageError(f"--heads {heads} doesn't divide the width of {width} into heads")
    return heads
