"""A learning curve: nested parts of a file, a score for each, and what more rows would bring."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import onelayer
from onelayer.base.errors import Place
from onelayer.base.result import text_table
from onelayer.cli import main as cli
from onelayer.inspection.curve_finding import CurveFinding
from onelayer.inspection.curve_parts import nested_order, part_sizes
from onelayer.inspection.curve_runs import CurveRuns
from onelayer.inspection.learning_curve import LearningCurve
from onelayer.tasks import Classify
from onelayer.tasks.texts import TextRow
from onelayer.training.progress import Silent
from support.task_cases import CASES, Case

HERE = Place("rows.jsonl")
FAST = {"epochs": 1, "batch_size": 16, "precision": "fp32"}


def text_rows(labels: str) -> list[TextRow]:
    return [TextRow(f"text {i}", None, label, HERE) for i, label in enumerate(labels)]


# The parts ---------------------------------------------------------------------------------------


def test_parts_double_up_to_all_rows_but_a_fold() -> None:
    assert part_sizes(200, 160, 2) == [25, 50, 100, 160]


def test_part_has_a_row_for_each_class() -> None:
    assert part_sizes(200, 160, 30) == [50, 100, 160]


def test_few_rows_give_fewer_parts() -> None:
    assert part_sizes(40, 30, 2) == [10, 20, 30]
    assert part_sizes(20, 16, 2) == [10, 16]
    assert part_sizes(7, 5, 2) == []


def test_every_class_is_in_the_smallest_part() -> None:
    rows = text_rows("a" * 60 + "b" * 30 + "cd" + "e" * 8)
    order = nested_order(Classify, rows, np.arange(100), np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    assert {rows[i].label for i in order[:5]} == set("abcde")


def test_part_has_its_share_of_each_class() -> None:
    rows = text_rows("a" * 60 + "b" * 40)
    order = nested_order(Classify, rows, np.arange(100), np.random.default_rng(0))
    for size in (10, 20, 50):
        count = sum(rows[i].label == "a" for i in order[:size])
        assert abs(count - 0.6 * size) <= 1.5


def test_rows_with_equal_texts_are_next_to_each_other() -> None:
    rows = [TextRow(f"text {i % 10}", None, "ab"[i % 2], HERE) for i in range(40)]
    order = nested_order(Classify, rows, np.arange(40), np.random.default_rng(0))
    assert [len({rows[i].text for i in order[at : at + 4]}) for at in range(0, 40, 4)] == [1] * 10


def test_order_takes_only_rows_of_the_other_folds() -> None:
    rows, among = text_rows("ab" * 20), np.arange(5, 25)
    order = nested_order(Classify, rows, among, np.random.default_rng(0))
    assert sorted(order) == among.tolist()


# The verdict -------------------------------------------------------------------------------------


class Coins:
    """A scorer of rows that are right in a share of the cases."""

    def __init__(self, share: float, n: int = 2000) -> None:
        self.right = (np.arange(n) * 0.618034) % 1 < share

    def __len__(self) -> int:
        return len(self.right)

    def __call__(self, rows: Any = None) -> dict[str, float]:
        return {"accuracy": float(np.mean(self.right if rows is None else self.right[rows]))}

    def mistakes(self) -> Any:
        return 1.0 - self.right


def finding(*shares: float, n: int = 2000) -> CurveFinding:
    sizes = [25, 50, 100, 160][-len(shares) :]
    runs: Any = SimpleNamespace(
        plan=SimpleNamespace(task=SimpleNamespace(metric="accuracy", point=0.01)),
        sizes=sizes,
        fold_of_scored=np.arange(n) % 5,
    )
    return CurveFinding.of([[Coins(share, n) for share in shares]], runs, 200)


def test_rising_curve_says_what_twice_the_rows_bring() -> None:
    found = finding(0.6, 0.7, 0.78, 0.82)
    assert found.verdict == "rises"
    assert found.in_words("accuracy").startswith(
        "accuracy 0.6 at 25, 0.7 at 50, 0.78 at 100, 0.82 at 160 rows; with 2 x the rows (400) "
        "expect 0.8"
    )
    assert [one.rows for one in found.expected] == [200, 400]
    assert 0.82 < found.expected[0].score < found.expected[1].score


def test_flat_curve_is_called_flat() -> None:
    found = finding(0.8, 0.8, 0.8, 0.8)
    assert found.verdict == "flat"
    assert "more rows of this kind change little" in found.in_words("accuracy")


def test_noisy_curve_is_not_called_flat() -> None:
    found = finding(0.55, 0.7, 0.55, 0.65, n=40)
    assert found.verdict == "unclear"
    assert found.in_words("accuracy").startswith("too noisy to tell: accuracy changes by ")


def test_two_points_are_too_few_to_tell() -> None:
    found = finding(0.7, 0.8)
    assert (found.verdict, found.expected, found.rise) == ("too few points", (), None)
    assert found.in_words("accuracy") == "too few points to tell what more rows bring"


def test_expected_scores_are_lines_of_the_table() -> None:
    found = finding(0.6, 0.7, 0.78, 0.82)
    curve = LearningCurve(
        file="reviews.csv",
        rows=200,
        rows_used=200,
        metric="accuracy",
        folds=5,
        draws=1,
        points=(),
        expected=found.expected,
        rise=found.rise,
        verdict=found.verdict,
        says=found.in_words("accuracy"),
    )
    table = curve.parts()[1]
    assert [line[0] for line in table] == ["rows", "200 expected", "400 expected"]
    lines = text_table(table).splitlines()
    assert lines[1].index("○") < lines[2].index("○")


def test_point_without_a_score_is_left_out() -> None:
    class Nothing(Coins):
        def __call__(self, rows: Any = None) -> dict[str, float]:
            return {"accuracy": float("nan")}

    runs: Any = SimpleNamespace(
        plan=SimpleNamespace(task=SimpleNamespace(metric="accuracy", point=0.01)),
        sizes=[25, 50, 100, 160],
        fold_of_scored=np.arange(200) % 5,
    )
    scorers = [Nothing(0, 200), *(Coins(share, 200) for share in (0.6, 0.7, 0.8))]
    found = CurveFinding.of([scorers], runs, 200)
    assert found.sizes == [50, 100, 160]
    assert found.expected


# The command -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.tiny_bert import write_bert

    folder = tmp_path_factory.mktemp("base")
    write_bert(folder, "BertForMaskedLM", (), max_position_embeddings=512)
    return folder


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [f"{('good', 'bad')[i % 2]} cat {i},{('yes', 'no')[i % 2]}" for i in range(40)]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["review,verdict", *lines]) + "\n")
    return path


def test_curve_has_a_point_for_each_part(reviews: Path, base: Path) -> None:
    found = onelayer.curve(reviews, model=str(base), **FAST)
    assert [point.rows for point in found.points] == [10, 20, 30]
    assert (found.rows, found.rows_used, found.folds, found.draws) == (40, 40, 4, 1)
    assert found.metric == "accuracy"
    table = found.parts()[1]
    assert [line[0] for line in table][:4] == ["rows", "10", "20", "30"]
    assert "●" in text_table(table)
    assert found.says in repr(found)
    assert [path.name for path in reviews.parent.iterdir()] == ["reviews.csv"]


def test_equal_calls_give_equal_curves(reviews: Path, base: Path) -> None:
    one, other = (onelayer.curve(reviews, model=str(base), **FAST) for _ in range(2))
    assert one == other
    assert onelayer.curve(reviews, model=str(base), seed=2, **FAST) != one


def test_last_point_is_the_score_that_train_gives(reviews: Path, base: Path) -> None:
    found = onelayer.curve(reviews, model=str(base), **FAST)
    run = onelayer.finetune(reviews, out="run", model=str(base), **FAST)
    assert run.record is not None
    assert run.record.dev is not None
    assert found.points[-1].score == run.record.dev.scores["accuracy"]


def test_command_prints_what_the_function_returns(
    reviews: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--model", str(base), "--epochs", "1", "--batch-size", "16", "--precision", "fp32")
    assert cli.main(["curve", str(reviews), *flags, "--json", "--out", "curve.svg"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    found = onelayer.curve(reviews, model=str(base), out="curve.svg", **FAST)
    assert result == found.to_json()
    told = [json.loads(line) for line in printed.err.splitlines()]
    says = next(one["text"] for one in told if "models on" in one.get("text", ""))
    assert says == "12 models on 10 to 30 of 40 rows, about 1.3 x the steps of onelayer train"
    assert Path("curve.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_seeds_draw_each_part_several_times(reviews: Path, base: Path) -> None:
    found = onelayer.curve(reviews, model=str(base), seeds=2, **FAST)
    assert (found.folds, found.draws) == (4, 2)
    assert [point.rows for point in found.points] == [10, 20, 30]


def test_large_file_is_sampled(reviews: Path, base: Path) -> None:
    said: list[str] = []
    reporter = Silent()
    reporter.say = said.append  # type: ignore[method-assign]
    found = onelayer.curve(reviews, model=str(base), max_rows=30, reporter=reporter, **FAST)
    assert "40 rows: the curve is drawn from 30 of them, chosen at random" in said
    assert (found.rows, found.rows_used) == (40, 30)
    assert found.file == str(reviews)
    assert "40 rows, 30 of them used" in repr(found)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.task != "tag"], ids=lambda case: case.name
)
def test_curve_of_every_task(case: Case, tmp_path: Path, base: Path) -> None:
    choices = {**FAST, "model": str(base), **case.choices}
    found = onelayer.curve(case.write(tmp_path), **choices)
    assert found.rows in (24, 32)
    assert len(found.points) >= 2


def test_curve_of_tagged_sentences(tmp_path: Path, base: Path) -> None:
    file = tmp_path / "rows.conll"
    file.write_text("".join(f"a{i} O\ncat B-{'XY'[i % 2]}\ns O\n\n" for i in range(24)))
    found = onelayer.curve(file, model=str(base), **FAST)
    assert (found.rows, found.metric) == (24, "f1")
    assert [point.rows for point in found.points] == [12, 18]


REFUSED = [
    ("text,label\na,x\n", "one class only"),
    ("text,label\n" + "".join(f"a {i},x\n" for i in range(30)), "one class only"),
    ("text,label\na,x\nb,y\nc,x\nd,y\n", "4 rows of 2 classes are too few"),
    ("", "the file is empty"),
]


@pytest.mark.parametrize(("content", "says"), REFUSED)
def test_file_without_a_curve_is_refused_in_one_line(
    content: str, says: str, tmp_path: Path, base: Path
) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(onelayer.DataError, match=says) as caught:
        onelayer.curve(tmp_path / "rows.csv", model=str(base), **FAST)
    assert "\n" not in str(caught.value)


def test_rows_with_few_distinct_texts_are_refused(tmp_path: Path, base: Path) -> None:
    lines = [f"{('good', 'bad')[i % 2]} cat,{('yes', 'no')[i % 2]}\n" for i in range(40)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(lines))
    with pytest.raises(onelayer.DataError, match="40 rows have too few distinct texts to hold"):
        onelayer.curve(tmp_path / "rows.csv", model=str(base), **FAST)


def test_picture_of_another_kind_is_refused_before_training(reviews: Path) -> None:
    with pytest.raises(onelayer.UsageError, match=r"curve\.gif: .*\.svg, \.png or \.pdf"):
        onelayer.curve(reviews, out="curve.gif", model="no such model")


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"patience": 2}, "--patience 2: the models"),
        ({"max_rows": 0}, "--max-rows must be above 0"),
    ],
)
def test_options_that_a_curve_has_no_use_for_are_refused(
    choices: dict[str, Any], says: str, reviews: Path
) -> None:
    with pytest.raises(onelayer.UsageError, match=says):
        onelayer.curve(reviews, **choices)


def test_interrupted_curve_leaves_nothing(
    reviews: Path, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(CurveRuns, "train", interrupt)
    flags = ["--model", str(base), "--max-rows", "30", "--out", "curve.svg"]
    assert cli.main(["curve", str(reviews), *flags]) == 130
    assert [path.name for path in reviews.parent.iterdir()] == ["reviews.csv"]
