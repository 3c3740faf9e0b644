"""The sets of few_rows.py: how their files are read, how a few rows are drawn, and how predictions
are scored.

Choices for onelayer's default are made on one half of the sets and confirmed on the other
(``half``). Rows for training come from the owner's training file, rows for the score from the test
file, or from the dev file where the test labels aren't public. scikit-learn and scipy score.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from sklearn.preprocessing import MultiLabelBinarizer

Label = str | float | tuple[str, ...]
"""A label, a number, or several labels."""
Kind = Literal["label", "labels", "number"]
Parts = tuple["list[Row]", "list[Row]"]
"""Rows for training and rows for the score."""

N_TOPICS, N_EMOTIONS = 8, 6
"""Classes of the two derived sets. With more of them SetFit takes too long to be compared with."""
FEELINGS = {
    1: "admiration amusement approval caring desire excitement gratitude joy love optimism pride "
    "relief",
    -1: "anger annoyance disappointment disapproval disgust embarrassment fear grief nervousness "
    "remorse sadness",
}
"""GoEmotions' pleasant and unpleasant emotions; the others are neither."""
NUMBER_CLASSES = 5
"""Rows that stand for one row a class where the label is a number."""


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    label: Label
    pair: str | None = None


@dataclass(frozen=True)
class FewSet:
    name: str
    half: Literal["choose", "confirm"]
    load: Callable[[Path], Parts]
    """Reads the set from the folder of all sets."""
    metric: str
    """The score that sides are compared by; the others are recorded with it."""
    kind: Kind = "label"
    chinese: bool = False
    max_test_rows: int | None = None
    """Fewer rows than ``--test-rows`` are scored where texts are long."""


@dataclass(frozen=True)
class Size:
    """Rows to train on: a number of them for each class, a number in all, or all (None)."""

    n: int | None
    each_class: bool = False

    @classmethod
    def parse(cls, text: str) -> Size:
        """``8c`` is 8 rows a class, ``500`` is 500 rows, and ``all`` is the whole file."""
        if text == "all":
            return cls(None)
        if not re.fullmatch(r"[1-9]\d*c?", text):
            raise ValueError(f"{text!r} is no size: give 8c (rows a class), 500, or all")
        return cls(int(text.rstrip("c")), text.endswith("c"))

    def __str__(self) -> str:
        return "all" if self.n is None else f"{self.n}{'c' * self.each_class}"


@dataclass(frozen=True)
class Draw:
    """The rows of one comparison: every side trains on the same and is scored on the same."""

    few_set: FewSet
    train: tuple[Row, ...]
    test: tuple[Row, ...]

    @property
    def names(self) -> list[str]:
        """The labels of the training rows, in order; none for numbers."""
        return sorted({name for row in self.train for name in labels_of(row)})

    @property
    def has_pairs(self) -> bool:
        return self.train[0].pair is not None


def draw(
    few_set: FewSet, parts: Parts, size: Size, seed: int, test_rows: int | None
) -> Draw | None:
    """A draw, or None if the set has fewer rows than ``size`` wants.

    The seed shuffles the training rows; a larger draw with the same seed holds the smaller ones.
    The rows for the score are the same for all seeds.
    """
    train, test = (list(part) for part in parts)
    random.Random(seed).shuffle(train)
    random.Random(0).shuffle(test)
    caps = [cap for cap in (test_rows, few_set.max_test_rows) if test_rows and cap]
    test = test[: min(caps, default=len(test))]
    if size.n is None:
        chosen = train
    elif size.each_class and few_set.kind != "number":
        chosen = rows_of_each_class(train, size.n)
    else:
        chosen = train[: size.n * (NUMBER_CLASSES if size.each_class else 1)]
        if len(chosen) < size.n:
            return None
    return Draw(few_set, tuple(chosen), tuple(test))


def rows_of_each_class(rows: Sequence[Row], n: int) -> list[Row]:
    """The first ``n`` rows of each class. A row with several labels counts for its rarest one that
    still lacks rows; a class may have fewer than ``n`` rows."""
    totals = Counter(name for row in rows for name in labels_of(row))
    held = Counter[str]()
    chosen = []
    for row in rows:
        lacking = [name for name in labels_of(row) if held[name] < n]
        if lacking:
            held[min(lacking, key=lambda name: (totals[name], name))] += 1
            chosen.append(row)
    return chosen


def labels_of(row: Row) -> tuple[str, ...]:
    match row.label:
        case tuple():
            return row.label
        case str():
            return (row.label,)
        case _:
            return ()


