"""Is the prefix ``query: ``, with which multilingual-e5 was trained, worth its tokens?

    python -m benchmarks.quality.e5_prefix DATA

DATA is the folder of all sets. Texts are embedded as the mean of their token vectors, by the
pretrained model ``multilingual``, with each prefix and with none. Labels are learned by logistic
regression on these vectors, for several strengths of regularization; pairs are scored by the
cosine, which learns nothing.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from benchmarks.support.few_sets import SETS
from onelayer.checkpoint.source import resolve

PREFIXES = ("", "query: ", "passage: ")
ROWS = {"tnews": (1000, 600), "chnsenticorp": (300, 300), "sst2_sentences": (500, 500)}
"""Rows to learn and rows to score; reviews are long."""
PAIRS = {"stsb-zh": 800}
STRENGTHS = (1, 10, 100)
MAX_LENGTH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of all sets")
    arguments = parser.parse_args()
    sets = {one.name: one for one in SETS}
    embed = Embedder(resolve("multilingual", print))
    for name, sizes in ROWS.items():
        parts = [
            random.Random(0).sample(rows, n)
            for rows, n in zip(sets[name].load(arguments.data), sizes, strict=True)
        ]
        labels = [[str(row.label) for row in rows] for rows in parts]
        for prefix in PREFIXES:
            learned, scored = (embed([row.text for row in rows], prefix) for rows in parts)
            models = (LogisticRegression(C=c, max_iter=2000) for c in STRENGTHS)
            scores = [model.fit(learned, labels[0]).score(scored, labels[1]) for model in models]
            print(f"{name:15} {prefix!r:12} accuracy", *(f"{score:.4f}" for score in scores))
    for name, n in PAIRS.items():
        rows = random.Random(0).sample(sets[name].load(arguments.data)[1], n)
        for prefix in PREFIXES:
            a, b = (
                embed([row.text for row in rows], prefix),
                embed([str(row.pair) for row in rows], prefix),
            )
            found = spearmanr((a * b).sum(1), [row.label for row in rows]).statistic
            print(f"{name:15} {prefix!r:12} Spearman {found:.4f}")


class Embedder:
    """Normalized means of token vectors, by transformers."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    def __call__(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = np.empty((len(texts), self.model.config.hidden_size), np.float32)
        for at in range(0, len(order), 32):
            some = order[at : at + 32]
            batch = self.tokenizer(
                [prefix + texts[i] for i in some],
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            )
            mask = batch["attention_mask"][..., None]
            with torch.inference_mode():
                hidden = self.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
            means = (hidden * mask).sum(1) / mask.sum(1)
            vectors[some] = torch.nn.functional.normalize(means, dim=1).numpy()
        return vectors


if __name__ == "__main__":
    main()
