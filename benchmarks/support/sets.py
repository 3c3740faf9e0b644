"""The data sets of the benchmarks: their folders, slices and recipes, how they are read, and how
predictions are scored.

This file favours neither onelayer nor its peer: slices are written in the owners' formats, both
sides read them, and a third party's scorer (scikit-learn, scipy, seqeval, SQuAD's official script)
judges both.
"""

from __future__ import annotations

import importlib.util
import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from scipy.stats import spearmanr
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score, matthews_corrcoef

from benchmarks.support.set_formats import AS_CONLL, FORMATS


@dataclass(frozen=True)
class DataSet:
    name: str
    task: str
    format: str
    train: str
    dev: str
    train_rows: int
    dev_rows: int
    epochs: int
    lr: float
    max_length: int = 512
    max_words: int | None = None
    """Rows with a longer context are left out: long passages would take most of the time."""
    options: int | None = None
    """Rows with another number of options are left out: the Trainer's collator needs one number."""
    metrics: tuple[str, ...] = ("accuracy",)
    script: str = "squad_dev/evaluate-v1.1.py"
    """The official script that scores answers."""
    columns: tuple[tuple[str, str], ...] = ()
    """Names of columns where onelayer can't tell them: CoLA's file has no header."""
    sampling: str = "random"
    """How the Trainer draws its batches. ``group_by_length`` pads less, so it is quicker."""


# Rates and epochs were chosen so that the peer learns well from a slice of this size.
DATA_SETS = [
    DataSet(
        name="sst2_sentences",
        task="classify",
        format="text-label",
        train="sst2_sentences/train.tsv",
        dev="sst2_sentences/dev.tsv",
        train_rows=1000,
        dev_rows=872,
        epochs=2,
        lr=1e-4,
    ),
    DataSet(
        name="rte",
        task="classify",
        format="glue-pair",
        train="rte/train.tsv",
        dev="rte/dev.tsv",
        train_rows=300,
        dev_rows=277,
        epochs=3,
        lr=1e-4,
    ),
    DataSet(
        name="stsb_multi",
        task="regress",
        format="pair-score",
        train="stsb_multi/stsb-en-train.csv",
        dev="stsb_multi/stsb-en-dev.csv",
        train_rows=800,
        dev_rows=750,
        epochs=3,
        lr=1e-4,
        metrics=("spearman",),
    ),
    DataSet(
        name="wnut17",
        task="tag",
        format="conll",
        train="wnut17/wnut17train.conll",
        dev="wnut17/emerging.dev.conll",
        train_rows=800,
        dev_rows=500,
        epochs=3,
        lr=3e-4,
        metrics=("entity F1",),
    ),
    DataSet(
        name="squad_dev",
        task="answer",
        format="squad",
        train="squad_dev/v1.1-train.json",
        dev="squad_dev/v1.1-heldout.json",
        train_rows=600,
        dev_rows=300,
        epochs=3,
        lr=5e-4,
        max_length=384,
        metrics=("EM", "F1"),
        max_words=100,
    ),
    DataSet(
        name="dream",
        task="choose",
        format="dream",
        train="dream/train.json",
        dev="dream/dev.json",
        train_rows=150,
        dev_rows=150,
        epochs=3,
        lr=1e-4,
        max_words=60,
    ),
]


# Slices. A file consists of a head, which every slice keeps, and rows.


