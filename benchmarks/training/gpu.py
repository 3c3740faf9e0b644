"""All about a GPU in one script of at most eight minutes, without a network: is it right, and how
fast is it?

    python -m benchmarks.training.gpu DATA VOCABULARY
    python -m benchmarks.training.gpu DATA VOCABULARY --device cpu --parts parity,predict

DATA holds the data sets ``rte`` and ``squad_dev`` in their owners' formats; VOCABULARY is a folder
with a ``vocab.txt`` or a ``tokenizer.json``. Weights are random, since only sizes count. The parts:

- parity: logits, gradients and losses on the GPU against fp32 on the CPU;
- attention: flash attention for packed sequences, compiled flex attention, padding;
- training: tokens a second against transformers' Trainer, as `train_speed` measures them;
- predict: texts and tokens a second of a model that wasn't exported.

A part that would begin after ``--minutes`` is left out, and named. Fails if the parity fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.training import train_speed
from benchmarks.training.gpu_attention import compare_attention
from benchmarks.training.gpu_parity import compare_with_cpu
from benchmarks.training.gpu_predict import compare_prediction
from benchmarks.training.train_sets import SETS, SpeedSet, random_bert, read_rows
from benchmarks.training.train_table import print_table
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.read import read_checkpoint
from onelayer.recipe import Recipe
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

PARTS = ("parity", "attention", "training", "predict")
RTE, SQUAD = (one for name in ("rte", "squad_dev") for one in SETS if one.name == name)
RUNS = (
    ("base", RTE, 32),
    ("base", SQUAD, 32),
    ("large", SQUAD, 32),
    ("starter", RTE, 32),
    ("base", SQUAD, 256),
)
"""Shape, data set and batch size of each training, the most telling first."""
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
PREDICT_SECONDS = 2.0

Record = dict[str, Any]
Work = Callable[[], object]
"""Measures, prints, and returns what goes into the file of ``--json``."""


def main(words: list[str] | None = None) -> int:
    arguments = parse(words)
    ends = time.monotonic() + 60 * arguments.minutes
    found: Record = {"machine": train_speed.described(options_of(arguments, 32)), "left_out": []}
    print(found["machine"], flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, work in works(arguments, Path(scratch)):
            if time.monotonic() > ends:
                found["left_out"].append(name)
                continue
            started = time.monotonic()
            print(f"\n## {name}\n", flush=True)
            found[name] = work()
            print(f"\n{time.monotonic() - started:.0f} s", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if found["left_out"]:
        print(f"\nNo time was left for: {', '.join(found['left_out'])}.")
    return int(not all(row["is_right"] for row in found.get("parity", [])))


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("vocabulary", type=Path, metavar="VOCABULARY")
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seconds", type=float, default=8, help="for each training, in turns")
    parser.add_argument(
        "--variants",
        nargs="*",
        choices=train_speed.VARIANTS,
        default=[],
        help="train with them too",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args(words)


def works(arguments: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Work]]:
    """The measurements by name, in the order of ``--parts``."""
    for part in arguments.parts.split(","):
        match part:
            case "parity":
                yield part, partial(parity, arguments, scratch)
            case "attention":
                yield part, partial(attention, arguments)
            case "training":
                for shape, speed_set, size in RUNS:
                    name = f"training of {shape} on {speed_set.name} in batches of {size}"
                    yield name, partial(train, arguments, scratch, shape, speed_set, size)
            case "predict":
                for speed_set in (RTE, SQUAD):
                    name = f"predict on {speed_set.name}"
                    yield name, partial(predict, arguments, scratch, speed_set)


def parity(arguments: argparse.Namespace, scratch: Path) -> list[Record]:
    model = random_bert("starter", arguments.vocabulary, scratch, **WITHOUT_DROPOUT)
    print("| way | logits | gradients | losses | allowed | |\n|---|---|---|---|---|---|")
    rows = []
    for row in compare_with_cpu(RTE, arguments.data, model, arguments.device):
        mark = "" if row.is_right else "**wrong**"
        print(
            f"| {row.way} | {row.logits:.1e} | {row.gradients:.1e} | {row.losses:.1e} "
            f"| {row.bound:.0e} | {mark} |",
            flush=True,
        )
        rows.append({**asdict(row), "is_right": row.is_right})
    return rows


def attention(arguments: argparse.Namespace) -> list[Record]:
    """Batches of BERT-Base: 12 heads, 64 wide."""
    print("| data set | sequences | tokens | way | ms a layer | error |\n|---|---|---|---|---|---|")
    rows = []
    for speed_set, size in ((RTE, 32), (SQUAD, 32), (SQUAD, 128)):
        encodings = encoded(speed_set, arguments)[1]
        lengths = encodings.lengths[:size].tolist()
        for found in compare_attention(lengths, 12, 64, arguments.device):
            print(
                f"| {speed_set.name} | {size} | {sum(lengths):,} | {found.way} "
                f"| {found.milliseconds:.3f} | {found.error:.1e} |",
                flush=True,
            )
            rows.append({"set": speed_set.name, "lengths": lengths, **asdict(found)})
    return rows


def train(
    arguments: argparse.Namespace, scratch: Path, shape: str, speed_set: SpeedSet, size: int
) -> Record:
    model = random_bert(shape, arguments.vocabulary, scratch)
    variants = arguments.variants if (shape, speed_set, size) == RUNS[0] else ()
    options = options_of(arguments, size, variants)
    result = train_speed.measure(speed_set, shape, model, options, scratch)
    print_table([result])
    return result


def predict(arguments: argparse.Namespace, scratch: Path, speed_set: SpeedSet) -> list[Record]:
    """BERT-Base: the encoder's part, from token ids to logits."""
    task, encodings = encoded(speed_set, arguments)
    folder = random_bert("base", arguments.vocabulary, scratch, **WITHOUT_DROPOUT)
    model = build_model(read_checkpoint(folder), task).model.to(arguments.device)
    n, tokens = len(encodings.lengths), int(encodings.lengths.sum())
    print("| way | sequences a second | tokens a second | error |\n|---|---|---|---|")
    rows = []
    for found in compare_prediction(model, encodings, PREDICT_SECONDS):
        print(
            f"| {found.way} | {n / found.seconds:,.0f} | {tokens / found.seconds:,.0f} "
            f"| {found.error:.1e} |",
            flush=True,
        )
        rows.append({"sequences": n, "tokens": tokens, **asdict(found)})
    return rows


def encoded(speed_set: SpeedSet, arguments: argparse.Namespace) -> tuple[Any, Encodings]:
    """The task fitted to a set's rows, and the rows."""
    kind, rows = read_rows(speed_set, arguments.data)
    tokenizer = Tokenizer.read(arguments.vocabulary)
    task: Any = kind.fit(
        rows, tokenizer, Recipe(task=speed_set.task, max_length=speed_set.max_length), 512
    )
    return task, task.encode(rows, tokenizer, labelled=True)


def options_of(
    arguments: argparse.Namespace, size: int, variants: Sequence[str] = ()
) -> argparse.Namespace:
    """The options of `train_speed` for one training."""
    words = [str(arguments.data), str(arguments.vocabulary), "--device", arguments.device]
    words += ["--batch-size", str(size), "--seconds", str(arguments.seconds)]
    return train_speed.parse([*words, "--variants", *variants])


if __name__ == "__main__":
    sys.exit(main())
