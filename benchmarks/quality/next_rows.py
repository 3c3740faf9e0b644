"""Do the rows that ``onelayer next`` chooses teach as much as twice that number of random ones?

    python -m benchmarks.quality.next_rows DATA [--chinese-model DIR]        # fine-tuned, one seed
    python -m benchmarks.quality.next_rows DATA --learner regression         # many seeds, minutes
    python -m benchmarks.quality.next_rows --table

Every run begins with the same 50 random rows. Then 50 rows at a time are labelled: those that
``onelayer.next_rows`` chooses with the model so far, or the next ones of a random order. The table
says how many random labels reach the score of the chosen ones.

With ``--learner finetune`` each model is ``onelayer.finetune`` with its default. With ``--learner
regression`` it is scikit-learn's logistic regression on frozen mean embeddings of the starter, and
``choose_rows``, the part of ``onelayer next`` that chooses, gets its probabilities and the
embeddings. The method was chosen with that learner, on the sets whose half is ``choose``.

Each result is a line of ``--out``, written at once. A later call measures only what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from sklearn.linear_model import LogisticRegression

import onelayer
from benchmarks.quality.few_peers import mean_embeddings
from benchmarks.support.few_sets import SETS, Draw, FewSet, Row, judge
from benchmarks.support.machine import machine
from onelayer.checkpoint.named_models import STARTER
from onelayer.labelling.diverse_rows import choose_rows, joined_features
from onelayer.tasks.uncertainty import uncertain_label

NAMES = (
    *("sst2_sentences", "emotion", "topic", "tnews"),
    *("cola", "genre", "imdb_sample", "chnsenticorp"),
)
STEP = 50
"""Labels at the beginning, and labels of each round."""
CHOSEN = {"finetune": 150, "regression": 300}
"""Labels up to which rows are chosen, by learner."""
RANDOM = {"finetune": (100, 150, 200, 300), "regression": tuple(range(100, 601, 50))}
"""Numbers of random labels, by learner."""
SEEDS = {"finetune": "1", "regression": "1,2,3,4,5,6,7,8"}
MAX_CHARACTERS = 400
"""Characters that are kept of a text: film reviews are long, and the curves cost many runs."""


@dataclass(frozen=True)
class Point:
    """A score on a learning curve."""

    learner: str
    set: str
    seed: int
    chooser: str
    """``random`` or ``next``."""
    labels: int
    score: float
    machine: str = ""


class Learner(Protocol):
    """A model that learns from rows of a pool."""

    def fit(self, labelled: Sequence[int], seed: int) -> None: ...
    def score(self) -> float: ...
    def choose(self, labelled: Sequence[int], n: int, seed: int) -> list[int]: ...


@dataclass
class Finetuned:
    """``onelayer.finetune`` and ``onelayer.next_rows``."""

    few_set: FewSet
    pool: Sequence[Row]
    test: Sequence[Row]
    model: str
    folder: Path
    run: Any = None

    def fit(self, labelled: Sequence[int], seed: int) -> None:
        rows = [{"text": self.pool[i].text, "label": self.pool[i].label} for i in labelled]
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            self.run = onelayer.finetune(
                rows, out=Path(out) / "run", task="classify", model=self.model, seed=seed
            )

    def score(self) -> float:
        said = self.run.predict([row.text for row in self.test])
        return scored(self.few_set, self.pool, self.test, [one.label for one in said])

    def choose(self, labelled: Sequence[int], n: int, seed: int) -> list[int]:
        taken = set(labelled)
        free = [i for i in range(len(self.pool)) if i not in taken]
        rows = [{"text": self.pool[i].text} for i in free]
        known = [{"text": self.pool[i].text} for i in labelled]
        found = onelayer.next_rows(self.run, rows, n=n, labelled=known, seed=seed)
        return [free[row.line - 1] for row in found.rows if row.line is not None]


@dataclass
class Regression:
    """Logistic regression on frozen embeddings, and the chooser of ``onelayer.next_rows``."""

    few_set: FewSet
    pool: Sequence[Row]
    test: Sequence[Row]
    embedded: Sequence[np.ndarray]
    """Of the pool and of the test rows."""
    fitted: Any = None

    def fit(self, labelled: Sequence[int], seed: int) -> None:
        gold = [str(self.pool[i].label) for i in labelled]
        learner = LogisticRegression(C=10, max_iter=300)
        self.fitted = learner.fit(self.embedded[0][labelled], gold)

    def score(self) -> float:
        said = self.fitted.predict(self.embedded[1]).tolist()
        return scored(self.few_set, self.pool, self.test, said)

    def choose(self, labelled: Sequence[int], n: int, seed: int) -> list[int]:
        free = np.setdiff1d(np.arange(len(self.pool)), labelled)
        vectors = self.embedded[0][free]
        doubt, belief = uncertain_label(self.fitted.predict_log_proba(vectors))
        features = joined_features(belief, vectors)
        return free[choose_rows(doubt, features, n, np.random.default_rng(seed))].tolist()


def scored(few_set: FewSet, pool: Sequence[Row], test: Sequence[Row], said: Sequence[str]) -> float:
    drawn = Draw(few_set, tuple(pool), tuple(test))
    return judge(drawn, list(said))[few_set.metric]


def main() -> None:
    arguments = parsed()
    if arguments.data is not None and not arguments.table:
        for few_set in SETS:
            if few_set.name in arguments.only.split(","):
                measure(few_set, arguments)
    for learner in RANDOM:
        print_table(learner, points(arguments.out))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--learner", choices=list(RANDOM), default="finetune")
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--seeds", help="default: 1, or 1 to 8 with the regression")
    parser.add_argument("--random", help="numbers of random labels, separated by commas")
    parser.add_argument("--pool", type=int, default=2000, help="rows to choose from")
    parser.add_argument("--test-rows", type=int, default=500)
    parser.add_argument("--model", default=STARTER)
    parser.add_argument("--chinese-model", help="a directory with a Chinese BERT")
    parser.add_argument("--out", type=Path, default=Path("runs/next_rows.jsonl"))
    parser.add_argument("--table", action="store_true", help="print the results, run nothing")
    arguments = parser.parse_args()
    if arguments.data is None and not arguments.table:
        parser.error("DATA is needed: the folder that holds the data sets")
    return arguments


def measure(few_set: FewSet, arguments: argparse.Namespace) -> None:
    model = arguments.chinese_model if few_set.chinese else arguments.model
    if model is None:
        print(f"{few_set.name}: left out without --chinese-model", flush=True)
        return
    pool, test = few_set.load(arguments.data)
    random.Random(0).shuffle(pool)
    random.Random(0).shuffle(test)
    pool, test = cut(pool[: arguments.pool]), cut(test[: arguments.test_rows])
    with tempfile.TemporaryDirectory() as folder:
        learner: Learner
        if arguments.learner == "regression":
            embedded = [mean_embeddings([row.text for row in rows], model) for rows in (pool, test)]
            learner = Regression(few_set, pool, test, embedded)
        else:
            learner = Finetuned(few_set, pool, test, model, Path(folder))
        for seed in map(int, (arguments.seeds or SEEDS[arguments.learner]).split(",")):
            for point in missing(few_set.name, learner, len(pool), seed, arguments):
                append(point, arguments.out)
                print(f"{point.set} {seed}: {point.chooser} {point.labels} {point.score:.1f}")


def missing(
    name: str, learner: Learner, n_pool: int, seed: int, arguments: argparse.Namespace
) -> Iterator[Point]:
    """The points of a set and seed that no earlier call has measured."""
    kind = arguments.learner
    known = {
        (point.chooser, point.labels)
        for point in points(arguments.out)
        if (point.learner, point.set, point.seed) == (kind, name, seed)
    }
    plan = [int(n) for n in arguments.random.split(",")] if arguments.random else RANDOM[kind]
    order = random.Random(seed).sample(range(n_pool), n_pool)
    for chooser, labels, score in curve(learner, order, plan, seed, known, CHOSEN[kind]):
        yield Point(kind, name, seed, chooser, labels, score, machine())


def curve(
    learner: Learner,
    order: Sequence[int],
    numbers: Sequence[int],
    seed: int,
    known: set[tuple[str, int]],
    most: int,
) -> Iterator[tuple[str, int, float]]:
    """The missing scores of one seed: chooser, labels, score."""
    if ("next", most) not in known:
        labelled = list(order[:STEP])
        while True:
            learner.fit(labelled, seed)
            yield ("random" if len(labelled) == STEP else "next"), len(labelled), learner.score()
            if len(labelled) >= most:
                break
            labelled += learner.choose(labelled, STEP, seed)
    for n in numbers:
        if ("random", n) not in known:
            learner.fit(list(order[:n]), seed)
            yield "random", n, learner.score()


def cut(rows: Sequence[Row]) -> list[Row]:
    return [Row(row.text[:MAX_CHARACTERS], row.label) for row in rows]


def points(out: Path) -> list[Point]:
    if not out.exists():
        return []
    found = [Point(**json.loads(line)) for line in out.read_text(encoding="utf-8").splitlines()]
    return list({(p.learner, p.set, p.seed, p.chooser, p.labels): p for p in found}.values())


def append(point: Point, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(point)) + "\n")


def print_table(learner: str, found: Sequence[Point]) -> None:
    """Markdown: the mean scores, and how many random labels the chosen ones are worth."""
    own = [point for point in found if point.learner == learner]
    if not own:
        return
    most = CHOSEN[learner]
    keys = sorted({(point.chooser, point.labels) for point in own}, key=lambda k: (k[0] < "r", k))
    columns = [f"{chooser} {labels}" for chooser, labels in keys]
    print(f"\n{learner}\n\n| set | half | seeds | {' | '.join(columns)} | worth random labels |")
    print("|" + "---|" * (len(columns) + 4))
    sets = [few_set for few_set in SETS if any(point.set == few_set.name for point in own)]
    reached = 0
    for few_set in sets:
        of_set = [point for point in own if point.set == few_set.name]
        means = mean_scores(of_set)
        worth = labels_for(means.get(("next", most), 0.0), means)
        reached += worth >= 2 * most
        cells = [f"{means[key]:.1f}" if key in means else "–" for key in keys]
        said = f"{worth:.0f}" if worth < np.inf else "more than all"
        seeds = len({point.seed for point in of_set})
        print(f"| {few_set.name} | {few_set.half} | {seeds} | {' | '.join(cells)} | {said} |")
    print(f"\n{most} labels are worth {2 * most} random ones on {reached} of {len(sets)} sets")
    for line in sorted({point.machine for point in own}):
        print(f"\n{line}")


def mean_scores(of_set: Sequence[Point]) -> dict[tuple[str, int], float]:
    """The mean over the seeds, by chooser and number of labels."""
    keys = {(point.chooser, point.labels) for point in of_set}
    return {
        key: statistics.mean(p.score for p in of_set if (p.chooser, p.labels) == key)
        for key in keys
    }


def labels_for(score: float, means: dict[tuple[str, int], float]) -> float:
    """How many random labels first reach a score, between two points by a straight line; infinite
    if none of the numbers does."""
    curve = sorted((n, mean) for (chooser, n), mean in means.items() if chooser == "random")
    n_before, before = curve[0]
    if score <= before:
        return float(n_before)
    for n, value in curve[1:]:
        if value >= score:
            return n_before + (n - n_before) * (score - before) / (value - before)
        n_before, before = n, max(value, before)
    return float(np.inf)


if __name__ == "__main__":
    main()
