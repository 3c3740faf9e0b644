"""How long does one sentence take in process, from text to label, one at a time?

    python -m benchmarks.inference.one_sentence BUNDLE TEXTS

BUNDLE is an int8 bundle, TEXTS a file with a text a line. Three sides take turns: the C++ library
from text to prediction; Python's encode and decode around the same engine, as it was before; and
the engine alone, on encoded texts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.machine import machine
from onelayer.engines.native.native_engine import NativeEngine
from onelayer.prediction.load import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("texts", type=Path, metavar="TEXTS")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    model = load(arguments.bundle, "native")
    task, tokenizer, whole = model.task, model.tokenizer, model.row_model()
    if whole is None or not isinstance(model.engine, NativeEngine):
        raise SystemExit("the C++ library doesn't have this model")
    lines = arguments.texts.read_text(encoding="utf-8").splitlines()[:200]
    rows = [model.row_of(line, number) for number, line in enumerate(lines, 1) if line]
    encoded = [task.encode([row], tokenizer, labelled=False) for row in rows]
    sides: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "library": (lambda row: whole.predict([row]), rows),
        "Python around the engine": (lambda row: task.decode(*model.run_rows([row])), rows),
        "engine alone": (model.engine.logits, encoded),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.rounds + 1):
        for name, (run, items) in sides.items():
            started = time.perf_counter()
            for item in items:
                run(item)
            seconds[name].append((time.perf_counter() - started) / len(items))
    tokens = np.mean([len(each.ids) for each in encoded])
    print(f"{len(rows)} texts of {tokens:.0f} tokens, {model.engine.instructions}\n")
    print("| | best, ms | median, ms | best / Python |")
    print("|---|---|---|---|")
    best = {name: min(each[1:]) for name, each in seconds.items()}  # the first round warms up
    for name, each in seconds.items():
        ratio = best[name] / best["Python around the engine"]
        print(
            f"| {name} | {1e3 * best[name]:.3f} | {1e3 * np.median(each[1:]):.3f} | {ratio:.2f} |"
        )
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
