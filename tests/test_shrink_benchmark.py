"""The benchmark of smaller models: what is measured again, and what its table says."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.quality.shrink import SETS, counted_words, training_file
from benchmarks.support.shrink_results import (
    LadderResult,
    append,
    cells,
    newest,
    print_table,
    reached,
)
from onelayer.checkpoint.export_record import Speed
from onelayer.shrinking.rung import Rung, RungScore


def rung(name: str, per_second: float, size: float, lost: float) -> Rung:
    score = RungScore(
        rows=100,
        file="test.tsv",
        metric="accuracy",
        score=0.9 - lost / 100,
        interval=(0.8, 0.95),
        lost=lost,
        lost_interval=(lost - 1, lost + 1),
        p=0.2 if lost < 1 else 0.01,
    )
    speed = Speed(latency_ms=1e3 / per_second, texts_per_second=per_second, tokens_per_second=1.0)
    twice = replace(speed, texts_per_second=1.5 * per_second)
    return Rung(
        name=name,
        what=name,
        bytes=int(size * 1e6),
        speeds={1: speed, 2: twice},
        dev=score,
        test=score,
        model=name,
        reference=name == "word counts",
    )


def result(seed: int = 1, more: float = 0.0) -> LadderResult:
    return LadderResult(
        set="made",
        seed=seed,
        model="starter",
        rows=5000,
        commit="abc",
        baseline="int8",
        kept="3-layers",
        rungs=(
            rung("int8", 1000, 20, 0.1),
            rung("3-layers", 2700, 12, 0.4 + more),
            rung("1-layer", 16000, 9, 4.5 + more),
            rung("word counts", 20000, 2, 6.0),
        ),
        counted=0.82,
        train_seconds=100.0,
        shrink_seconds=300.0,
        machine="a machine",
    )


def test_later_result_of_the_same_ladder_counts(tmp_path: Path) -> None:
    out = tmp_path / "new" / "results.jsonl"
    assert newest(out) == {}
    for one in (result(1), result(2), replace(result(1), commit="def")):
        append(one, out)
    found = newest(out)
    assert [(one.seed, one.commit) for one in found.values()] == [(1, "def"), (2, "abc")]
    assert found[result(2).identity] == result(2)


def test_goals_are_judged_by_the_mean_over_the_seeds() -> None:
    found = cells([result(1), result(2, more=0.4)])
    assert [line[1:] for line in reached(found)] == [
        [">= 2 times for <= 0.5 points", "no", "3-layers: 2.7 times, 0.6 points"],
        [">= 4 times for <= 2 points", "no", "1-layer: 16.0 times, 4.7 points"],
        [">= 15 times for <= 5 points", "yes", "1-layer: 16.0 times, 4.7 points"],
        ["that one >= 3 points above TF-IDF", "yes", "+3.3"],
        ["<= 3 MB for <= 2 points", "no", "the smallest, 1-layer, has 9.0 MB"],
    ]


def test_table_has_ratios_to_the_int8_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([result(1), result(2, more=0.4)])
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if "| 3-layers *2 |" in line)
    assert line == (
        "| made (5,000) | 3-layers *2 | 12.0 | 0.370 | 2.70 | 2.70 | 89.4 ± 0.3 | 0.6 ± 0.3 | "
        "0.6 ± 0.3 | 0 of 2 | +7.4 ± 0.3 |"
    )
    assert "made, seed 2: training 100 s, shrinking 300 s for 5,000 rows; abc" in printed
    assert printed.endswith("a machine\n")


def test_slice_of_a_training_file_is_the_same_each_time(tmp_path: Path) -> None:
    one = SETS[0]
    (tmp_path / one.train).parent.mkdir()
    (tmp_path / one.train).write_text("".join(f"text {i}\t{i % 2}\n" for i in range(50)))
    arguments = Namespace(data=tmp_path, runs=tmp_path / "runs", rows=10)
    path, rows = training_file(one, arguments)
    first = path.read_text()
    assert (rows, len(first.splitlines())) == (10, 10)
    assert training_file(one, arguments)[0].read_text() == first
    assert training_file(one, Namespace(**{**vars(arguments), "rows": None})) == (
        tmp_path / one.train,
        50,
    )


@pytest.mark.parametrize(
    ("name", "line"), [("sst2_sentences", "{w} film\t{n}"), ("stsb-en", "a {w} film,a film,{n}")]
)
def test_counted_words_are_scored_by_scikit_learn(name: str, line: str, tmp_path: Path) -> None:
    one = next(each for each in SETS if each.name == name)
    rows = [line.format(w=("bad", "good")[i % 2], n=i % 2) for i in range(20)]
    path = tmp_path / "rows"
    path.write_text("\n".join(rows) + "\n")
    assert counted_words(one, path, path) == pytest.approx(1)
    assert counted_words(replace(one, task="tag"), path, path) is None
