"""The benchmark with few rows: which rows each side gets, what is measured again, and the table."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.quality import few_rows
from benchmarks.quality.few_chart import save_chart
from benchmarks.quality.few_peers import Answers, Options, TooSlowError, tfidf
from benchmarks.quality.few_table import cells, print_table
from benchmarks.support.few_results import Result, Results, has_to_run, newest
from benchmarks.support.few_sets import SETS, Draw, FewSet, Row, Size, draw, judge, labels_of


def rows_of(counts: dict[str, int]) -> list[Row]:
    return [Row(f"{label} {i}", label) for label, n in counts.items() for i in range(n)]


def a_set(kind: str = "label", half: str = "choose") -> FewSet:
    return replace(SETS[0], name="made", kind=kind, half=half, load=lambda data: ([], []))  # type: ignore[arg-type]


PARTS = (rows_of({"a": 90, "b": 30, "c": 5}), rows_of({"a": 20, "b": 20}))


def drawn(size: str, seed: int = 1, few_set: FewSet | None = None) -> Draw:
    found = draw(few_set or a_set(), PARTS, Size.parse(size), seed, 10)
    assert found is not None
    return found


def test_each_class_gets_the_rows_asked_for_or_all_it_has() -> None:
    counts = Counter(row.label for row in drawn("8c").train)
    assert counts == {"a": 8, "b": 8, "c": 5}


def test_larger_draw_holds_the_smaller_one_of_its_seed() -> None:
    assert set(drawn("8c").train) < set(drawn("16c").train) < set(drawn("all").train)
    assert set(drawn("50").train) < set(drawn("100").train)


def test_seed_changes_the_training_rows_but_not_the_scored_ones() -> None:
    assert drawn("8c", 1).train != drawn("8c", 2).train
    assert drawn("8c", 1).test == drawn("8c", 2).test == drawn("all", 3).test
    assert len(drawn("8c").test) == 10


def test_set_with_too_few_rows_has_no_draw() -> None:
    assert draw(a_set(), PARTS, Size.parse("126"), 1, None) is None


def test_rows_with_several_labels_count_for_a_label_that_lacks_rows() -> None:
    train = [Row(f"{i}", ("a", "b") if i % 10 == 0 else ("a",)) for i in range(100)]
    found = draw(a_set("labels"), (train, train[:5]), Size.parse("4c"), 1, None)
    assert found is not None
    counts = Counter(name for row in found.train for name in labels_of(row))
    assert counts["b"] == 4
    assert counts["a"] == 8


def test_numbers_get_five_times_the_rows() -> None:
    train = [Row(f"{i}", float(i)) for i in range(100)]
    found = draw(a_set("number"), (train, train), Size.parse("8c"), 1, None)
    assert found is not None
    assert len(found.train) == 40


@pytest.mark.parametrize("text", ["", "8d", "c", "-1", "0", "all5"])
def test_unknown_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        Size.parse(text)


def test_sets_are_halved() -> None:
    halves = Counter(each.half for each in SETS)
    assert len(SETS) >= 10
    assert abs(halves["choose"] - halves["confirm"]) <= 1


def test_predictions_are_judged_by_kind() -> None:
    right = [row.label for row in drawn("8c").test]
    assert judge(drawn("8c"), right)["accuracy"] == 100
    several = [Row("x", ("a", "b")), Row("y", ())]
    both = Draw(a_set("labels"), tuple(several), tuple(several))
    assert judge(both, [("a", "b"), ()]) == {"macro-F1": 100, "micro-F1": 100}
    assert judge(both, [("a",), ()])["macro-F1"] == 50
    numbers = tuple(Row(f"{i}", float(i)) for i in range(5))
    ranked = Draw(a_set("number"), numbers, numbers)
    assert judge(ranked, [0.0, 1.0, 2.0, 3.0, 9.0])["Spearman"] == pytest.approx(100)
    assert judge(ranked, [1.0] * 5) == {"Spearman": 0, "Pearson": 0}


def test_missing_prediction_is_an_error() -> None:
    with pytest.raises(ValueError, match="9 predictions for 10 rows"):
        judge(drawn("8c"), ["a"] * 9)


def test_linear_peers_learn_made_sets(tmp_path: Path) -> None:
    words = {"good": ["fine", "great", "nice"], "bad": ["poor", "awful", "sad"]}
    texts = [
        Row(f"{word} {i}", label) for label, some in words.items() for word in some for i in "12"
    ]
    found = Draw(a_set(), tuple(texts), tuple(texts))
    options = Options("starter", 1)
    assert judge(found, tfidf(found, options).predictions)["accuracy"] == 100
    several = tuple(replace(row, label=(str(row.label), "text")) for row in texts)
    found = Draw(a_set("labels"), several, several)
    assert judge(found, tfidf(found, options).predictions)["micro-F1"] == 100


# Results.


def result(seed: int, side: str, score: float | None, **changes: object) -> Result:
    few_set = SETS[0]
    scores = None if score is None else {few_set.metric: score}
    found = Result(few_set.name, "8c", seed, side, "starter", 16, 100, "abc", scores, 2.0, "a CPU")
    return replace(found, **changes)  # type: ignore[arg-type]


def by_identity(*results: Result) -> Results:
    return {each.identity: each for each in results}


SOME = by_identity(
    *(result(seed, "ours", score) for seed, score in ((1, 70), (2, 72), (3, 74))),
    *(result(seed, "tfidf", score) for seed, score in ((1, 50), (2, 52), (3, 51))),
    *(result(seed, "setfit", score, seconds=20.0) for seed, score in ((1, 72), (2, 75), (4, 10))),
)


def test_margin_is_to_the_best_peer_over_the_seeds_that_both_have() -> None:
    (cell,) = cells(SOME, SETS)
    margin = cell.margin()
    assert margin is not None
    assert margin.peer == "setfit"
    assert margin.value == pytest.approx(-2.5)
    assert margin.error == pytest.approx(0.5)
    assert margin.is_below


def test_one_seed_has_no_error() -> None:
    (cell,) = cells(by_identity(result(1, "ours", 60), result(1, "tfidf", 50)), SETS)
    margin = cell.margin()
    assert margin is not None
    assert math.isnan(margin.error)
    assert not margin.is_below
    assert str(margin) == "+10.0"


def test_table_has_margins_and_a_summary_for_each_half(capsys: pytest.CaptureFixture[str]) -> None:
    slow = result(1, "trainer-5e-5", None, seconds=240.0)
    confirm = [
        replace(each, set="cola", scores={"MCC": 30.0})
        for each in (result(1, "ours", 0), result(1, "tfidf", 0))
    ]
    print_table(
        SOME | by_identity(slow, *confirm), SETS, ["ours", "tfidf", "setfit", "trainer-5e-5"]
    )
    printed = capsys.readouterr().out
    assert (
        "| sst2_sentences | 8c (16) | 100 | accuracy | 72.0 ± 2.0 | 51.0 ± 1.0 | 52.3 ± 36.7 "
        "| too slow | -2.5 ± 0.5 | setfit |" in printed
    )
    assert "| choose | 8c | 1 | -2.5 | 1 | 0.05 | 0.10 |" in printed
    assert "| confirm | all sizes | 1 | +0.0 | 0 | – | – |" in printed
    assert "Below: sst2_sentences (choose), 8c: -2.5 ± 0.5 against setfit." in printed


def test_picture_leaves_out_sizes_that_a_set_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    larger = result(1, "ours", 90, size="500", rows=500)
    other = [replace(each, set="emotion") for each in (result(1, "ours", 50), larger)]
    save_chart(SOME | by_identity(*other), SETS, tmp_path / "few.svg")
    assert capsys.readouterr().out.endswith("sst2_sentences, emotion; 8c\n")
    assert "onelayer" in (tmp_path / "few.svg").read_text(encoding="utf-8")


def test_result_is_measured_again_only_if_asked_and_at_another_commit() -> None:
    planned = result(1, "ours", None, commit="def")
    assert not has_to_run(planned, SOME, again=False, limit=None)
    assert has_to_run(planned, SOME, again=True, limit=None)
    assert not has_to_run(replace(planned, commit="abc"), SOME, again=True, limit=None)
    assert has_to_run(replace(planned, seed=9), SOME, again=False, limit=None)


def test_side_that_was_too_slow_is_not_tried_with_more_rows() -> None:
    done = by_identity(result(1, "setfit", None, seconds=100.0))
    other = result(2, "setfit", None)
    assert not has_to_run(other, done, again=False, limit=100)
    assert not has_to_run(replace(other, rows=500, size="500"), done, again=False, limit=60)
    assert has_to_run(other, done, again=False, limit=200)
    assert has_to_run(other, done, again=False, limit=None)
    assert has_to_run(replace(other, rows=8, size="4c"), done, again=False, limit=100)


def data_folder(path: Path) -> Path:
    folder = path / "sst2_sentences"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        lines = "".join(f"text {i}\t{i % 2}\n" for i in range(40))
        (folder / f"{name}.tsv").write_text(lines, encoding="utf-8")
    return path


def test_interrupted_call_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def side(found: Draw, options: Options) -> Answers:
        calls.append(options.seed)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return Answers(["0"] * len(found.test), 1.0)

    def slow(found: Draw, options: Options) -> Answers:
        raise TooSlowError

    monkeypatch.setattr(few_rows, "SIDES", {"ours": side, "slow": slow})
    out = tmp_path / "few.jsonl"
    command = [str(data_folder(tmp_path / "data")), "--only", "sst2_sentences", "--sizes", "8c"]
    command += ["--seeds", "1,2,3"]
    monkeypatch.setattr("sys.argv", ["few_rows", *command, "--limit", "5", "--out", str(out)])
    with pytest.raises(KeyboardInterrupt):
        few_rows.main()
    few_rows.main()
    assert calls == [1, 2, 2, 3]
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(newest(out)) == 4
    assert lines[0]["scores"]["accuracy"] == 50
    assert [line["side"] for line in lines] == ["ours", "slow", "ours", "ours"]
    assert lines[0]["rows"] == 16
    assert lines[0]["test_rows"] == 40
