"""Draws the README's chart from the results of the speed benchmarks.

python -m benchmarks.training.train_speed DATA CHINESE_VOCABULARY --shape starter --json t.json
python -m benchmarks.inference.inference_speed DATA --work WORK --shape starter --json i.json
python -m benchmarks.support.speed_chart t.json i.json docs/images/speed.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

OURS, THEIRS = "#3f51b5", "#b0b4c0"
INK = "#57606a"
"""Readable on white and on GitHub's dark background."""
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": INK,
    "svg.hashsalt": "onelayer",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
}
"""Settings that all charts of the README share."""
Record = Mapping[str, Any]


def main() -> None:
    training, inference, out = map(Path, sys.argv[1:])
    trained = json.loads(training.read_text(encoding="utf-8"))
    answered = json.loads(inference.read_text(encoding="utf-8"))
    plt.rcParams |= STYLE
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 2.5), layout="constrained")
    draw(left, "Fine-tuning: tokens a second", training_bars(trained["results"]))
    draw(right, "Inference in int8: tokens a second", inference_bars(answered))
    figure.savefig(out, transparent=True, metadata={"Date": None})
    print(f"{out}: {trained['machine']}")


def training_bars(results: Sequence[Record]) -> dict[str, float]:
    """Speeds as multiples of the Trainer as people run it, geometric means over the data sets."""
    sides = {
        "onelayer": "onelayer",
        "Trainer at its best": "Trainer, group_by_length",
        "Trainer": "transformers' Trainer",
    }
    return bars(sides, [each["contestants"] for each in results], lambda side: side["rounds"])


def inference_bars(results: Sequence[Record]) -> dict[str, float]:
    """Speeds as multiples of transformers' pipeline, geometric means over the sets of rows."""
    sides = {
        "onelayer": "onelayer",
        "OpenVINO int8": "OpenVINO",
        "CTranslate2 int8": "CTranslate2",
        "ONNX Runtime int8": "ONNX Runtime",
        "pipeline": "transformers' pipeline",
    }
    return bars(sides, [each["turns"] for each in results], lambda rounds: rounds)


def bars(
    sides: Mapping[str, str],
    results: Sequence[Mapping[str, Any]],
    rounds_of: Callable[[Any], Sequence[Record]],
) -> dict[str, float]:
    """Each side's rate as a multiple of the last side's, by label."""
    *_, last = sides
    found = {}
    for name, label in sides.items():
        ratios = [
            rate(rounds_of(each[name])) / rate(rounds_of(each[last]))
            for each in results
            if name in each and last in each
        ]
        if ratios:
            found[label] = geometric_mean(ratios)
    return found


def rate(rounds: Sequence[Record]) -> float:
    """Tokens a second: the median of the rounds."""
    return median(each["tokens"] / each["seconds"] for each in rounds)


def draw(axes: Any, title: str, values: Mapping[str, float]) -> None:
    """Horizontal bars, the longest on top, each with its multiple."""
    labels = sorted(values, key=lambda label: -values[label])
    colours = [OURS if label == "onelayer" else THEIRS for label in labels]
    axes.barh(labels, [values[label] for label in labels], color=colours, height=0.66)
    for label in labels:
        axes.annotate(
            f"{values[label]:.1f}×",
            (values[label], label),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold" if label == "onelayer" else "normal",
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(values.values()))
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")


if __name__ == "__main__":
    main()
