"""Are kernels compiled for this very machine quicker than those that a wheel brings?

    python -m benchmarks.training.kernel_speed
    python -m benchmarks.training.kernel_speed --shape starter --seconds 60

A step of training (forward, backward, optimizer) of random sequences with the kernels of each
build, in turns. A figure is the least CPU time of a step, all threads together.
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.support.machine import machine
from onelayer.base.compiled_code import compiler, machine_name, open_library
from onelayer.base.machine import instructions
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import BERTS_POOLER
from onelayer.nn import kernels
from onelayer.nn.heads import HEADS
from onelayer.nn.kernel_builds import BUILDS, kernel_code
from onelayer.nn.model import Model
from onelayer.nn.packed import pack
from onelayer.tokens.encodings import EncodingsBuilder
from onelayer.training.optimizer import adamw

SHAPES = {"starter": (6, 384, 12), "base": (12, 768, 12)}
"""Layers, width and heads."""
TEXTS = {"sentences": (8.3, 3, 66), "pairs": (23, 20, 240)}
"""Lengths are drawn from a gamma distribution of shape 3: its scale, the minimum and maximum."""
SEQUENCES, WORDS = 32, 30_000


Builds = dict[str, ctypes.CDLL | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shape", default=",".join(SHAPES), help="separated by commas")
    parser.add_argument("--seconds", type=float, default=30, help="for each line of the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        builds = build_all(Path(folder))
        print("| shape | texts |", *(f"{name}, ms (ratio) |" for name in builds))
        print("|---|---|" + "---|" * len(builds))
        for shape in arguments.shape.split(","):
            for texts in TEXTS:
                best = turns(shape, texts, builds, arguments.seconds)
                cells = (
                    f"{1000 * each:.0f} ({each / best['native']:.2f}) |" for each in best.values()
                )
                print(f"| {shape} | {texts} |", *cells, flush=True)
    print("\n" + machine())


def build_all(folder: Path) -> Builds:
    """The kernels for this machine alone, those of a wheel that it can run, and PyTorch alone."""
    command = compiler()
    if command is None:
        raise SystemExit("no C compiler: install gcc")
    flags = {"native": "-march=native"}
    for name, (flag, sets) in BUILDS.get(machine_name(), {}).items():
        if sets <= instructions():
            flags[name] = flag
    found: Builds = {}
    for name, flag in flags.items():
        path = folder / f"{name}.so"
        kernel_code(flag).build(command, path)
        found[name] = kernels.declare(open_library(path, ()))
    found["PyTorch"] = None
    return found


def step_of(shape: str, texts: str) -> Callable[[], None]:
    """A step of training on one batch, the same one each time."""
    layers, width, heads = SHAPES[shape]
    config = EncoderConfig(
        model_type="bert",
        vocab_size=WORDS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    scale, least, most = TEXTS[texts]
    builder = EncodingsBuilder()
    for _ in range(SEQUENCES):
        length = int(np.clip(random.gamma(3, scale), least, most))
        builder.start_row()
        builder.add(random.integers(0, WORDS, length).tolist(), length, (0,))
    batch = pack(builder.build(examples_are_rows=True), np.arange(SEQUENCES))
    model = Model(
        config, HEADS["label"], pooler_shape=BERTS_POOLER, n_outputs=2, head_dropout=0.1
    ).train()
    optimizer = adamw(model, lr=1e-5, weight_decay=0.01)

    def step() -> None:
        optimizer.apply_missed_steps(batch.ids_T)
        model(batch).square().sum().backward()
        optimizer.step(1.0)

    return step


def turns(shape: str, texts: str, builds: Builds, seconds: float) -> dict[str, float]:
    """The least CPU time of a step with each build, measured in turns."""
    steps = {}
    for name, library in builds.items():
        use(library)
        steps[name] = step_of(shape, texts)
    best = dict.fromkeys(builds, np.inf)
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        for name, library in builds.items():
            use(library)
            before = time.process_time()
            steps[name]()
            best[name] = min(best[name], time.process_time() - before)
    return best


def use(library: ctypes.CDLL | None) -> None:
    """Makes this library the one that every operation finds; None is PyTorch alone."""
    kernels._loaded = lambda: (library, None)  # type: ignore[assignment]


if __name__ == "__main__":
    main()
