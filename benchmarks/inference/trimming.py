"""What does a trimmed vocabulary save, and what does it cost on texts that nobody has seen?

    python -m benchmarks.inference.trimming DATA
    python -m benchmarks.inference.trimming DATA --sets chnsenticorp --rows 2000 --test-rows 1200
    python -m benchmarks.inference.trimming DATA --counts

DATA is the folder of all sets. A slice of each set is trained with ``onelayer.finetune`` and no
other choice, so Chinese sets get the multilingual model. The run is exported in 8 bits with its
whole vocabulary and with a trimmed one, and in fp32 with a trimmed one. All three answer test rows
that neither training nor trimming has seen; the run in torch is the measure of changed answers.
``--counts`` trains nothing: it counts the pieces that other numbers of rows would keep, and the
test rows and their pieces that would be cut otherwise.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import onelayer
from benchmarks.support.few_sets import SETS, Parts, Row, Size, draw
from benchmarks.support.machine import machine
from onelayer.base.result import text_table
from onelayer.checkpoint.read import describe
from onelayer.checkpoint.source import resolve
from onelayer.tokens.trimming import trimmed

COUNTED = (450, 2000, 10_000)
EXPORTS: dict[str, dict[str, bool]] = {
    "int8": {"int8": True},
    "int8, trimmed": {"int8": True, "trim_vocabulary": True},
    "fp32, trimmed": {"trim_vocabulary": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of all sets")
    parser.add_argument("--sets", default="tnews,chnsenticorp", help="names, comma-separated")
    parser.add_argument("--rows", type=int, default=500, help="rows to train on")
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--counts", action="store_true", help="only count pieces")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    arguments = parser.parse_args()
    print(machine())
    for few_set in SETS:
        if few_set.name not in arguments.sets.split(","):
            continue
        if arguments.counts:
            parts = few_set.load(arguments.data)
            print(f"\n{few_set.name}, {arguments.test_rows:,} test rows")
            print(text_table(counted(parts, arguments.seed, arguments.test_rows)))
            continue
        parts, size = few_set.load(arguments.data), Size(arguments.rows)
        drawn = draw(few_set, parts, size, arguments.seed, arguments.test_rows)
        assert drawn is not None, f"{few_set.name} has fewer rows"
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n{few_set.name}, {arguments.rows:,} rows")
            print(text_table(measured(drawn.train, drawn.test, Path(folder))))


def counted(parts: Parts, seed: int, n_test: int) -> list[list[str]]:
    """What the multilingual vocabulary keeps for some numbers of rows, and what test rows lose."""
    tokenizer = describe(resolve("multilingual")).tokenizer
    train, test = (list(part) for part in parts)
    random.Random(seed).shuffle(train)
    random.Random(0).shuffle(test)
    whole = tokenizer.pieces([row.text for row in test[:n_test]]).ids
    own = [set(one.ids) for one in tokenizer.encode([row.text for row in test[:n_test]])]
    table = [["rows", "pieces", "test rows cut otherwise", "their pieces that are gone"]]
    for n in (*(n for n in COUNTED if n < len(train)), len(train)):
        used = tokenizer.pieces([row.text for row in train[:n]]).ids
        kept = set(trimmed(tokenizer, np.unique(used).tolist()).kept.tolist())
        rows = sum(not ids <= kept for ids in own) / len(own)
        gone = 1 - np.isin(whole, list(kept)).mean()
        table.append([f"{n:,}", f"{len(kept):,}", f"{rows:.1%}", f"{gone:.2%}"])
    return table


def measured(train: Sequence[Row], test: Sequence[Row], folder: Path) -> list[list[str]]:
    """Trains, exports, and answers the test rows with each form of the model."""
    for name, rows in (("train.csv", train), ("test.csv", test)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(
                [("text", "label"), *((row.text, row.label) for row in rows)]
            )
    run = folder / "run"
    onelayer.finetune(folder / "train.csv", out=run)
    texts, gold = [row.text for row in test], [row.label for row in test]
    answers = [one.label for one in onelayer.load(run).predict(texts)]
    pieces = describe(run).config.vocab_size
    size = sum(file.stat().st_size for file in run.glob("*.safetensors"))
    table = [["", "MB", "pieces", "accuracy", "changed", "texts/s", "one text, ms"]]
    right = sum(map(str.__eq__, answers, map(str, gold))) / len(gold)
    table.append(["torch", f"{size / 1e6:.1f}", f"{pieces:,}", f"{right:.4f}", "", "", ""])
    for name, choices in EXPORTS.items():
        found = onelayer.export(run, out=folder / name, accept=True, **choices, say=print).found
        own = [one.label for one in onelayer.load(folder / name).predict(texts)]
        changed = sum(map(str.__ne__, own, answers))
        right = sum(map(str.__eq__, own, map(str, gold))) / len(gold)
        kept = found.vocabulary.pieces if found.vocabulary else pieces
        assert found.speed is not None
        fastest = max(
            (one for engine, one in found.speed.items() if engine != "torch"),
            key=lambda one: one.texts_per_second,
        )
        table.append(
            [
                name,
                f"{found.bytes.bundle / 1e6:.1f}",
                f"{kept:,}",
                f"{right:.4f}",
                f"{changed} of {len(texts):,}",
                f"{fastest.texts_per_second:,.0f}",
                f"{fastest.latency_ms:.1f}",
            ]
        )
    return table


if __name__ == "__main__":
    main()