def judge(drawn: Draw, predictions: Sequence[Label]) -> dict[str, float]:
    """Scores on a scale of 100, from predictions in the order of the test rows."""
    gold = [row.label for row in drawn.test]
    if len(gold) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(gold)} rows")
    match drawn.few_set.kind:
        case "label":
            scores = {
                "accuracy": accuracy_score(gold, predictions),
                "macro-F1": f1_score(gold, predictions, average="macro", zero_division=0),
                "MCC": matthews_corrcoef(gold, predictions),
            }
        case "labels":
            names = sorted({name for row in (*drawn.train, *drawn.test) for name in labels_of(row)})
            binarizer = MultiLabelBinarizer(classes=names).fit([])
            both = binarizer.transform(gold), binarizer.transform(predictions)
            scores = {
                f"{average}-F1": f1_score(*both, average=average, zero_division=0)
                for average in ("macro", "micro")
            }
        case "number":
            scores = {  # predictions that are all equal have no correlation
                "Spearman": spearmanr(gold, predictions).statistic if varied(predictions) else 0.0,
                "Pearson": pearsonr(gold, predictions).statistic if varied(predictions) else 0.0,
            }
    return {name: 100 * float(value) for name, value in scores.items()}


def varied(values: Sequence[Label]) -> bool:
    return len(set(values)) > 1


def as_file(rows: Sequence[Row], path: Path) -> Path:
    """Writes rows as JSON lines: ``text``, ``pair`` where there is one, ``label``."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            pair = {} if row.pair is None else {"pair": row.pair}
            record = {"text": row.text, **pair, "label": row.label}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


# Readers of the owners' files.


def files(train: str, tests: str, read: Callable[[Path], Iterator[Row]]) -> Callable[[Path], Parts]:
    """A loader of a set with a file for each part; ``tests`` may name several, between spaces."""

    def load(data: Path) -> Parts:
        tested = [row for name in tests.split() for row in read(data / name)]
        return list(read(data / train)), tested

    return load


def cells(path: Path, *, header: bool = False) -> Iterator[list[str]]:
    """The cells of a tab-separated file without quotes."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        found = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if header:
            next(found)
        yield from found


def lines(path: Path) -> Iterator[str]:
    """Unlike ``splitlines``, doesn't end a line at U+2028, which texts contain."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from (line.rstrip("\r\n") for line in file)


def text_label(path: Path) -> Iterator[Row]:
    return (Row(text, label) for text, label in cells(path))


def pair_label(path: Path) -> Iterator[Row]:
    return (Row(text, label, pair) for text, pair, label in cells(path))


def glue_pair(path: Path) -> Iterator[Row]:
    return (Row(text, label, pair) for _, text, pair, label in cells(path, header=True))


def mrpc_pair(path: Path) -> Iterator[Row]:
    return (Row(text, label, pair) for label, _, _, text, pair in cells(path, header=True))


def cola_text(path: Path) -> Iterator[Row]:
    return (Row(text, label) for _, label, _, text in cells(path))


def json_text(path: Path) -> Iterator[Row]:
    for line in lines(path):
        record = json.loads(line)
        yield Row(record["text"], record["label"])


def ocnli_pair(path: Path) -> Iterator[Row]:
    for line in lines(path):
        record = json.loads(line)
        if record["label"] != "-":  # the annotators didn't agree
            yield Row(record["sentence1"], record["label"], record["sentence2"])


def pair_score(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        for text, pair, score in csv.reader(file):
            yield Row(text, float(score), pair)


def goemotions(path: Path) -> Iterator[Row]:
    names = (path.parent / "labels.txt").read_text(encoding="utf-8").split()
    for text, ids, _ in cells(path):
        yield Row(text, tuple(names[int(i)] for i in ids.split(",")))


def emotions(data: Path) -> Parts:
    """Comments of GoEmotions with exactly one label, if it is one of the most frequent. ``neutral``
    is left out."""
    folder = data / "goemotions"
    train, test = (
        [row for row in goemotions(folder / name) if len(labels_of(row)) == 1]
        for name in ("train.tsv", "test.tsv")
    )
    counts = Counter(labels_of(row)[0] for row in train)
    del counts["neutral"]
    kept = {name for name, _ in counts.most_common(N_EMOTIONS)}
    kept_train, kept_test = (
        [replace(row, label=labels_of(row)[0]) for row in rows if labels_of(row)[0] in kept]
        for rows in (train, test)
    )
    return kept_train, kept_test


def pleasantness(data: Path) -> Parts:
    """Comments of GoEmotions, and the mean of how pleasant their emotions are: 1, 0 or -1."""
    sign = {name: each for each, names in FEELINGS.items() for name in names.split()}

    def rated(row: Row) -> Row:
        names = labels_of(row)
        return replace(row, label=sum(sign.get(name, 0) for name in names) / len(names))

    train, test = (
        [rated(row) for row in goemotions(data / "goemotions" / name)]
        for name in ("train.tsv", "test.tsv")
    )
    return train, test


def opinions(data: Path) -> Parts:
    """Film reviews, and 1 or 0 as a number for a good or a bad opinion."""
    train, test = (
        [replace(row, label=float(row.label == "pos")) for row in rows] for rows in IMDB(data)
    )
    return train, test


def topics(data: Path) -> Parts:
    """Questions of SQuAD, and the article that each is about. A quarter of each article's
    paragraphs is for the score: a paragraph's questions resemble each other."""
    path = data / "squad_dev/dev-v1.1.reconstructed.json"
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    articles.sort(key=lambda a: (-sum(len(p["qas"]) for p in a["paragraphs"]), a["title"]))
    train: list[Row] = []
    test: list[Row] = []
    for article in articles[:N_TOPICS]:
        paragraphs = article["paragraphs"]
        random.Random(0).shuffle(paragraphs)
        for i, paragraph in enumerate(paragraphs):
            part = test if 4 * i < len(paragraphs) else train
            part += [Row(each["question"], article["title"]) for each in paragraph["qas"]]
    return train, test