def cut(data_set: DataSet, data: Path, folder: Path, draw: int = 0) -> tuple[Path, Path]:
    """Writes the slice's train and dev files into ``folder``, in the owner's format.

    ``draw`` seeds the shuffle of the training rows; that of the dev rows is fixed. So all sides see
    the same rows, and a larger slice of the same draw holds the smaller one.
    """
    split, join, _ = FORMATS[data_set.format]
    parts = ((data_set.train, data_set.train_rows, draw), (data_set.dev, data_set.dev_rows, 0))
    paths = []
    for source, rows, seed in parts:
        head, units = split((data / source).read_text(encoding="utf-8"))
        if data_set.max_words is not None:
            units = [unit for unit in units if context_words(unit) <= data_set.max_words]
        if data_set.options is not None:
            units = [unit for unit in units if n_options(unit) == data_set.options]
        random.Random(seed).shuffle(units)
        if len(units) < rows:
            raise SystemExit(f"{data / source}: {len(units)} rows, {rows} wanted")
        name = Path(source).name
        if data_set.format in AS_CONLL:
            name = f"{name.replace('.', '_')}.conll"
        path = folder / f"{data_set.name}-{name}"
        path.write_text(join(head, units[:rows]), encoding="utf-8")
        paths.append(path)
    return paths[0], paths[1]


def context_words(unit: dict[str, Any] | list[Any]) -> int:
    """Words of a SQuAD row's passage or of a DREAM row's dialogue; a Chinese character is one."""
    text = unit["context"] if isinstance(unit, dict) else " ".join(unit[0])
    return len(re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text))


def n_options(unit: list[Any]) -> int:
    """The options of a DREAM row."""
    return len(unit[1][0]["choice"])


# Rows for the peer's preprocessing and the scorers.


def read(data_set: DataSet, path: Path) -> list[dict[str, Any]]:
    """The rows of a slice that `cut` wrote."""
    split, _, row = FORMATS["conll" if data_set.format in AS_CONLL else data_set.format]
    return [row(unit) for unit in split(path.read_text(encoding="utf-8"))[1]]


# Scores, all on a scale of 100.


def score(data_set: DataSet, data: Path, dev: Path, predictions: Iterable[Any]) -> dict[str, float]:
    """``predictions`` in the order of the file: labels, numbers, lists of tags, answer texts or
    option numbers."""
    gold = read(data_set, dev)
    predictions = list(predictions)
    match data_set.task:
        case "classify":
            right = matthews_corrcoef if data_set.metrics == ("MCC",) else accuracy_score
            values = [right([row["label"] for row in gold], predictions)]
        case "regress":
            values = [spearmanr([row["label"] for row in gold], predictions).statistic]
        case "tag":
            tags = [row["tags"] for row in gold]
            values = [f1_score(tags, predictions, mode="strict", scheme=IOB2)]
        case "choose":
            values = [accuracy_score([row["answer"] for row in gold], predictions)]
        case "answer":
            answers = dict(zip((row["id"] for row in gold), predictions, strict=True))
            values = score_answers(data / data_set.script, dev, answers)
    return {name: 100 * float(value) for name, value in zip(data_set.metrics, values, strict=True)}


def score_answers(script: Path, dev: Path, answers: dict[str, str]) -> list[float]:
    """Exact match and F1, by the official script of SQuAD or CMRC 2018."""
    gold = json.loads(dev.read_text(encoding="utf-8"))
    if "cmrc" in script.name:
        f1, exact, *_ = official_cmrc(script).evaluate(gold, answers)
        return [exact / 100, f1 / 100]
    scores = official_squad(script).evaluate(gold["data"], answers)
    return [scores["exact_match"] / 100, scores["f1"] / 100]


def official_squad(script: Path) -> Any:
    spec = importlib.util.spec_from_file_location("squad_v1_1", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def official_cmrc(script: Path) -> Any:
    """CMRC's script is for Python 2 and cuts Latin words with nltk. Here it runs on Python 3 and
    cuts them at spaces, which is the same for all but a few."""
    code = script.read_text(encoding="utf-8")
    for python_2, python_3 in (
        ("reload(sys)", ""),
        ("sys.setdefaultencoding('utf8')", ""),
        ("import nltk", ""),
        ("nltk.word_tokenize(temp_str)", "temp_str.split()"),
        (".decode('utf-8')", ""),
        ("ur'", "r'"),
    ):
        code = code.replace(python_2, python_3)
    module = ModuleType("cmrc2018_evaluate")
    exec(compile(code, str(script), "exec"), vars(module))
    return module
