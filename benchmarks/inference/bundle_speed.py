"""How long does a text take in each of several int8 bundles, from text to answer, on one thread?

    python -m benchmarks.inference.bundle_speed TEXTS BUNDLE...
    python -m benchmarks.inference.bundle_speed TEXTS BUNDLE --instructions amx,avx512bf16

TEXTS is a tsv of texts and perhaps labels, whose first line names the columns. Each BUNDLE is an
int8 bundle, such as those of ``onelayer shrink``. They take turns on the same texts: all in a call,
a text a call, and the engine alone on encoded texts. Times are the thread's CPU time, the best of
all rounds. With ``--instructions`` each bundle runs with each of those sets.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.support.machine import machine
from onelayer.prediction.load import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("texts", type=Path, metavar="TEXTS")
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--instructions", help="sets, separated by commas; default: the fastest")
    arguments = parser.parse_args()
    lines = arguments.texts.read_text(encoding="utf-8").splitlines()
    texts = [text for line in lines if (text := line.partition("\t")[0].strip())]
    texts = texts[1 : arguments.rows + 1]
    named = arguments.instructions.split(",") if arguments.instructions else [""]
    asked = [(bundle, name) for bundle in arguments.bundles for name in named]
    sides = [_ways(bundle, texts, name) for bundle, name in asked]
    best: dict[tuple[int, str], float] = defaultdict(lambda: float("inf"))
    for _ in range(arguments.rounds):
        for i, ways in enumerate(sides):
            for name, run in ways.items():
                started = time.thread_time()
                run()
                took = 1e6 * (time.thread_time() - started) / len(texts)
                best[i, name] = min(best[i, name], took)
    print(f"{len(texts)} texts; microseconds of a thread for each\n")
    names = list(sides[0])
    print(f"| bundle | {' | '.join(names)} | first / this, {names[0]} |")
    print("|---" * (len(names) + 2) + "|")
    for i, (bundle, instructions) in enumerate(asked):
        label = f"{bundle.name}, {instructions}" if instructions else bundle.name
        times = " | ".join(f"{best[i, name]:.1f}" for name in names)
        print(f"| {label} | {times} | {best[0, names[0]] / best[i, names[0]]:.2f} |")
    print(f"\n{machine()}")


def _ways(bundle: Path, texts: list[str], instructions: str) -> dict[str, Callable[[], object]]:
    """What is timed, by name. Raises SystemExit where the C++ library doesn't have the model."""
    if instructions:
        os.environ["ONELAYER_INSTRUCTIONS"] = instructions  # read when an engine is opened
    model = load(bundle, "native", 1)
    if model.row_model() is None:
        raise SystemExit(f"{bundle}: the C++ library doesn't have this model")
    rows = [model.row_of(text, number) for number, text in enumerate(texts, 1)]
    encodings = model.task.encode(rows, model.tokenizer, labelled=False)
    return {
        "all in a call": lambda: model.predict_rows(rows),
        "a text a call": lambda: [model.predict_rows([row]) for row in rows],
        "engine alone": lambda: model.engine.logits(encodings),
    }


if __name__ == "__main__":
    main()
