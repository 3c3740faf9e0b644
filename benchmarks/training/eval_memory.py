"""How much memory does scoring a file take, and does it grow with the file?

    python -m benchmarks.training.eval_memory [--rows 10000,200000] [--tasks classify,tag]

For every task a small random BERT is trained briefly and then scores files with these numbers of
rows, written by a seeded generator, each in a process of its own. The figure is the peak of the
anonymous memory (RssAnon, read a hundred times a second from /proc) during scoring, above the
memory after the model is loaded and has scored a hundred rows. Linux only.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onelayer
import onelayer.evaluation.evaluate
from benchmarks.support.small_bert import small_bert
from onelayer.checkpoint.source import resolve
from onelayer.evaluation.evaluate import evaluate_model as evaluate
from onelayer.recipe import Columns

WORDS = (
    *("the", "a", "one", "no", "good", "bad", "old", "new", "cat", "dog", "house", "river", "town"),
    *("market", "winter", "summer", "road", "train", "saw", "took", "left", "found", "keeps"),
    *("under", "over", "near", "behind", "with", "without", "and", "but", "because", "often"),
)
NAMES = ("Rome", "Paris", "Berlin", "Vienna", "Madrid")


def words(rng: random.Random, longest: int = 30) -> list[str]:
    return rng.choices(WORDS, k=rng.randint(3, longest))


def text(rng: random.Random, longest: int = 30) -> str:
    return " ".join(words(rng, longest))


def tagged(rng: random.Random) -> dict[str, Any]:
    tokens = words(rng)
    place = rng.randrange(len(tokens))
    tags = ["O"] * len(tokens)
    tokens[place], tags[place] = rng.choice(NAMES), "B-PLACE"
    return {"tokens": tokens, "tags": tags}


def question(rng: random.Random) -> dict[str, Any]:
    name, before = rng.choice(NAMES), text(rng)
    answers = [{"text": name, "answer_start": len(before) + 1}] if rng.random() < 0.7 else []
    context = f"{before} {name if answers else 'nothing'} {text(rng)}"
    return {"question": text(rng, 8), "context": context, "answers": answers}


ROWS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "classify": lambda rng: {"text": text(rng), "label": rng.choice(("yes", "no", "perhaps"))},
    "regress": lambda rng: {"text": text(rng), "label": rng.random() + 0.5},
    "tag": tagged,
    "answer": question,
    "choose": lambda rng: {
        "context": text(rng),
        "question": text(rng, 8),
        "options": [text(rng, 4) for _ in range(3)],
        "answer": rng.randrange(3),
    },
}


def write(path: Path, task: str, n: int) -> Path:
    rng = random.Random(n)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(ROWS[task](rng)) + "\n" for _ in range(n))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", default="10000,200000")
    parser.add_argument("--tasks", default=",".join(ROWS))
    arguments = parser.parse_args()
    sizes = [int(n) for n in arguments.rows.split(",")]

    print(f"| task | {' | '.join(f'{n:,} rows, MB' for n in sizes)} | bytes a row more | seconds |")
    print("|---|" + "---|" * (len(sizes) + 2), flush=True)
    for task in arguments.tasks.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            small_bert(folder / "bert", resolve("starter"))
            few = write(folder / "few.jsonl", task, 100)
            onelayer.finetune(
                few, out=folder / "run", model=str(folder / "bert"), task=task, epochs=1
            )
            peaks, started = [], time.perf_counter()
            for n in sizes:
                file = write(folder / f"{n}.jsonl", task, n)
                command = [sys.executable, "-m", "benchmarks.training.eval_memory"]
                command += ["--one", folder / "run", few, file]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                peaks.append(int(said))
            seconds = time.perf_counter() - started
        more = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0])
        figures = " | ".join(f"{peak / 1e6:.1f}" for peak in peaks)
        print(f"| {task} | {figures} | {more:.0f} | {seconds:.0f} |", flush=True)


def one(run: str, few: str, file: str) -> None:
    """Scores one file and prints the peak in bytes."""
    predictor = onelayer.load(run)
    onelayer.evaluation.evaluate.load = lambda _: predictor
    evaluate(run, few, Columns(), lambda _: None)
    loaded = highest = rss_anon()
    done = threading.Event()

    def look() -> None:
        nonlocal highest
        while not done.wait(0.01):
            highest = max(highest, rss_anon())

    looking = threading.Thread(target=look)
    looking.start()
    evaluate(run, file, Columns(), lambda _: None)
    done.set()
    looking.join()
    print(highest - loaded)


def rss_anon() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    else:
        main()