def genres(path: Path) -> Iterator[Row]:
    """Sentences of a treebank, and where their documents are from, such as ``email``."""
    genre = ""
    for line in lines(path):
        if found := re.match(r"# newdoc id = ([a-z]+)", line):
            genre = found[1]
        elif line.startswith("# text = "):
            yield Row(line.removeprefix("# text = "), genre)


def stsb(language: str) -> Callable[[Path], Parts]:
    parts = (f"stsb_multi/stsb-{language}-{part}.csv" for part in ("train", "test"))
    return files(*parts, pair_score)


COLA = "cola/cola_public/raw/{}.tsv"
COLA_DEV = f"{COLA.format('in_domain_dev')} {COLA.format('out_of_domain_dev')}"
SST2 = files("sst2_sentences/train.tsv", "sst2_sentences/test.tsv", text_label)
MRPC = files("mrpc/msr_paraphrase_train.txt", "mrpc/msr_paraphrase_test.txt", mrpc_pair)
GENRES = files(
    "ud_english_ewt/en_ewt-ud-train.conllu", "ud_english_ewt/en_ewt-ud-test.conllu", genres
)
GOEMOTIONS = files("goemotions/train.tsv", "goemotions/test.tsv", goemotions)
IMDB = files("imdb_sample/train.jsonl", "imdb_sample/test.jsonl", json_text)
OCNLI = files("ocnli/train.10k.json", "ocnli/dev.json", ocnli_pair)

SETS = [
    FewSet("sst2_sentences", "choose", SST2, "accuracy"),
    FewSet("emotion", "choose", emotions, "accuracy"),
    FewSet("topic", "choose", topics, "accuracy"),
    FewSet("goemotions", "choose", GOEMOTIONS, "macro-F1", "labels"),
    FewSet("pleasantness", "choose", pleasantness, "Spearman", "number"),
    FewSet("rte", "choose", files("rte/train.tsv", "rte/dev.tsv", glue_pair), "accuracy"),
    FewSet("stsb-en", "choose", stsb("en"), "Spearman", "number"),
    FewSet(
        "tnews",
        "choose",
        files("tnews/train.tsv", "tnews/dev.tsv", text_label),
        "accuracy",
        chinese=True,
    ),
    FewSet(
        "afqmc",
        "choose",
        files("afqmc/train.txt", "afqmc/dev.txt", pair_label),
        "accuracy",
        chinese=True,
    ),
    FewSet("imdb_sample", "confirm", IMDB, "accuracy", max_test_rows=500),
    FewSet("opinion", "confirm", opinions, "Spearman", "number", max_test_rows=500),
    FewSet("cola", "confirm", files(COLA.format("in_domain_train"), COLA_DEV, cola_text), "MCC"),
    FewSet("genre", "confirm", GENRES, "accuracy"),
    FewSet("mrpc", "confirm", MRPC, "accuracy"),
    FewSet(
        "chnsenticorp",
        "confirm",
        files("chnsenticorp/train.tsv", "chnsenticorp/dev.tsv", text_label),
        "accuracy",
        chinese=True,
    ),
    FewSet("ocnli", "confirm", OCNLI, "accuracy", chinese=True),
    FewSet("stsb-zh", "confirm", stsb("zh"), "Spearman", "number", chinese=True),
]
