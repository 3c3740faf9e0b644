"""How many wrong labels does ``onelayer inspect FILE --with RUN`` find? Some labels of a public
set, chosen by a seed, are made wrong on purpose. Then the file is inspected as a user would do it.

    python -m benchmarks.quality.label_errors DATA [--rows 1000] [--folds 3] [--unseen] [--seeds 1]

DATA holds ``sst2_sentences`` and ``wnut17`` in their owners' formats. A row counts as wrong if one
of its labels was made wrong. Errors that were already in the sets count as false alarms. By
default the file is cross-validated with the recipe of a run on it; with ``--unseen`` a run on clean
training rows judges the dev file, which it has not seen.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import onelayer
from onelayer.inspection.label_errors import wrong_labels
from onelayer.recipe import Columns
from onelayer.training.progress import Silent

Flip = Callable[[Path, Path, int, float, int], tuple[set[int], int]]


def flip_sentences(
    source: Path, target: Path, n: int, share: float, seed: int
) -> tuple[set[int], int]:
    """Writes a slice in which this share of the labels is flipped. Returns the lines of those rows,
    and the number of rows."""
    rng = random.Random(seed)
    lines = source.read_text(encoding="utf-8").splitlines()
    lines = rng.sample(lines, min(n, len(lines)))
    n = len(lines)
    wrong = set(rng.sample(range(n), round(share * n)))
    with target.open("w", encoding="utf-8") as file:
        for i, line in enumerate(lines):
            text, label = line.rsplit("\t", 1)
            file.write(f"{text}\t{1 - int(label) if i in wrong else label}\n")
    return {i + 1 for i in wrong}, n


def flip_entities(
    source: Path, target: Path, n: int, share: float, seed: int
) -> tuple[set[int], int]:
    """Writes a slice in which this share of the entities alternately gets another type or is no
    longer marked."""
    rng = random.Random(seed)
    lines = source.read_text(encoding="utf-8").splitlines()
    groups = (
        list(group) for blank, group in groupby(lines, lambda line: not line.strip()) if not blank
    )
    sentences = [[line.split("\t") for line in group] for group in groups]
    sentences = rng.sample(sentences, min(n, len(sentences)))
    types = sorted({tag[2:] for sentence in sentences for _, tag in sentence if tag != "O"})
    begins = [
        (s, w)
        for s, sentence in enumerate(sentences)
        for w, (_, tag) in enumerate(sentence)
        if tag.startswith("B-")
    ]
    wrong = set()
    for turn, (s, w) in enumerate(rng.sample(begins, round(share * len(begins)))):
        old = sentences[s][w][1][2:]
        new = rng.choice([type_ for type_ in types if type_ != old])
        end = w + 1
        while end < len(sentences[s]) and sentences[s][end][1] == f"I-{old}":
            end += 1
        for at in range(w, end):
            prefix = sentences[s][at][1][:2]
            sentences[s][at][1] = prefix + new if turn % 2 else "O"
        wrong.add(s)
    places, line = set(), 1
    with target.open("w", encoding="utf-8") as file:
        for s, sentence in enumerate(sentences):
            if s in wrong:
                places.add(line)
            file.writelines(f"{word}\t{tag}\n" for word, tag in sentence)
            file.write("\n")
            line += len(sentence) + 1
    return places, len(sentences)


SETS: dict[str, tuple[str, str, Flip, dict[str, float]]] = {
    "sst2_sentences": ("train.tsv", "dev.tsv", flip_sentences, {"epochs": 2, "lr": 1e-4}),
    "wnut17": (
        "wnut17train.conll",
        "emerging.dev.conll",
        flip_entities,
        {"epochs": 3, "lr": 3e-4},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--flip", type=float, default=0.1)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--unseen", action="store_true")
    parser.add_argument("--only", default=",".join(SETS))
    arguments = parser.parse_args()
    print("| set | seed | rows | made wrong | listed | precision | of the first 20 | recall |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in arguments.only.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            print(f"| {name} | {seed} | {measured(name, seed, arguments)} |", flush=True)


def measured(name: str, seed: int, arguments: argparse.Namespace) -> str:
    train, dev, flip, recipe = SETS[name]
    data = arguments.data / name
    with tempfile.TemporaryDirectory() as folder:
        learned, run = Path(folder, train), Path(folder, "run")
        flipped = 0.0 if arguments.unseen else arguments.flip
        wrong, n = flip(data / train, learned, arguments.rows, flipped, seed)
        onelayer.finetune(learned, out=run, seed=seed, **recipe)
        file = learned
        if arguments.unseen:
            file = Path(folder, dev)
            wrong, n = flip(data / dev, file, arguments.rows, arguments.flip, seed)
        found = wrong_labels(file, run, Columns(), folds=arguments.folds, reporter=Silent())
    hits = [row.line in wrong for row in found.suspects]
    right = sum(hits)
    precision, recall = right / max(len(hits), 1), right / len(wrong)
    by_chance = f"(by chance {len(wrong) / n:.2f})"
    counts = f"{n:,} | {len(wrong):,} | {len(hits):,}"
    return f"{counts} | {precision:.2f} {by_chance} | {sum(hits[:20])} | {recall:.2f}"


if __name__ == "__main__":
    main()
