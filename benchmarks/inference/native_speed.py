"""How close to the processor's peak is the native int8 engine? One thread, random weights, texts of
random lengths, no tokenizing.

    python -m benchmarks.inference.native_speed
    python -m benchmarks.inference.native_speed --shape starter --seconds 1

The peak is the rate of the processor's own instructions in a loop that does nothing else:
``vpdpbusd``, 64 multiplications of bytes in one, or without AVX-512 ``vpmaddwd`` and ``vpaddd``, 16
in two. Only needed operations count: those of real tokens, and in the last layer those of the
vectors that are read. All times are the thread's CPU time.
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.support.machine import machine
from benchmarks.training.arithmetic import Shape, needed_operations
from onelayer.base.compiled_code import Code, compiler
from onelayer.checkpoint.config import EncoderConfig
from onelayer.engines.native.native_engine import NativeEngine
from onelayer.engines.native.packed_weights import quantized
from onelayer.tokens.encodings import Encodings, EncodingsBuilder

SHAPES = {"starter": (6, 384, 12), "base": (12, 768, 12)}
"""Layers, width and heads."""
TEXTS = {"sentences": (8.3, 3, 66), "pairs": (23, 20, 240), "windows": (60, 60, 384)}
"""Lengths are drawn from a gamma distribution of shape 3: its scale, the minimum and maximum."""
WORDS = 1000
TOKENS = {"starter": 12_000, "base": 3_000}

PEAK = r"""
#include <immintrin.h>
#include <time.h>
#define N 12
#ifdef __AVX512VNNI__
#define OPERATIONS 128.0
typedef __m512i Vector;
#define SPLAT _mm512_set1_epi32
static inline Vector add_products(Vector sum, Vector x, Vector y)
{
    return _mm512_dpbusd_epi32(sum, x, y);
}
#else
#define OPERATIONS 32.0
typedef __m256i Vector;
#define SPLAT _mm256_set1_epi32
static inline Vector add_products(Vector sum, Vector x, Vector y)
{
    __asm__("" : "+x"(x)); // so that it is multiplied each time
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
}
#endif
double operations_a_second(long rounds)
{
    Vector sums[N], x = SPLAT(0x01020304), y = SPLAT(0x01010101);
    struct timespec from, to;
    for (int i = 0; i < N; i++) sums[i] = SPLAT(i);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (long k = 0; k < rounds; k++) {
        _Pragma("GCC unroll 12") for (int i = 0; i < N; i++)
            sums[i] = add_products(sums[i], x, y);
        __asm__ volatile("" ::"x"(sums[0]));
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    for (int i = 0; i < N; i++) {
        volatile Vector kept = sums[i];
        (void)kept;
    }
    return rounds * N * OPERATIONS / (to.tv_sec - from.tv_sec + 1e-9 * (to.tv_nsec - from.tv_nsec));
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--shape", default=",".join(SHAPES), help="starter, base, or both, separated by commas"
    )
    parser.add_argument("--seconds", type=float, default=3, help="for each line of the table")
    arguments = parser.parse_args()
    print("| shape | texts | mean length | tokens a CPU second | operations | of the peak |")
    print("|---|---|---|---|---|---|")
    for name in arguments.shape.split(","):
        layers, width, heads = SHAPES[name]
        shape = Shape(layers, width, 4 * width)
        for texts, (scale, least, most) in TEXTS.items():
            every = texts == "windows"
            encodings = random_texts(TOKENS[name], scale, least, most, every)
            lengths = encodings.lengths.tolist()
            reads = np.diff(encodings.cu_reads).tolist()
            operations = needed_operations(lengths, reads, shape) / 3  # forward only
            engine = random_engine(layers, width, heads, pooled=not every)
            best, peak = turns(engine, encodings, arguments.seconds)
            rate = operations / best
            print(
                f"| {name} | {texts} | {np.mean(lengths):.0f} | {len(encodings.ids) / best:,.0f} "
                f"| {rate / 1e9:,.0f} G/s | {rate / peak:.0%} |",
                flush=True,
            )
    print(f"\nThe peak was {peak / 1e9:,.0f} G operations a second. {machine()}")


def turns(engine: NativeEngine, encodings: Encodings, seconds: float) -> tuple[float, float]:
    """The least CPU time of a pass, and the highest peak, measured in turns."""
    measure = peak_loop()
    engine.logits(encodings)
    best, peak, started = np.inf, 0.0, time.thread_time()
    while time.thread_time() - started < seconds:
        before = time.thread_time()
        engine.logits(encodings)
        best = min(best, time.thread_time() - before)
        peak = max(peak, measure(1_000_000))
    return best, peak


def peak_loop() -> ctypes._NamedFuncPointer:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "peak.c").write_text(PEAK)
        flags = ("-O3", "-march=native")
        functions = ("operations_a_second",)
        peak = Code(name="peak", folders=(Path(folder),), flags=flags, functions=functions)
        library = peak.load(compiler() or "cc")
    library.operations_a_second.restype = ctypes.c_double
    library.operations_a_second.argtypes = [ctypes.c_long]
    return library.operations_a_second


def random_texts(tokens: int, scale: float, least: int, most: int, every: bool) -> Encodings:
    """Texts of ``tokens`` tokens in total, or a few more. Reads all of them if ``every``, else the
    first of each text."""
    random = np.random.default_rng(0)
    builder = EncodingsBuilder()
    while len(builder.ids) < tokens:
        length = int(np.clip(random.gamma(3, scale), least, most))
        builder.start_row()
        ids = random.integers(0, WORDS, length).tolist()
        builder.add(ids, length, tuple(range(length)) if every else (0,))
    return builder.build(examples_are_rows=True)


def random_engine(layers: int, width: int, heads: int, *, pooled: bool) -> NativeEngine:
    random = np.random.default_rng(0)
    config = EncoderConfig(
        model_type="bert",
        vocab_size=WORDS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.embeddings.word.weight": (WORDS, width),
        "encoder.embeddings.position.weight": (config.max_position_embeddings, width),
        "encoder.embeddings.segment.weight": (2, width),
        "encoder.embeddings.norm.weight": (width,),
        "head.weight": (2, width),
    }
    if pooled:
        shapes["pooler.weight"] = (width, width)
    for i in range(layers):
        shapes |= {
            f"encoder.layers.{i}.{part}.weight": size
            for part, size in (
                ("attention.qkv", (3 * width, width)),
                ("attention.output", (width, width)),
                ("attention.norm", (width,)),
                ("feed_forward.up", (4 * width, width)),
                ("feed_forward.down", (width, 4 * width)),
                ("feed_forward.norm", (width,)),
            )
        }
    tensors = {}
    for name, size in shapes.items():
        tensors[name] = random.normal(size=size, scale=width**-0.5).astype(np.float32)
        if "embeddings" not in name or "norm" in name:
            tensors[name.replace("weight", "bias")] = np.zeros(size[0], dtype=np.float32)
    return NativeEngine(quantized(tensors), config, threads=1)


if __name__ == "__main__":
    main()
